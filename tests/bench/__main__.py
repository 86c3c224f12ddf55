"""`python -m tests.bench`: ours and kube-apiserver with etcd (and any kubeconfig given), side by side, as ratios."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tests.bench import deployments, scenarios, sync, target
from tests.bench.scenarios import Figure, Plan
from tests.bench.target import Target

Opened = Callable[[], AbstractContextManager[Target]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--kubeconfig", action="append", default=[], metavar="NAME=PATH", help="measure this server too"
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the requests")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--sync", action="store_true", help="measure instead how fast objects get to a real host")
    parser.add_argument(
        "--deployments", action="store_true", help="measure instead 1,000 Deployments of three on 50 nodes"
    )
    options = parser.parse_args()
    if options.deployments:
        print(report(deployments.main(quick=options.quick, ours_only=options.ours_only)))
        return 0
    if options.sync:
        print(report(sync.main()))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    servers = set(cores[: max(1, min(2, len(cores) - 1))])
    plan = Plan(cpus=frozenset(set(cores) - servers or servers))
    if options.quick:
        plan = Plan(creates=1_000, gets=4_000, patches=1_000, lists=5, fanout_events=100, cpus=plan.cpus)
    opened: dict[str, Opened] = {"vapi": lambda: target.ours("vapi", "--host", "none", cpus=servers)}
    if not options.ours_only and (target.HOST_BIN / "kube-apiserver").exists():
        opened["kube-apiserver + etcd"] = lambda: target.upstream("kube-apiserver + etcd", cpus=servers)
    for given in options.kubeconfig:
        name, _, path = given.partition("=")
        opened[name] = lambda name=name, path=path: target.running(name, Path(path))  # type: ignore[misc]
    print(f"servers on cores {sorted(servers)}, load from {sorted(plan.cpus)}; {platform.platform()}", file=sys.stderr)
    results = {name: measure(start, plan) for name, start in opened.items()}
    if options.json:
        options.json.write_text(json.dumps({n: {f.name: f.value for f in figures} for n, figures in results.items()}))
    print(report(results))
    return 0


def measure(start: Opened, plan: Plan) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(start())
        print(f"{one.name}: ready after {one.start_s:.2f} s", file=sys.stderr)
        figures = [Figure("ready after", one.start_s, "s", "less")] if one.pids else []
        time.sleep(2.0)
        figures += scenarios.memory(one, "idle")
        for scenario in (scenarios.create, scenarios.get, scenarios.patch, scenarios.list_pods):
            figures += scenario(one, plan)
            print(f"{one.name}: {scenario.__name__} done", file=sys.stderr)
        figures += scenarios.memory(one, f"with {plan.creates:,} pods")
        figures += scenarios.fanout(one, plan)
        return figures


def report(results: dict[str, list[Figure]]) -> str:
    """A Markdown table; the ratio is how many times better the first is than each other."""
    names = list(results)
    first = {f.name: f for f in results[names[0]]}
    others = [{f.name: f for f in results[n]} for n in names[1:]]
    rows = [f"| | {' | '.join(names)} |" + " ratio |" * len(others)]
    rows.append("|---" * (len(names) + len(others) + 1) + "|")
    for name, figure in first.items():
        cells = [f"{figure.value:,.1f} {figure.unit}"]
        ratios = []
        for other in others:
            theirs = other.get(name)
            cells.append(f"{theirs.value:,.1f} {theirs.unit}" if theirs else "")
            ratios.append(f"{_ratio(figure, theirs):.1f}×" if theirs else "")
        rows.append(f"| {name} | {' | '.join(cells + ratios)} |")
    return "\n".join(rows)


def _ratio(ours: Figure, theirs: Figure) -> float:
    if not ours.value or not theirs.value:
        return 0.0
    return ours.value / theirs.value if ours.better == "more" else theirs.value / ours.value


if __name__ == "__main__":
    sys.exit(main())
