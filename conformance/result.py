"""How one test ended, and the two forms in which results are kept: JUnit XML, and Python values."""

from __future__ import annotations

import enum
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class Outcome(enum.StrEnum):
    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """`message` tells of a failure what the test said, of a skip why."""

    name: str
    outcome: Outcome
    time_s: float = 0.0
    message: str = ""

    @property
    def first_line(self) -> str:
        """The first line of the message that says something, at most 200 characters."""
        lines = (line.strip().removeprefix("[FAILED]").strip() for line in self.message.splitlines())
        return next((line[:200] for line in lines if line), "")


# JUnit's word in ginkgo's `status` attribute, or the element it puts into a testcase.
_OUTCOMES = {
    "passed": Outcome.PASS,
    "failed": Outcome.FAIL,
    "panicked": Outcome.FAIL,
    "interrupted": Outcome.SKIP,  # by Ctrl-C: it says nothing of the server
    "aborted": Outcome.FAIL,
    "timedout": Outcome.FAIL,
    "skipped": Outcome.SKIP,
    "pending": Outcome.SKIP,
}
_PREFIX = "[It] "  # ginkgo marks a test with it, and nothing else: [BeforeSuite] and the like are no tests
# What ginkgo says of a test that the focus left out: it was never asked for.
_NOT_ASKED = ("", "skipped", "skipped - none of the requested")


def read_junit(path: Path) -> list[Result]:
    """The tests of ginkgo's JUnit report that were asked for; raises ParseError for a file cut off in the middle."""
    results = []
    for case in ET.parse(path).getroot().iter("testcase"):
        name, status = case.get("name", ""), case.get("status", "passed")
        if not name.startswith(_PREFIX):
            continue
        outcome = _OUTCOMES.get(status, Outcome.FAIL)
        message = "\n".join(_told(child) for child in case if child.tag in ("failure", "error", "skipped"))
        if outcome is Outcome.SKIP and message.strip() in _NOT_ASKED:
            continue
        results.append(Result(name.removeprefix(_PREFIX), outcome, float(case.get("time", "0")), message))
    return results


def _told(element: ET.Element) -> str:
    return (element.text or "").strip() or element.get("message", "")


def write_junit(path: Path, results: Iterable[Result]) -> None:
    """In ginkgo's form, so that `read_junit` reads both."""
    suite = ET.Element("testsuite", name="conformance")
    for result in results:
        case = ET.SubElement(
            suite, "testcase", name=_PREFIX + result.name, status=_STATUS[result.outcome], time=f"{result.time_s:.3f}"
        )
        if result.outcome is not Outcome.PASS:
            tag = "failure" if result.outcome is Outcome.FAIL else "skipped"
            ET.SubElement(case, tag, message=_printable(result.first_line)).text = _printable(result.message)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


_STATUS = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.SKIP: "skipped"}


def _printable(text: str) -> str:
    """XML 1.0 has no place for most control characters."""
    return "".join(c if c in "\t\n" or ord(c) >= 32 else "\ufffd" for c in text)
