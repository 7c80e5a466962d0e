"""A scenario: a namespace of its own, with a project that a tool deploys, and what is measured in it."""

import collections
import time

import world
from cluster import apply, get, kubectl
from hibernates import Hibernates, of_its_author
from project import IMAGES, files, hibernation


class Scenario(Hibernates):
    """A namespace of its own, with a project that a tool deploys."""

    def __init__(self, seen, name, title, tool):
        super().__init__(seen, name, title)
        self.tool = tool
        self.row, self.commits = None, None  # of the tables

    def rounds(self, number, seconds=300):
        start = self.tool.rounds(self.name)
        self.until(f"{number} rounds", lambda: self.tool.rounds(self.name) >= start + number, seconds)

    # What is in the cluster, as the watches saw it last.

    def web(self):
        return self.seen.deployments.last(self.name, "web")

    def version(self):
        image = self.web()["spec"]["template"]["spec"]["containers"][0]["image"]
        return next(version for version, container in IMAGES.items() if container["image"] == image)

    def in_maintenance(self):
        return self.seen.windows.last(self.name, "later")["status"].get("phase") == "InMaintenance"

    def ready(self):
        status = (self.web() or {}).get("status", {})
        return status.get("readyReplicas", 0) == self.replicas() and status.get("updatedReplicas", 0) == self.replicas()

    def held(self):
        """Returns what a hold may change, and its owners."""
        return {name: of_its_author(get(kind, name, self.name)) for kind, name in sorted(world.HELD)}

    def ask_to_sleep(self):
        apply(hibernation(), namespace=self.name)

    def hibernate(self):
        """Puts the project to sleep. Returns when the tool has seen it, too."""
        super().hibernate(hibernation())
        time.sleep(2)

    def measure(self, since):
        until = time.time()
        writes = self.seen.writes(self.name, since, until)
        return Measured(until - since, self.seen.awake(self.name, since, until), self.pods_started(since, until), writes)

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
