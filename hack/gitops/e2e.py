#!/usr/bin/env python3
"""Puts projects to sleep that real GitOps controllers deploy, and asserts what both sides do. hack/gitops-e2e runs it on a cluster that has
Torpor.

usage: e2e.py PROGRAMS SCRATCH TABLE [SCENARIO...]

PROGRAMS is a folder with those that hack/gitops/build has built. The tables of results go to the file TABLE.
"""

import collections
import datetime
import json
import pathlib
import signal
import sys
import threading
import time
import traceback

import world
from tools import Argo, Flux, Git, Helm
from world import Failed, World, apply, condition, get, is_true, kubectl, parse, patch

ROUNDS = 10
IMAGES = {1: {"image": "localhost/pause:local"}, 2: {"image": "localhost/busybox:local", "command": ["sleep", "1000000"]}}


# --- the project that is in Git ---


def workload(name, version, replicas):
    container = {"name": "main", "imagePullPolicy": "Never", **IMAGES[version]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if replicas is not None:
        spec = {"replicas": replicas, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def files(replicas=3, version=1):
    """Returns the manifests: the Deployment web with replicas, the Deployment plain without, a CronJob and a ConfigMap."""
    container = {"name": "main", "imagePullPolicy": "Never", **IMAGES[1]}
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    cron = {"schedule": "0 3 1 1 *", "suspend": False, "jobTemplate": {"spec": job}}
    data = {"HIBERNATE_MODE": "false", "INGEST_ENABLED": "true", "OTHER": f"of version {version}"}
    return {
        "web.yaml": workload("web", version, replicas),
        "plain.yaml": workload("plain", version, None),
        "nightly.yaml": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": cron},
        "env.yaml": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env"}, "data": data},
    }


def hibernation(config_map="env"):
    spec = {
        "state": "Hibernated",
        "workloads": [{"kind": "Deployment", "all": True}, {"kind": "CronJob", "all": True}],
        "configMaps": [{"name": config_map}],
    }
    return {"apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation", "metadata": {"name": "project"}, "spec": spec}


def window(start):
    spec = {"start": start, "duration": "10m", "workloads": [{"kind": "Deployment", "name": "plain"}]}
    return {"apiVersion": "torpor.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "later"}, "spec": spec}


def settings(name, settings_):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": settings_}


def in_days(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- a scenario ---

began = time.time()
printing = threading.Lock()


def say(text):
    with printing:
        print(f"   {int(time.time() - began) // 60}:{int(time.time() - began) % 60:02d} {text}", flush=True)


class Scenario:
    """A namespace of its own, with a project that a tool deploys. `checks` are the claims, with whether they hold."""

    def __init__(self, seen, name, title, tool):
        self.seen, self.name, self.title, self.tool = seen, name, title, tool
        self.checks, self.step = [], None
        self.row, self.commits = None, None  # of the tables

    def check(self, holds, claim, *facts):
        self.checks.append((bool(holds), claim))
        say(f"{self.name}: {'ok' if holds else 'FAILED'}: {claim}{': ' + '; '.join(map(str, facts)) if facts else ''}")

    def until(self, what, holds, seconds=120):
        """Waits until something holds."""
        self.step, start = what, time.time()
        while not holds():
            if time.time() > start + seconds:
                raise Failed(f"{what}: not within {seconds} s")
            time.sleep(0.5)

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
            kept = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith("deployment.kubernetes.io/")}
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


def with_lines(scenario, **how):
    """With the lines of examples/gitops, or behind the hold guard: asleep means asleep, and commits arrive."""
    scenario.deliver(**how)
    asleep = sleeps_and_wakes(scenario)
    scenario.row = ["yes", asleep.tool, asleep.torpor, "0", len(asleep.pods), "after the wake as before, down to the owners of fields"]
    scenario.commits = [*commits_five(scenario), *commits_none(scenario)]


def sleeps_and_wakes(s):
    before = s.held()
    s.hibernate()
    since = time.time()
    s.rounds(ROUNDS)
    asleep = s.measure(since)
    s.check(asleep.awake == 0 and not asleep.pods, f"asleep for {ROUNDS} rounds", asleep)
    s.check((asleep.tool, asleep.torpor) == (0, 0), "nobody writes while asleep", asleep)
    s.check(is_true(s.hibernation(), "Ready"), "the Hibernation is Ready")
    s.check(s.tool.in_sync(s.name), "the tool is in sync while the project sleeps", s.tool.says(s.name))

    s.wake()
    s.rounds(2)
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name))
    after = s.held()
    for object_ in before:
        changed = [part for part in before[object_] if before[object_][part] != after[object_][part]]
        facts = [f"{part}: {before[object_][part]} -> {after[object_][part]}" for part in changed]
        s.check(not changed, f"{object_} is as before, down to the owners of fields", *facts)
    return asleep


def commits_five(s):
    """A commit changes image, replicas and the ConfigMap while the project sleeps."""
    s.hibernate()
    since = time.time()
    s.tool.commit(s.name, files(replicas=5, version=2))
    s.until("version 2 arrives", lambda: s.version() == 2)
    arrived = time.time() - since
    s.rounds(3)
    asleep = s.measure(since)
    # Helm upgrades with all values of the chart, whatever drift detection ignores: that is a rollout, which Torpor reverts.
    upgrade = isinstance(s.tool, Helm)
    s.check(asleep.awake < 5 if upgrade else asleep.awake == 0 and not asleep.pods, "it sleeps on where a commit arrives", asleep)
    s.check(asleep.tool <= 2 * len(world.HELD), "the tool does not write again and again", asleep)

    woken = s.wake()
    data, suspended = get("configmap", "env", s.name)["data"], get("cronjob", "nightly", s.name)["spec"]["suspend"]
    wanted = files(version=2)["env.yaml"]["data"]
    s.check(data == wanted and not suspended, "ConfigMap and CronJob are as in Git right after the wake", data, suspended)
    s.until("Git's replicas arrive", lambda: s.replicas() == 5)
    rise = s.rise(woken)
    s.until("ready", s.ready)
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name))
    s.check(s.version() == 2, "image and replicas of the commit have arrived", rise)
    s.check(rise.startswith("5" if upgrade else "3"), "the wake restores replicas without waiting for a sync", rise)
    s.check(s.replicas("plain") == 2, "replicas that Git does not have are as before")
    return [f"{arrived:.0f} s", f"{asleep.awake:.1f}", rise]


def commits_none(s):
    """A commit drops replicas from the manifest while the project sleeps."""
    s.hibernate()
    since = time.time()
    s.tool.commit(s.name, files(replicas=None, version=1))
    s.until("version 1 arrives", lambda: s.version() == 1)
    s.rounds(3)
    asleep = s.measure(since)
    s.check(asleep.awake < 5, "it sleeps on, at most but for seconds, where a commit drops replicas", asleep)
    woken = s.wake()
    s.rounds(3)
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name))
    rise = s.rise(woken)
    s.check(s.replicas() == 1, "after the wake replicas are the default", rise)
    s.check("torpor.dev/held" not in get("deployment", "web", s.name)["metadata"].get("labels", {}), "no mark of Torpor is left")
    return [f"{asleep.awake:.1f}", rise]


def without_lines(scenario, seconds=180, **how):
    """Without the lines: asleep but for seconds, and said."""
    s = scenario
    s.deliver(lines=False, **how)
    s.ask_to_sleep()
    s.until("down", lambda: s.replicas() == 0)
    since = time.time()
    s.until("contested", lambda: condition(s.hibernation(), "Stalled").get("reason") == "Contested", seconds)
    told = time.time() - since
    s.until("the time is over", lambda: time.time() > since + seconds, seconds + 10)
    measured = s.measure(since)

    object_ = s.hibernation()
    stalled = condition(object_, "Stalled")
    s.check((stalled.get("status"), stalled.get("reason")) == ("True", "Contested"), "Stalled is True with the reason Contested", stalled)
    s.check(s.tool.advice in stalled.get("message", ""), f"the message has the lines for {s.tool.name}")
    counts = {w["name"]: w["foreignWrites"]["count"] for w in object_["status"]["workloads"] if "foreignWrites" in w}
    s.check(counts and max(counts.values()) >= 3, "status.workloads[].foreignWrites counts", counts)
    s.check(measured.awake < 0.2 * measured.seconds, "asleep but for seconds", measured)

    s.wake()
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name))
    s.until("as before", lambda: s.replicas() == 3 and s.ready())
    s.row = ["but for seconds", measured.tool, measured.torpor, f"{measured.awake:.0f} of {measured.seconds:.0f}", len(measured.pods),
             f"`Contested` after {told:.0f} s; after the wake as before"]


def waited(s, claim):
    """Checks that the ConfigMap `after` was created when the Hibernation was asleep, not before."""
    asleep = [parse(condition(seen.object, "Hibernated")["lastTransitionTime"])
              for seen in s.seen.hibernations.of(s.name, "project") if is_true(seen.object, "Hibernated")]
    last = parse(get("configmap", "after", s.name)["metadata"]["creationTimestamp"])
    s.check(asleep and last >= asleep[0], claim, f"{last - asleep[0]:.0f} s later" if asleep else "never asleep")


def still_asleep(s):
    """Returns what was measured over ten rounds of a project whose Hibernation is from Git."""
    since = time.time()
    s.rounds(ROUNDS)
    measured = s.measure(since)
    s.check(measured.awake == 0 and (measured.tool, measured.torpor) == (0, 0) and not measured.pods, "it sleeps, and nobody writes", measured)
    return measured


def override(scenario):
    """A person overrides a Hibernation that the tool has from Git."""
    s = scenario
    change = {"spec": {"override": {"state": "Awake", "until": in_days(1)}}}
    if s.tool.name == "Flux":
        # Flux removes what kubectl has written under its own name.
        patch("hibernation", "project", s.name, change)
        s.until("the override is removed", lambda: "override" not in get("hibernation", "project", s.name)["spec"], 60)
        s.check(True, "Flux removes an override that kubectl sets under its own name")
    patch("hibernation", "project", s.name, change, manager="torpor-cli")
    s.until("awake by the override", lambda: s.phase() == "Awake" and s.replicas() == 3)
    s.rounds(3)
    there = get("hibernation", "project", s.name)["spec"].get("override")
    s.check(there and s.replicas() == 3, "an override that a person sets as torpor-cli stays over three syncs", there)
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name), 60)
    patch("hibernation", "project", s.name, {"spec": {"override": None}}, manager="torpor-cli")
    s.until("asleep again", lambda: s.phase() == "Hibernated" and s.replicas() == 0)


def pruned(scenario):
    """The Hibernation has left Git."""
    s = scenario
    s.until("the Hibernation is gone", lambda: s.hibernation() is None, 180)
    gone = next(seen.time for seen in s.seen.hibernations.of(s.name, "project") if seen.type == "DELETED")
    # The two come by different watches.
    web = [seen.object["spec"].get("replicas") for seen in s.seen.deployments.of(s.name, "web") if seen.time < gone + 0.5]
    s.check(web[-1] == 3 and s.replicas() == 3, "what it held is awake before it goes")
    s.until("ready", s.ready)


def flux_delivers(scenario):
    """Flux has the Hibernation from Git: health, dependsOn, an override, and pruning."""
    s, flux, name = scenario, scenario.tool, scenario.name
    future = window(in_days(30))
    kubectl("create", "namespace", name)
    own = f"{name}-hibernation"
    flux.commit(name, files(), hibernation={"hibernation.yaml": hibernation(), "window.yaml": future},
                after={"after.yaml": settings("after", {"it": "comes last"})})
    project, delivery = flux.project(name)
    after = {**delivery, "metadata": {**delivery["metadata"], "name": f"{name}-after"}}
    after["spec"] = {**delivery["spec"], "path": f"./{name}-after", "dependsOn": [{"name": own}]}
    apply(project, delivery, after)

    s.until("what depends on the Hibernation has come", lambda: get("configmap", "after", name), 240)
    waited(s, "created with Hibernated: `wait: true` and dependsOn wait until it is asleep")
    s.until("all are Ready", lambda: all(flux.in_sync(name, beside) for beside in ("", "-hibernation", "-after")))
    s.check(s.seen.windows.last(name, "later")["status"].get("phase") == "Scheduled", "a MaintenanceWindow in the future is Ready")
    measured = still_asleep(s)
    override(s)

    flux.commit(name, hibernation={"hibernation.yaml": hibernation(config_map="wrong"), "window.yaml": future})

    def told():
        return condition(get("kustomization", own, "flux-system"), "Ready")

    s.until("Flux says that it failed", lambda: told().get("reason") == "HealthCheckFailed")
    s.check("Hibernation" in told()["message"], "a Hibernation that is Stalled fails the Kustomization", told()["message"])
    flux.commit(name, hibernation={"hibernation.yaml": hibernation(), "window.yaml": future})
    s.until("Ready again", lambda: flux.in_sync(name, "-hibernation"))

    moved = window(in_days(0))
    flux.commit(name, hibernation={"hibernation.yaml": hibernation(), "window.yaml": moved})
    s.until("in maintenance", s.in_maintenance)
    s.until("Ready in maintenance", lambda: flux.in_sync(name, "-hibernation"))
    s.check(s.in_maintenance(), "a MaintenanceWindow that has begun is Ready in maintenance")

    flux.commit(name, hibernation={"window.yaml": moved})
    pruned(s)
    s.until("Ready without the Hibernation", lambda: flux.in_sync(name, "-hibernation"), 300)
    s.row = ["yes", measured.tool, measured.torpor, "0", len(measured.pods),
             "dependants wait until it is asleep; Stalled fails the Kustomization; an override by hand stays; pruned: awake before it goes"]


def argo_delivers(scenario):
    """Argo CD has the Hibernation from Git: health by the Lua of examples/gitops, waves, an override, actions, and pruning."""
    s, argo, name = scenario, scenario.tool, scenario.name
    kubectl("create", "namespace", name)

    def wave(number, object_):
        object_["metadata"]["annotations"] = {"argocd.argoproj.io/sync-wave": str(number)}
        return object_

    def content(start=in_days(30), **own):
        return {**files(), "hibernation.yaml": wave(1, hibernation(**own)), "window.yaml": wave(1, window(start)),
                "after.yaml": wave(2, settings("after", {"it": "comes last"}))}

    argo.commit(name, content())
    argo.deliver(name)
    health = set()

    def look():
        found = argo.health(name, "Hibernation").get("project")
        health.add(found)
        return found

    s.until("the last wave has come", lambda: look() and get("configmap", "after", name), 240)
    waited(s, "created with Hibernated: the next wave waits until it is asleep")
    s.until("Synced and Healthy", lambda: argo.in_sync(name) and argo.says(name) == "Synced, Healthy")
    s.check(look() == "Healthy", "asleep is Healthy")
    s.check(health & {"Progressing"}, "on its way it is Progressing", health)
    s.check(argo.health(name, "MaintenanceWindow") == {"later": "Healthy"}, "a MaintenanceWindow in the future is Healthy")
    time.sleep(2)
    measured = still_asleep(s)
    override(s)

    argo.commit(name, content(config_map="wrong"))
    s.until("Degraded", lambda: look() == "Degraded", 120)
    s.check(True, "a Hibernation that is Stalled is Degraded")
    argo.commit(name, content())
    s.until("Healthy again", lambda: look() == "Healthy" and argo.in_sync(name), 180)

    actions(s, argo)
    argo.commit(name, content(start=in_days(0)))
    s.until("in maintenance", lambda: s.in_maintenance() and argo.in_sync(name))
    s.until("Healthy in maintenance", lambda: argo.health(name, "MaintenanceWindow") == {"later": "Healthy"})
    s.check(s.in_maintenance(), "a MaintenanceWindow that has begun is Healthy in maintenance")

    argo.commit(name, files())
    pruned(s)
    s.until("Synced and Healthy", lambda: argo.in_sync(name) and argo.says(name) == "Synced, Healthy", 180)
    s.row = ["yes", measured.tool, measured.torpor, "0", len(measured.pods),
             "the next wave waits until it is asleep; Progressing, Healthy, Degraded; an override by hand stays; pruned: awake before it goes"]


def actions(scenario, argo):
    """Runs the actions on objects of the cluster, in Argo CD's interpreter, and has the API server take what they return."""
    s = scenario
    for kind, name, field, order in (
        ("hibernation", "project", "state", ("wake", "hibernate")),
        ("maintenancewindow", "later", "suspend", ("suspend", "resume")),
    ):
        object_ = get(kind, name, s.name)
        del object_["metadata"]["managedFields"], object_["metadata"]["resourceVersion"]
        for action, other in (order, order[::-1]):
            offered = {entry["name"] for entry in argo.run_lua(object_)["actions"] if not entry.get("disabled")}
            changed = argo.run_lua(object_, action)
            kubectl("replace", "--dry-run=server", "--namespace", s.name, "--filename", "-", stdin=json.dumps(changed))
            differs = [key for key in {**object_["spec"], **changed["spec"]} if object_["spec"].get(key) != changed["spec"].get(key)]
            claim = f"{action} is offered for a {object_['kind']}, {other} is not, and it changes spec.{field}"
            s.check(offered == {action} and differs == [field], claim)
            object_ = changed


# --- all of them ---

ROWS = ["scenario", "asleep", "writes of the tool", "writes of Torpor", "seconds awake", "pods started", "also"]
COMMITS = ["commit while asleep", "the new image arrives after", "seconds awake", "5 replicas instead of 3: after the wake",
           "`replicas` removed: seconds awake", "after the wake"]


# By the name of a scenario, which begins with that of the tool.
PLANS = [
    ("flux", "Flux, with the lines", with_lines),
    ("argo", "Argo CD, with the lines", with_lines),
    ("argo-server", "Argo CD, `ServerSideApply=true`, with the lines", lambda s: with_lines(s, server_side=True)),
    ("helm", "Flux, HelmRelease, with the lines", with_lines),
    ("flux-guard", "Flux, without the lines, `holdGuard: Keep`", lambda s: with_lines(s, lines=False)),
    ("flux-delivers", "Flux, Hibernation from Git", flux_delivers),
    ("argo-delivers", "Argo CD, Hibernation from Git", argo_delivers),
    ("flux-plain", "Flux, without the lines", without_lines),
    ("argo-plain", "Argo CD, without the lines", without_lines),
    ("argo-server-plain", "Argo CD, `ServerSideApply=true`, without the lines", lambda s: without_lines(s, server_side=True)),
    ("helm-plain", "Flux, HelmRelease, without the lines", without_lines),
    # Last and alone, as it changes a setting of the whole instance.
    ("argo-for-all", "Argo CD, with the lines in argocd-cm", lambda s: with_lines(s, lines="for all")),
]


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def tables(scenarios):
    rows = [[s.title, *s.row] for s in scenarios if s.row]
    commits = [[s.title, *s.commits] for s in scenarios if s.commits]
    return f"{table(ROWS, rows)}\n{table(COMMITS, commits)}"


def run(scenario, act, at_once):
    with at_once:
        scenario.step = "begun"
        try:
            act(scenario)
        except Exception as error:  # It ends this scenario alone.
            traceback.print_exc()
            scenario.check(False, f"{scenario.step}: {error}")
        say(f"{scenario.name}: done")
        scenario.step = None


def tick(scenarios, stopped):
    """Says every ten seconds what each scenario waits for."""
    while not stopped.wait(10):
        running = [f"{s.name}: {s.step}" for s in scenarios if s.step]
        if running:
            say("| " + " | ".join(running))


def main():
    programs, scratch, table_file, only = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    plans = [(name, title, act) for name, title, act in PLANS if not only or name in only]
    tools = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    world.clear([name for name, _, _ in plans])
    Git.folder = scratch / "git"
    seen = World()
    try:
        # The one for Helm charts takes the artifacts of the other one.
        for prefix, make in (("flux", Flux), ("helm", lambda *a: Helm(*a, tools["flux"])), ("argo", Argo)):
            if any(name.startswith(prefix) or (prefix, name[:4]) == ("flux", "helm") for name, _, _ in plans):
                tools[prefix] = make(programs, scratch)
        plans = [(Scenario(seen, name, title, tools[name.split("-")[0]]), act) for name, title, act in plans]
        scenarios, stopped = [scenario for scenario, _ in plans], threading.Event()
        threading.Thread(target=tick, args=(scenarios, stopped), daemon=True).start()
        at_once = threading.Semaphore(6)
        threads = [threading.Thread(target=run, args=(*plan, at_once), daemon=True) for plan in plans if plan[0].name != "argo-for-all"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for scenario, act in plans:
            if scenario.name == "argo-for-all":
                tools["argo"].ignore_for_all()
                run(scenario, act, at_once)
        stopped.set()
        dead = [program.name for tool in tools.values() for program in tool.programs() if program.process.poll() is not None]
    finally:
        for tool in tools.values():
            tool.stop()
        seen.stop()
    text = tables(scenarios)
    pathlib.Path(table_file).write_text(text, encoding="utf-8")
    print(f"\n{text}")
    failed = [f"{s.title}: {claim}" for s in scenarios for holds, claim in s.checks if not holds] + [f"{name} has ended" for name in dead]
    print("\n".join(f"FAILED: {claim}" for claim in failed) or f"all {sum(len(s.checks) for s in scenarios)} claims hold")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
