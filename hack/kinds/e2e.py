#!/usr/bin/env python3
"""Puts objects of other projects to sleep, beside the real controllers of these projects, and asserts what both sides do. hack/kinds-e2e runs
it on a cluster that has Torpor.

usage: e2e.py PROGRAMS SCRATCH TABLE [SCENARIO...]

PROGRAMS is a folder with those that hack/controllers/build has built. The table of results goes to the file TABLE.
"""

import pathlib
import sys

import claims
import database
import flux
import keda
import rollouts
import suspended
from claims import table
from cluster import Watches, clear
from database import CloudNativePg
from flux import Flux, Helm, Sources
from git import Git
from keda import Keda
from rollouts import Rollouts
from scene import ASLEEP, Scene

ROW = ["scenario", "seconds to sleep", f"writes of the controller in {ASLEEP} s asleep", "pods started", "seconds to wake", "seen"]

# By the name of a scenario, which begins with that of the controller. The last column of the table is what its claims say.
PLANS = [
    ("database", "CloudNativePG: Cluster of two instances, after the truncation", database.sleeps_after_the_truncation,
     "no pod, the volumes stay; awake: both instances, the runtime table empty, the rows of the other one"),
    ("rollout", "Argo Rollouts: Rollout, canary", rollouts.canary, "awake: Healthy with 3 pods"),
    ("rollout-middle", "Argo Rollouts: Rollout that waits in a step of its canary", rollouts.in_the_middle,
     "awake: waits in the same step, with 1 new pod and 2 old ones; promoted: Healthy"),
    ("rollout-bluegreen", "Argo Rollouts: Rollout, blue-green, that waits for its promotion", rollouts.blue_green,
     "awake: waits for its promotion, with 3 active and 3 preview pods; promoted: the new pods are active"),
    ("keda-scales", "KEDA: ScaledObject", keda.scales, "KEDA pauses and takes its target to 0; awake: KEDA scales it to 3 again"),
    ("keda-rests", "KEDA: ScaledObjects with `paused-replicas` of their own", keda.rested,
     "both targets at 0; awake: paused at 2 and at 0 again"),
    ("keda-paused", "KEDA: ScaledObject with `paused: \"true\"`", keda.refused, "`PausedOtherwise`; its target sleeps where it is named instead"),
    ("keda-jobs", "KEDA: ScaledJob", keda.runs_jobs, "asleep when running Jobs have completed; none starts; awake: Jobs start again"),
    ("flux", "Flux: Kustomization, then its Deployment", suspended.kustomization, "a commit made while asleep arrives after the wake"),
    ("helm", "Flux: HelmRelease, then its Deployment", suspended.helm_release, "a commit made while asleep arrives after the wake"),
]
ACCOUNTS = {
    "database": database.ACCOUNT, "rollout": rollouts.ACCOUNT, "keda": keda.ACCOUNT,
    "flux": suspended.ACCOUNTS["kustomize-controller"], "helm": suspended.ACCOUNTS["helm-controller"],
}


def start(wanted, tools, programs, scratch):
    """Starts the controllers that are wanted."""
    if wanted & {"flux", "helm"}:
        tools["sources"] = Sources(programs, scratch)
    makers = {
        "flux": lambda: Flux(programs, scratch, tools["sources"]), "helm": lambda: Helm(programs, scratch, tools["sources"]),
        "keda": lambda: Keda(programs, scratch), "rollout": lambda: Rollouts(programs, scratch), "database": lambda: CloudNativePg(programs),
    }
    for name in wanted:
        claims.say(f"starting the controller of {name}")
        tools[name] = makers[name]()


def main():
    programs, scratch, table_file, only = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    plans = [plan for plan in PLANS if not only or plan[0] in only]
    tools, seen = {}, None
    claims.end_on_signal()
    keda.forget_metrics()
    clear([*flux.KINDS, *keda.KINDS, *rollouts.KINDS, *database.KINDS], [name for name, *_ in plans])
    Git.folder = scratch / "git"
    try:
        start({name.split("-")[0] for name, *_ in plans}, tools, programs, scratch)
        seen = Watches(deployments="deployments.apps", pods="pods", jobs="jobs.batch", hibernations="hibernations.torpor.dev")
        scenes = []
        for name, title, act, _ in plans:
            kind = name.split("-")[0]
            scenes.append((Scene(seen, name, title, tools[kind], ACCOUNTS[kind]), act))
        claims.run_all(scenes, 6)
        dead = claims.ended([program for tool in tools.values() for program in tool.programs()])
    finally:
        for tool in tools.values():
            tool.stop()
        if seen:
            seen.stop()
    scenes = [scene for scene, _ in scenes]
    rows = [[scene.title, *scene.row(), words] for scene, (*_, words) in zip(scenes, plans) if scene.row()]
    claims.report(scenes, table(ROW, rows), table_file, dead)


if __name__ == "__main__":
    main()
