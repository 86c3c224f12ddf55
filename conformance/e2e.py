"""The official suite: the e2e.test binary of Kubernetes, run by ginkgo.

Two passes: tests that may run beside others, `--parallel` at a time, and then those marked Serial or Disruptive.
Results are read twice: from ginkgo's output as it comes, for the progress line and for a run that is broken off, and
from its JUnit report at the end, which has the whole message of each failure.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from conformance import result
from conformance.catalogue import Test
from conformance.result import Outcome, Result

DEFAULT_FOLDER = Path("~/.cache/vapi-host")  # where ../shared/host/build puts the binaries
GRACE_S = 90.0  # ginkgo's own grace for a test that is interrupted is 30 s, and then it reports
MISSING = "was not run: the run ended before its turn"

_HEAD = re.compile(r"^(?P<mark>[•S])?.*?\[(?P<time>[\d.]+) seconds\]$")
_LABELS = re.compile(r" \[[^\[\]]*\]$")


class NoSuite(Exception):
    """The binaries of the official tests are not here."""


@dataclass(frozen=True, slots=True)
class Suite:
    e2e: Path
    ginkgo: Path

    def version(self) -> str:
        """The Kubernetes release whose tests these are."""
        return subprocess.run([self.e2e, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def find_suite(e2e_bin: str | None) -> Suite:
    """`e2e_bin` is the e2e.test, with ginkgo beside it; None: where the host's build puts them. Raises NoSuite."""
    e2e = Path(e2e_bin).expanduser() if e2e_bin else DEFAULT_FOLDER.expanduser() / "e2e.test"
    ginkgo = e2e.parent / "ginkgo"
    for path in (e2e, ginkgo):
        if not os.access(path, os.X_OK):
            raise NoSuite(
                f"{path} is not here: run ../shared/host/build, or set E2E_BIN to an e2e.test beside a ginkgo"
            )
    return Suite(e2e, ginkgo)


def focus_of(tests: Iterable[Test]) -> str:
    """A regular expression (RE2) that finds these tests and no other official one: their names in full."""
    return "|".join(f"{re.escape(test.name)}(?: \\[|$)" for test in tests)


def run(
    suite: Suite,
    tests: list[Test],
    *,
    kubeconfig: Path,
    out: Path,
    parallel: int,
    timeout_s: float,
    told: Callable[[Result], None],
) -> list[Result]:
    """Run these tests and return a result for each. `told` hears of each as it ends.

    Leaves junit and output in `out`. Ctrl-C asks ginkgo to stop and to report, and is raised again as `Interrupted`,
    which holds what was learned.
    """
    passes = (
        ("parallel", [t for t in tests if not t.serial], parallel),
        ("serial", [t for t in tests if t.serial], 1),
    )
    results: list[Result] = []
    for name, chosen, procs in passes:
        if not chosen:
            continue
        folder = (out / name).resolve()  # ginkgo runs the tests in a folder of its own
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            str(suite.ginkgo), f"--procs={procs}", "--no-color", "-v", "--silence-skips", f"--timeout={timeout_s:.0f}s",
            f"--focus={focus_of(chosen)}", str(suite.e2e), "--", f"--kubeconfig={kubeconfig}", "--provider=skeleton",
            f"--report-dir={folder}", "--num-nodes=1", f"--ginkgo.junit-report={folder}/junit.xml",
        ]  # fmt: skip
        stopped = False
        seen = {}
        try:
            for found in _output(command, folder / "output.txt"):
                seen[found.name] = found
                told(found)
        except KeyboardInterrupt:
            stopped = True
        results += _collected(chosen, seen, folder)
        if stopped:
            raise Interrupted(results)
    return results


class Interrupted(Exception):
    def __init__(self, results: list[Result]) -> None:
        super().__init__("interrupted")
        self.results = results


def _output(command: list[str], copy: Path) -> Iterator[Result]:
    """What ginkgo tells while it runs; all of it goes to `copy`. On KeyboardInterrupt it is given time to report."""
    # A session of its own: Ctrl-C of the terminal comes to us alone, and we pass it on once.
    with copy.open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            yield from read_output(process.stdout, log)
            process.wait()
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ginkgo ends its test processes and writes its report on SIGINT; what is left after GRACE_S is killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        end = time.monotonic() + GRACE_S
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
        while process.poll() is None and time.monotonic() < end:
            _drain(process)
            time.sleep(0.1)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _drain(process: subprocess.Popen[str]) -> None:
    """A process whose output nobody reads stands still."""
    if process.stdout is not None:
        try:
            while os.read(process.stdout.fileno(), 65536):
                pass
        except BlockingIOError:
            pass


def read_output(lines: Iterable[str], copy: TextIO) -> Iterator[Result]:
    """The results in ginkgo's verbose output, as they come; every line is written to `copy` too.

    A test is told in two lines, `• [FAILED] [30.1 seconds]` and its name; `[It] ` and the labels at the end are no
    part of that.
    """
    outcome, took_s = None, 0.0
    for line in lines:
        copy.write(line)
        line = line.rstrip()
        if outcome is not None:
            name = _LABELS.sub("", line.replace("[It] ", "", 1))
            if name.startswith("[sig-"):
                yield Result(name, outcome, took_s)
        head = _HEAD.match(line)
        outcome = _told(line) if head and head["mark"] else None
        took_s = float(head["time"]) if head else 0.0


def _told(line: str) -> Outcome:
    if line.startswith("S") or "[SKIPPED]" in line or "[INTERRUPTED]" in line:
        return Outcome.SKIP
    return Outcome.PASS if re.match(r"^• (\[SLOW TEST\] )?\[[\d.]+ seconds\]$", line) else Outcome.FAIL


def _collected(tests: Iterable[Test], seen: dict[str, Result], folder: Path) -> list[Result]:
    """A result for each test: ginkgo's report first, then what it told while it ran, else that it was not run."""
    reported = {}
    for path in sorted(folder.glob("junit*.xml")):
        try:
            reported.update({r.name: r for r in result.read_junit(path)})
        except ET.ParseError:  # broken off while it was written
            continue
    missing = {t.name: Result(t.name, Outcome.SKIP, message=MISSING) for t in tests}
    every = missing | seen | {name: r for name, r in reported.items() if name in missing or name in seen}
    return [every[t.name] for t in tests]
