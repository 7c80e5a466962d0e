"""A scenario: a namespace of its own, with a project that a tool deploys, and what is measured in it."""

import collections
import time

import world
from claims import Claims
from cluster import apply, get, is_true, kubectl, patch
from project import IMAGES, files, hibernation

# The annotations with which controllers count the revisions of a template.
REVISIONS = ("deployment.kubernetes.io/", "deprecated.daemonset.template.generation")


class Scenario(Claims):
    """A namespace of its own, with a project that a tool deploys."""

    def __init__(self, seen, name, title, tool):
        super().__init__(name, title)
        self.seen, self.tool = seen, tool
        self.row, self.commits = None, None  # of the tables

    def rounds(self, number, seconds=300):
        start = self.tool.rounds(self.name)
        self.until(f"{number} rounds", lambda: self.tool.rounds(self.name) >= start + number, seconds)

    # What is in the cluster, as the watches saw it last.

    def web(self):
        return self.seen.deployments.last(self.name, "web")

    def replicas(self, name="web"):
        return (self.seen.deployments.last(self.name, name) or {"spec": {}})["spec"].get("replicas")

    def version(self):
        image = self.web()["spec"]["template"]["spec"]["containers"][0]["image"]
        return next(version for version, container in IMAGES.items() if container["image"] == image)

    def hibernation(self):
        return self.seen.hibernations.last(self.name, "project")

    def in_maintenance(self):
        return self.seen.windows.last(self.name, "later")["status"].get("phase") == "InMaintenance"

    def ready(self):
        status = (self.web() or {}).get("status", {})
        return status.get("readyReplicas", 0) == self.replicas() and status.get("updatedReplicas", 0) == self.replicas()

    def phase(self):
        return ((self.hibernation() or {}).get("status") or {}).get("phase")

    def held(self):
        """Returns what a hold may change, and its owners."""
        found = {}
        for kind, name in sorted(world.HELD):
            object_ = get(kind, name, self.name)
            metadata = object_["metadata"]
            entries = [entry for entry in metadata["managedFields"] if entry.get("subresource") != "status"]
            owners = [(entry["manager"], entry["operation"], str(entry.get("fieldsV1"))) for entry in entries]
            kept = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith(REVISIONS)}
            found[name] = {"spec": object_.get("spec"), "data": object_.get("data"), "labels": metadata.get("labels"),
                           "annotations": kept, "owners": sorted(owners)}
        return found

    def ask_to_sleep(self):
        apply(hibernation(), namespace=self.name)

    def hibernate(self):
        """Puts the project to sleep. Returns when the tool has seen it, too."""
        self.ask_to_sleep()
        self.until("asleep", lambda: is_true(self.hibernation(), "Hibernated"))
        time.sleep(2)

    def wake(self):
        """Wakes the project, and returns since when."""
        since = time.time()
        patch("hibernation", "project", self.name, {"spec": {"state": "Awake"}})
        self.until("awake", lambda: self.phase() == "Awake" and is_true(self.hibernation(), "Ready"), 180)
        return since

    def rise(self, since):
        """Returns the replicas that web has had since, each with its second."""
        steps = []
        for seen in self.seen.deployments.of(self.name, "web"):
            replicas = seen.object["spec"].get("replicas")
            if seen.time > since and replicas > 0 and replicas != (steps or [(0, 0)])[-1][1]:
                steps.append((seen.time - since, replicas))
        return ", ".join(f"{replicas} after {seconds:.0f} s" for seconds, replicas in steps)

    def measure(self, since):
        until = time.time()
        writes = self.seen.writes(self.name, since, until)
        return Measured(until - since, self.seen.awake(self.name, since, until), self.seen.pods_started(self.name, since, until), writes)

    def deliver(self, **how):
        tool = self.tool
        kubectl("create", "namespace", self.name)
        tool.commit(self.name, files())
        tool.deliver(self.name, **how)
        self.until("the project is up", lambda: self.replicas() == 3 and self.ready(), 180)
        kubectl("scale", "deployment", "plain", "--namespace", self.name, "--replicas", "2")
        self.until("the tool is in sync", lambda: tool.in_sync(self.name))
        self.rounds(2)


class Measured:
    def __init__(self, seconds, awake, pods, writes):
        self.seconds, self.awake, self.pods, self.writes = seconds, awake, pods, writes
        self.tool, self.torpor = len(writes["tool"]), len(writes["torpor"])

    def __str__(self):
        by = {side: dict(collections.Counter(writes)) for side, writes in self.writes.items()}
        return f"{self.seconds:.0f} s: {by}, {len(self.pods)} pods started, awake {self.awake:.1f} s"
