"""A scenario: a namespace of its own, with objects of other projects that a Hibernation holds, and what their controller does meanwhile."""

import time

from cluster import apply, condition, get, kubectl, writes
from hibernates import Hibernates, of_its_author

BUSYBOX = {"image": "localhost/busybox:local", "command": ["sh", "-c", "trap exit TERM; sleep 1000000 & wait"]}
PAUSE = {"image": "localhost/pause:local"}

# For so long it is observed that nothing happens while asleep. The controllers look every 5 or 10 s.
ASLEEP = 40


def pod(container=None, **more):
    """Returns the spec of a pod that runs until it is stopped."""
    container = {"name": "main", "imagePullPolicy": "Never", **(container or PAUSE)}
    return {"terminationGracePeriodSeconds": 0, "containers": [container], **more}


def template(app, container=None):
    return {"metadata": {"labels": {"app": app}}, "spec": pod(container)}


def deployment(name, replicas=1, container=None):
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, container)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


class Scene(Hibernates):
    """`tool` is the controller, and `account` its service account, whose writes count."""

    def __init__(self, seen, name, title, tool, account):
        super().__init__(seen, name, title)
        self.tool, self.account = tool, account
        self.row = None  # of the table
        self.before = {}

    def create(self, *objects):
        kubectl("create", "namespace", self.name)
        apply(*objects, namespace=self.name)

    def condition(self, kind, name, type_):
        return condition(get(kind, name, self.name), type_).get("status")

    def sleep(self, *workloads, **more):
        """Notes objects as they are, puts the namespace to sleep, and returns for how many seconds that took. A workload is an entry of
        `spec.workloads`; objects that it names are compared after the wake."""
        self.before = {(entry["kind"], entry["name"]): self.now(entry["kind"], entry["name"]) for entry in workloads if "name" in entry}
        spec = {"state": "Hibernated", "workloads": list(workloads), **more}
        since = time.time()
        self.hibernate({"apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation", "metadata": {"name": "project"}, "spec": spec}, 240)
        return time.time() - since

    def now(self, kind, name):
        return of_its_author(get(kind, name, self.name))

    def stays_asleep(self, asleep_in, holds=lambda: True):
        """Observes for a while that no pod starts and that the controller writes nothing but status."""
        since = time.time()
        self.until("the time is over", lambda: time.time() > since + ASLEEP, ASLEEP + 10)
        pods, written = self.pods_started(since, time.time()), self.written(since)
        self.check(not pods and holds() and self.is_asleep(), f"asleep for {ASLEEP} s: no pod starts", *pods)
        self.check(not written, f"the controller writes nothing but status in {ASLEEP} s", *written)
        self.row = [f"{asleep_in:.0f}", len(written), len(pods)]

    def written(self, since):
        """Returns the writes of the controller, each as `VERB RESOURCE NAME`."""
        found = []
        for event in writes(self.name, since, time.time()):
            about = event["objectRef"]
            if event["user"]["username"] == self.account and about.get("subresource") != "status" and about["resource"] not in ("events", "leases"):
                found.append(f"{event['verb']} {about['resource']} {about.get('name', '')}".strip())
        return found

    def woken(self, also):
        """Wakes the namespace, and checks that the objects are as before. `also` is what the table says of the scenario besides."""
        since = self.wake(300)
        awake_in = time.time() - since
        for (kind, name), before in self.before.items():
            self.check_as_before(f"{kind} {name}", before, self.now(kind, name))
        self.row += [f"{awake_in:.0f}", also]
        return since
