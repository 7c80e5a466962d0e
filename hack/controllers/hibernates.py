"""A scenario in which a Hibernation puts a namespace to sleep."""

import time

from claims import Claims
from cluster import apply, is_true, patch

# The annotations with which controllers count the revisions of a template.
REVISIONS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation")


def of_its_author(object_):
    """Returns what a hold may change of an object, and its owners."""
    metadata = object_["metadata"]
    entries = [entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"]
    owners = [(entry["manager"], entry["operation"], str(entry.get("fieldsV1"))) for entry in entries]
    kept = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith(REVISIONS)}
    return {"spec": object_.get("spec"), "data": object_.get("data"), "labels": metadata.get("labels"),
            "annotations": kept, "owners": sorted(owners)}


class Hibernates(Claims):
    """A namespace of its own, with the Hibernation `project`. `seen` has the watches of Hibernations, Deployments and pods."""

    def __init__(self, seen, name, title):
        super().__init__(name, title)
        self.seen = seen

    def hibernation(self):
        return self.seen.hibernations.last(self.name, "project")

    def phase(self):
        return ((self.hibernation() or {}).get("status") or {}).get("phase")

    def is_asleep(self):
        return is_true(self.hibernation(), "Hibernated")

    def hibernate(self, manifest, seconds=120):
        """Puts the namespace to sleep."""
        apply(manifest, namespace=self.name)
        self.until("asleep", self.is_asleep, seconds)

    def wake(self, seconds=180):
        """Wakes the namespace, and returns since when."""
        since = time.time()
        patch("hibernation", "project", self.name, {"spec": {"state": "Awake"}})
        self.until("awake", lambda: self.phase() == "Awake" and is_true(self.hibernation(), "Ready"), seconds)
        return since

    def check_as_before(self, name, before, after):
        """Checks what a hold may change of an object."""
        changed = [part for part in before if before[part] != after[part]]
        facts = [f"{part}: {before[part]} -> {after[part]}" for part in changed]
        self.check(not changed, f"{name} is as before, down to the owners of fields", *facts)

    # What is in the cluster, as the watches saw it last.

    def replicas(self, name="web"):
        return (self.seen.deployments.last(self.name, name) or {"spec": {}})["spec"].get("replicas")

    def pods_started(self, began, ended):
        """Returns the names of the pods that were created."""
        return [s.object["metadata"]["name"] for s in self.seen.pods.of(self.name) if s.type == "ADDED" and began < s.time <= ended]

    def rise(self, since, name="web"):
        """Returns the replicas that a Deployment has had since, each with its second."""
        steps = []
        for seen in self.seen.deployments.of(self.name, name):
            replicas = seen.object["spec"].get("replicas")
            if seen.time > since and replicas > 0 and replicas != (steps or [(0, 0)])[-1][1]:
                steps.append((seen.time - since, replicas))
        return ", ".join(f"{replicas} after {seconds:.0f} s" for seconds, replicas in steps)
