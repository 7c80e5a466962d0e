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

# By the name of a scenario, which begins with that of the controller.
PLANS = [
    ("database", "CloudNativePG: Cluster, after the truncation", database.sleeps_after_the_truncation),
    ("rollout-middle", "Argo Rollouts: Rollout in a step of its canary", rollouts.in_the_middle),
    ("rollout-bluegreen", "Argo Rollouts: Rollout that waits for its promotion", rollouts.blue_green),
    ("rollout", "Argo Rollouts: Rollout", rollouts.canary),
    ("keda-jobs", "KEDA: ScaledJob", keda.runs_jobs),
    ("keda", "KEDA: ScaledObject", keda.scales),
    ("keda-rests", "KEDA: ScaledObjects with `paused-replicas`", keda.rested),
    ("keda-paused", "KEDA: ScaledObject with `paused`", keda.refused),
    ("flux", "Flux: Kustomization, with its Deployment", suspended.kustomization),
    ("helm", "Flux: HelmRelease, with its Deployment", suspended.helm_release),
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
    plans = [(name, title, act) for name, title, act in PLANS if not only or name in only]
    tools, seen = {}, None
    claims.end_on_signal()
    clear([*flux.KINDS, *keda.KINDS, *rollouts.KINDS, *database.KINDS], [name for name, _, _ in plans])
    Git.folder = scratch / "git"
    try:
        start({name.split("-")[0] for name, _, _ in plans}, tools, programs, scratch)
        seen = Watches(deployments="deployments.apps", pods="pods", jobs="jobs.batch", hibernations="hibernations.torpor.dev")
        scenes = []
        for name, title, act in plans:
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
    claims.report(scenes, table(ROW, [[scene.title, *scene.row] for scene in scenes if scene.row]), table_file, dead)


if __name__ == "__main__":
    main()
