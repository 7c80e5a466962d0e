#!/usr/bin/env python3
"""Puts projects to sleep that real GitOps controllers deploy, and asserts what both sides do. hack/gitops-e2e runs it on a cluster that has
Torpor.

usage: e2e.py PROGRAMS SCRATCH TABLE [SCENARIO...]

PROGRAMS is a folder with those that hack/controllers/build has built. The tables of results go to the file TABLE.
"""

import pathlib
import sys

import claims
import flux
from argo import Argo
from asleep import out_of_sync, with_lines, without_lines
from claims import table
from cluster import clear
from flux import Flux, Helm, Sources
from from_git import argo_delivers, flux_delivers
from git import Git
from scenario import Scenario
from world import World

ROWS = ["scenario", "asleep", "writes of the tool", "writes of Torpor", "seconds awake", "pods started", "also"]
COMMITS = ["commit while asleep", "the new image arrives after", "seconds awake", "5 replicas instead of 3: after the wake",
           "`replicas` removed: seconds awake", "after the wake"]

# By the name of a scenario, which begins with that of the tool.
PLANS = [
    ("flux", "Flux, with the lines", with_lines),
    ("argo", "Argo CD, with the lines", with_lines),
    ("argo-server", "Argo CD, `ServerSideApply=true`, with the lines", lambda s: with_lines(s, server_side=True)),
    ("helm", "Flux, HelmRelease, with the lines", lambda s: with_lines(s, learns=True)),
    ("flux-guard", "Flux, without the lines, `holdGuard: Keep`", lambda s: with_lines(s, lines=False)),
    # Its apply writes what it removes as null, which the guard makes the held value: nobody sees that the field left Git.
    ("argo-guard", "Argo CD, `ServerSideDiff=true`, without the lines, `holdGuard: Keep`",
     lambda s: with_lines(s, learns=True, dropped=5, lines=False, server_side_diff=True)),
    ("argo-guard-server", "Argo CD, `ServerSideApply=true`, without the lines, `holdGuard: Keep`",
     lambda s: with_lines(s, lines=False, server_side=True)),
    ("argo-guard-client", "Argo CD, without `ServerSideDiff=true`, without the lines, `holdGuard: Keep`", out_of_sync),
    ("flux-delivers", "Flux, Hibernation from Git", flux_delivers),
    ("argo-delivers", "Argo CD, Hibernation from Git", argo_delivers),
    ("flux-plain", "Flux, without the lines", without_lines),
    ("argo-plain", "Argo CD, without the lines", without_lines),
    ("argo-server-plain", "Argo CD, `ServerSideApply=true`, without the lines", lambda s: without_lines(s, server_side=True)),
    ("helm-plain", "Flux, HelmRelease, without the lines", without_lines),
    # Last and alone, as it changes a setting of the whole instance.
    ("argo-for-all", "Argo CD, with the lines in argocd-cm", lambda s: with_lines(s, lines="for all")),
]


def tables(scenarios):
    rows = [[s.title, *s.row] for s in scenarios if s.row]
    commits = [[s.title, *s.commits] for s in scenarios if s.commits]
    return f"{table(ROWS, rows)}\n{table(COMMITS, commits)}"


def main():
    programs, scratch, table_file, only = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    plans = [(name, title, act) for name, title, act in PLANS if not only or name in only]
    tools = {}
    claims.end_on_signal()
    clear(["applications.argoproj.io", *flux.KINDS], [name for name, _, _ in plans])
    Git.folder = scratch / "git"
    seen = World()
    try:
        wanted = {name.split("-")[0] for name, _, _ in plans}
        if wanted & {"flux", "helm"}:
            tools["sources"] = Sources(programs, scratch)
        for prefix, make in (("flux", lambda *a: Flux(*a, tools["sources"])), ("helm", lambda *a: Helm(*a, tools["sources"])), ("argo", Argo)):
            if prefix in wanted:
                tools[prefix] = make(programs, scratch)
        plans = [(Scenario(seen, name, title, tools[name.split("-")[0]]), act) for name, title, act in plans]
        claims.run_all([plan for plan in plans if plan[0].name != "argo-for-all"], 6)
        last = [plan for plan in plans if plan[0].name == "argo-for-all"]
        if last:
            tools["argo"].ignore_for_all()
            claims.run_all(last, 1)
        dead = claims.ended([program for tool in tools.values() for program in tool.programs()])
    finally:
        for tool in tools.values():
            tool.stop()
        seen.stop()
    scenarios = [scenario for scenario, _ in plans]
    claims.report(scenarios, tables(scenarios), table_file, dead)


if __name__ == "__main__":
    main()
