"""The scenarios in which a person puts the project to sleep."""

import time

import world
from cluster import condition, get, is_true
from flux import Helm
from project import files

ROUNDS = 10


def with_lines(scenario, learns=False, dropped=1, **how):
    """With the lines of examples/gitops, or behind the hold guard: asleep means asleep, and commits arrive. `learns` says that Torpor learns
    Git's replicas from a commit while the project sleeps, as from any rollout; else they arrive with the first sync after the wake. `dropped`
    are the replicas of 5 where a commit removes the field."""
    scenario.deliver(**how)
    asleep = sleeps_and_wakes(scenario)
    scenario.row = ["yes", asleep.tool, asleep.torpor, "0", len(asleep.pods), "after the wake as before, down to the owners of fields"]
    scenario.commits = [*commits_five(scenario, learns), *commits_none(scenario, dropped)]


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
    as_before(s, before)
    return asleep


def as_before(s, before):
    """Checks what a hold may change, after the wake and two syncs."""
    s.rounds(2)
    s.until("the tool is in sync", lambda: s.tool.in_sync(s.name))
    after = s.held()
    for name in before:
        s.check_as_before(name, before[name], after[name])


def commits_five(s, learns):
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
    s.check(rise.startswith("5" if learns else "3"), f"the wake restores {'those of the commit' if learns else 'the replicas of before'}", rise)
    s.check(s.replicas("plain") == 2, "replicas that Git does not have are as before")
    return [f"{arrived:.0f} s", f"{asleep.awake:.1f}", rise]


def commits_none(s, dropped):
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
    s.check(s.replicas() == dropped, f"after the wake replicas are {'the default' if dropped == 1 else 'those of before'}", rise)
    s.check("torpor.dev/held" not in get("deployment", "web", s.name)["metadata"].get("labels", {}), "no mark of Torpor is left")
    return [f"{asleep.awake:.1f}", rise]


def out_of_sync(scenario, seconds=180, **how):
    """Behind the hold guard, with a tool that compares without the API server: it finds a difference, and its writes change nothing."""
    s = scenario
    s.deliver(lines=False, **how)
    before = s.held()
    s.hibernate()
    since = time.time()
    s.until("the time is over", lambda: time.time() > since + seconds, seconds + 10)
    asleep = s.measure(since)
    s.check(asleep.awake == 0 and not asleep.pods, f"asleep for {seconds} s", asleep)
    s.check(asleep.torpor == 0, "Torpor has nothing to revert", asleep)
    s.check(asleep.tool > 0 and not s.tool.in_sync(s.name), "the tool sees a difference, and writes", s.tool.says(s.name), asleep)
    s.check(is_true(s.hibernation(), "Ready"), "the Hibernation is Ready")
    s.wake()
    as_before(s, before)
    s.row = ["yes", asleep.tool, asleep.torpor, "0", len(asleep.pods),
             "OutOfSync while asleep; after the wake as before, down to the owners of fields"]


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
