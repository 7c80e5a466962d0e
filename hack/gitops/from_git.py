"""The scenarios in which the Hibernation is in Git, too."""

import json
import time

from asleep import ROUNDS
from cluster import apply, condition, get, is_true, kubectl, parse, patch
from project import files, hibernation, in_days, settings, window


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
