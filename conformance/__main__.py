"""python -m conformance run|replay|compare|report: the command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance import catalogue, e2e, expectation, report, result, run
from conformance.checks.run import Below, host_of
from conformance.client import BadKubeconfig, Server
from conformance.expectation import Expectation
from conformance.replay import check, golden

SHOWN = 50  # differences on the screen; the file has all
MARKS = ("<!-- conformance -->\n", "<!-- end of conformance -->\n")  # around what `report --readme` writes
REPLAYED = "replay.txt"


def main() -> int:
    args = _parser().parse_args()
    try:
        return int(args.do(args))
    except (BadKubeconfig, expectation.BadExpectation, e2e.NoSuite, golden.NoSuchFile, FileNotFoundError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    known = expectation.load(expectation.find(args.expected)) if args.expected else Expectation()
    what = run.plan(args.classes or ["all"], known, focus=args.focus, skip=args.skip, known_good=args.known_good)
    suite = e2e.find_suite(os.environ.get("E2E_BIN")) if what.official else None
    below = None
    if args.host_kubeconfig:
        below = Below(host_of(args.host_kubeconfig, args.host_namespace, args.name), args.start)
    print(f"conformance: {what.total} tests, {f'e2e.test {suite.version()}' if suite else 'no official ones'}")
    done = run.run(
        what, run.Target(args.kubeconfig, below), known,
        out=args.out, suite=suite, parallel=args.parallel, timeout_s=args.timeout * 60,
    )  # fmt: skip
    if args.update:
        run.update(expectation.find(args.expected), done)
    for line in done.lines:
        if line.unexpected:
            word = "fails" if line.result.outcome is result.Outcome.FAIL else "passes, though it is expected to fail"
            print(f"{line.result.name}: {word}: {line.result.first_line}".removesuffix(": "))
    print(" | ".join(" ".join(pair) for pair in zip(report.HEADER[2:], report.table(done)[-1][2:], strict=True)))
    print(f"report: {args.out / 'report.md'}")
    return not done.ok


def _replay(args: argparse.Namespace) -> int:
    server = Server(args.kubeconfig, args.ca_dir)
    return _told(check.replay(server, _shown(golden.files(args.files or _files_of(args.only)))), args)


def _compare(args: argparse.Namespace) -> int:
    return _told(check.compare(Server(args.a), Server(args.b), _shown(golden.files(args.files))), args)


def _shown(files: Iterable[Path]) -> Iterator[Path]:
    """The files, each told on a terminal when its turn has come: one takes up to a few minutes."""
    every = list(files)
    for done, path in enumerate(every):
        if sys.stderr.isatty():
            print(f"\r\x1b[Kconformance: {done}/{len(every)}, {golden.stem(path)}", end="", file=sys.stderr, flush=True)
        yield path
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _files_of(only: Iterable[str]) -> list[str]:
    return sorted({where.split(":", 1)[0] for where in only})


def _told(units: Iterable[check.Unit], args: argparse.Namespace) -> int:
    known = check.read_expected(args.expected) if args.expected else {}
    broken_off: list[str] = []
    done = check.tally(_until_broken_off(units, broken_off), known, only=frozenset(args.only))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        result.write_junit(args.out / run.JUNIT, done.results)
        (args.out / REPLAYED).write_text(done.summary() + "\n")
    for line in done.unexpected[: None if args.all else SHOWN]:
        print(line)
    if len(done.unexpected) > SHOWN and not args.all:
        print(f"… and {len(done.unexpected) - SHOWN} more: --all shows them")
    print(*broken_off, done.summary(), sep="\n")
    return bool(broken_off) or not done.ok


def _until_broken_off(units: Iterable[check.Unit], broken_off: list[str]) -> Iterator[check.Unit]:
    """Ctrl-C ends them, and what was found until then is told."""
    try:
        yield from units
    except KeyboardInterrupt:
        broken_off.append("Broken off: only what follows was compared.")


def _report(args: argparse.Namespace) -> int:
    """Several saved runs, side by side, and written into a README between its marks."""
    reports, ok = [], True
    for pair in args.runs:
        name, _, folder = pair.partition("=")
        known = expectation.load(expectation.find(name))
        reports.append(run.written(run.saved(Path(folder), known), Path(folder)))
        ok = ok and reports[-1].ok
    replayed = {}
    if args.replayed:
        last = (args.replayed / REPLAYED).read_text().splitlines()[-1]
        replayed["Recorded answers of kube-apiserver 1.37.1, replayed"] = last.removeprefix("all: ")
    text = report.summary(reports, replayed)
    print(text)
    if args.readme:
        args.readme.write_text(_between_marks(args.readme.read_text(), text))
    return not ok


def _between_marks(page: str, text: str) -> str:
    pattern = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.S)
    return pattern.sub(lambda _: MARKS[0] + text + MARKS[1], page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description="How conformant is this Kubernetes?")
    commands = parser.add_subparsers(required=True, metavar="run|replay|compare|report")
    _run_arguments(commands.add_parser("run", help="official tests and our own checks"))
    replay = commands.add_parser("replay", help="the recorded requests, against the answers of kube-apiserver")
    replay.add_argument("--kubeconfig", type=Path, required=True)
    replay.add_argument("--ca-dir", type=Path, help="folder with ca.crt and ca.key of the server's client CA")
    compare = commands.add_parser("compare", help="the same requests to two servers")
    compare.add_argument("a", type=Path, metavar="A", help="kubeconfig of the one that is right")
    compare.add_argument("b", type=Path, metavar="B", help="kubeconfig of the other")
    for command, do in ((replay, _replay), (compare, _compare)):
        command.add_argument("--expected", type=Path, help="lines `file:index reason`: what may differ")
        command.add_argument("--only", action="append", default=[], metavar="FILE:INDEX")
        command.add_argument("--out", type=Path, help="folder for junit.xml and the summary")
        command.add_argument("--all", action="store_true", help=f"show more than {SHOWN} differences")
        command.add_argument("files", nargs="*", metavar="FILE", help="golden files, by name up to the version")
        command.set_defaults(do=do)
    many = commands.add_parser("report", help="saved runs, side by side")
    many.add_argument("runs", nargs="+", metavar="EXPECTATION=DIR")
    many.add_argument("--replayed", type=Path, metavar="DIR", help="what `replay --out DIR` left")
    many.add_argument("--readme", type=Path, help="write the table between this file's marks")
    many.set_defaults(do=_report)
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    classes = (*catalogue.CLASSES, "all")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--class", dest="classes", action="append", choices=classes, help="again for more; all")
    parser.add_argument("--focus", default="", metavar="RE", help="only tests whose name this is found in")
    parser.add_argument("--skip", default="", metavar="RE", help="no test whose name this is found in")
    parser.add_argument("--known-good", action="store_true", help="only tests that are expected to pass")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="tests at a time; 2")
    parser.add_argument("--timeout", type=float, default=120, metavar="MINUTES", help="of all official tests; 120")
    parser.add_argument("--out", type=Path, default=Path("conformance-out"), metavar="DIR")
    parser.add_argument("--expected", metavar="NAME", help="a file of conformance/expected, or a path")
    parser.add_argument("--update", action="store_true", help="write what was seen into the expectation")
    parser.add_argument("--host-kubeconfig", type=Path, help="of the cluster below, for checks that look at both")
    parser.add_argument("--host-namespace", default="", help="the namespace there that holds everything")
    parser.add_argument("--name", default="vapi", help="what ends translated names there; vapi")
    parser.add_argument(
        "--start", default="", metavar="COMMAND", help="starts a virtual cluster with certain options: checks/clusters"
    )
    parser.set_defaults(do=_run)


if __name__ == "__main__":
    sys.exit(main())
