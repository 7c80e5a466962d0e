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


def hibernation(*workloads, **more):
    """Returns a Hibernation of these entries of `spec.workloads`."""
    spec = {"state": "Hibernated", "workloads": list(workloads), **more}
    return {"apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation", "metadata": {"name": "project"}, "spec": spec}


class Scene(Hibernates):
    """`tool` is the controller, and `account` its service account, whose writes count."""

    def __init__(self, seen, name, title, tool, account):
        super().__init__(seen, name, title)
        self.tool, self.account = tool, account
        self.before = {}
        # What the table says: seconds and counts.
        self.asleep_in = self.awake_in = None
        self.writes = self.pods = 0

    def row(self):
        """Returns the numbers of the table; none where the scenario has failed."""
        if not all(holds for holds, _ in self.checks):
            return None
        return [f"{self.asleep_in:.0f}", self.writes, self.pods, f"{self.awake_in:.0f}"]

    def create(self, *objects):
        kubectl("create", "namespace", self.name)
        apply(*objects, namespace=self.name)

    def condition(self, kind, name, type_):
        return condition(get(kind, name, self.name), type_).get("status")

    def now(self, kind, name):
        return of_its_author(get(kind, name, self.name))

    def sleep(self, *workloads, **more):
        """Notes the objects that `spec.workloads` names, and puts the namespace to sleep."""
        self.before = {(entry["kind"], entry["name"]): self.now(entry["kind"], entry["name"]) for entry in workloads}
        since = time.time()
        self.hibernate(hibernation(*workloads, **more), 240)
        self.asleep_in = self.asleep_in or time.time() - since

    def stays_asleep(self, holds=lambda: True):
        """Observes for a while that no pod starts, and that the controller writes nothing but status."""
        since = time.time()
        self.until(f"{ASLEEP} s asleep", lambda: time.time() > since + ASLEEP, ASLEEP + 10)
        pods, written = self.pods_started(since, time.time()), self.written(since)
        self.check(not pods and holds() and self.is_asleep(), f"asleep for {ASLEEP} s: no pod starts", *pods)
        self.check(not written, f"the controller writes nothing but status in {ASLEEP} s", *written)
        self.writes += len(written)
        self.pods += len(pods)

    def written(self, since):
        """Returns the writes of the controller, each as `VERB RESOURCE NAME`."""
        found = []
        for event in writes(self.name, since, time.time()):
            about = event["objectRef"]
            if event["user"]["username"] == self.account and about.get("subresource") != "status" and about["resource"] not in ("events", "leases"):
                found.append(f"{event['verb']} {about['resource']} {about.get('name', '')}".strip())
        return found

    def wakes_as_before(self, writes_again=True):
        """Wakes the namespace, checks that the objects are as before, and returns since when."""
        since = self.wake(300)
        self.awake_in = self.awake_in or time.time() - since
        for (kind, name), before in self.before.items():
            self.check_as_before(f"{kind} {name}", before, self.now(kind, name))
        if writes_again:
            # Otherwise it would prove nothing that it wrote nothing while asleep.
            self.until("the controller writes again", lambda: self.written(since), 60)
        return since
