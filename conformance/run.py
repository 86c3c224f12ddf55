"""One run: choose, send, collect, judge, write down."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from conformance import catalogue, e2e, expectation, report, result
from conformance.catalogue import Test
from conformance.checks import run as checks
from conformance.checks.run import Below
from conformance.checks.table import CHECKS
from conformance.client import Server
from conformance.expectation import Expectation
from conformance.progress import Progress
from conformance.report import GROUP, Facts, Report
from conformance.result import Outcome, Result

JUNIT, FACTS = "junit.xml", "run.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent, and what is left out on purpose: name → why."""

    official: tuple[Test, ...]
    own: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def total(self) -> int:
        return len(self.official) + len(self.own)


def plan(
    classes: Iterable[str], expected: Expectation, *, focus: str = "", skip: str = "", known_good: bool = False
) -> Plan:
    """Names that `focus` is found in and `skip` is not. With `known_good` only what is expected to pass."""
    wanted = frozenset(classes)
    official = {t.name: t for t in catalogue.chosen(wanted, focus)}
    own = [name for name in CHECKS if wanted & {GROUP, "all"} and re.search(focus, name)]
    names = [n for n in (*official, *own) if not (skip and re.search(skip, n))]
    left_out = []
    sent = []
    for name in names:
        verdict = expected.verdicts.get(name)
        if verdict and verdict.outcome is Outcome.SKIP:
            left_out.append((name, verdict.why))
        elif not known_good or (verdict and verdict.outcome is Outcome.PASS):
            sent.append(name)
    chosen = tuple(official[name] for name in sent if name in official)
    return Plan(chosen, tuple(name for name in sent if name in CHECKS), tuple(left_out))


@dataclass(frozen=True, slots=True)
class Target:
    """`below` is the cluster that the server's pods run on, if we may look at it."""

    kubeconfig: Path
    below: Below | None = None


def run(
    what: Plan,
    target: Target,
    expected: Expectation,
    *,
    out: Path,
    suite: e2e.Suite | None,
    parallel: int,
    timeout_s: float,
) -> Report:
    """Leaves junit.xml, run.json, report.md and report.html in `out`, also if it is broken off by Ctrl-C."""
    out.mkdir(parents=True, exist_ok=True)
    progress, seen = Progress("conformance", what.total), list[Result]()
    started, start, complete = dt.datetime.now(dt.UTC), time.monotonic(), True

    def told(one: Result) -> None:
        seen.append(one)
        progress.result(one)

    results: list[Result] = []
    with progress.ticking():
        try:
            if what.own:
                results += checks.run(
                    what.own, kubeconfig=target.kubeconfig, below=target.below, told=told, parallel=parallel
                )
            if what.official and suite:
                results += _official(suite, what, target, out=out, parallel=parallel, timeout_s=timeout_s, told=told)
        except e2e.Interrupted as broken:
            results, complete = results + broken.results, False
        except KeyboardInterrupt:
            results, complete = seen, False
    results = _in_full(what, results)
    server = Server(target.kubeconfig)
    facts = Facts(
        title=expected.title or "No expectation",
        server=server.version() or "no answer",
        suite=suite.version() if suite else "none",
        started=started.strftime("%Y-%m-%d"),
        took_s=time.monotonic() - start,
        complete=complete and not any(r.message == e2e.MISSING for r in results),  # also if somebody else broke it off
    )
    server.close()
    save(out, facts, results)
    return written(report.judge(facts, results, expected), out)


def _official(
    suite: e2e.Suite,
    what: Plan,
    target: Target,
    *,
    out: Path,
    parallel: int,
    timeout_s: float,
    told: Callable[[Result], None],
) -> list[Result]:
    chosen = list(what.official)
    return e2e.run(
        suite, chosen, kubeconfig=target.kubeconfig, out=out, parallel=parallel, timeout_s=timeout_s, told=told
    )


def _in_full(what: Plan, results: Iterable[Result]) -> list[Result]:
    """A result for everything in the plan, what was left out or not reached included."""
    known = {r.name: r for r in results}
    names = [*what.own, *(t.name for t in what.official)]
    sent = [known.get(name, Result(name, Outcome.SKIP, message=e2e.MISSING)) for name in names]
    return sent + [Result(name, Outcome.SKIP, message=why) for name, why in what.left_out]


def save(out: Path, facts: Facts, results: Iterable[Result]) -> None:
    result.write_junit(out / JUNIT, results)
    (out / FACTS).write_text(json.dumps(dataclasses.asdict(facts), indent=1) + "\n")


def saved(out: Path, expected: Expectation) -> Report:
    """A run that `save` wrote, judged anew. Raises FileNotFoundError."""
    facts = Facts(**json.loads((out / FACTS).read_text()))
    return report.judge(dataclasses.replace(facts, title=expected.title or facts.title), _all(out), expected)


def _all(out: Path) -> list[Result]:
    return result.read_junit(out / JUNIT)


def written(judged: Report, out: Path) -> Report:
    (out / "report.md").write_text(report.markdown(judged))
    (out / "report.html").write_text(report.html_page(judged))
    return judged


def update(path: Path, judged: Report) -> None:
    """Write what was seen into the expectation."""
    before = expectation.load(path) if path.exists() else Expectation(path.stem)
    after = expectation.updated(before, (line.result for line in judged.lines if line.unexpected or not line.expected))
    path.write_text(expectation.dump(after))
