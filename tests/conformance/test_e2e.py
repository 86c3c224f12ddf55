"""What ginkgo prints and writes is read."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from conformance import catalogue, e2e, result
from conformance.e2e import NoSuite
from conformance.result import Outcome, Result

OUTPUT = """\
Will run 3 of 3206 specs
------------------------------
[SynchronizedBeforeSuite] PASSED [0.018 seconds]
[SynchronizedBeforeSuite]
------------------------------
• [0.043 seconds]
[sig-node] Lease lease API should be available [Conformance] [sig-node, Conformance]
  STEP: • [9 seconds] is not a result
------------------------------
• [FAILED] [30.044 seconds]
[sig-node] Secrets [It] should fail to create secret due to empty secret key [Conformance] [sig-node, Conformance]
/root/x.go:143
------------------------------
S [SKIPPED] [0.010 seconds]
[sig-storage] CSI [It] needs two nodes [sig-storage]
"""


def test_results_are_told_as_ginkgo_prints_them() -> None:
    copy = io.StringIO()
    found = list(e2e.read_output(io.StringIO(OUTPUT), copy))
    secrets = "[sig-node] Secrets should fail to create secret due to empty secret key [Conformance]"
    assert [(r.name, r.outcome, r.time_s) for r in found] == [
        ("[sig-node] Lease lease API should be available [Conformance]", Outcome.PASS, 0.043),
        (secrets, Outcome.FAIL, 30.044),
        ("[sig-storage] CSI needs two nodes", Outcome.SKIP, 0.01),
    ]
    assert copy.getvalue() == OUTPUT


def test_a_line_of_many_words_is_read_at_once() -> None:
    lines = ["• [0.1 seconds]\n", "[sig-x] " + "word-" * 2_000 + "[" + "a, " * 2_000 + "!\n"]
    [found] = e2e.read_output(lines, io.StringIO())
    assert found.name.startswith("[sig-x] word-")


def test_the_focus_finds_each_chosen_test_and_no_other() -> None:
    chosen = catalogue.chosen(["api"], "MutatingAdmissionPolicy")
    focus = re.compile(e2e.focus_of(chosen))
    found = [t for t in catalogue.official().values() if focus.search(f"{t.name} [{t.sig}, Conformance]")]
    assert found == chosen


def test_a_missing_suite_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NoSuite, match="E2E_BIN"):
        e2e.find_suite(str(tmp_path / "e2e.test"))


def test_junit_reads_back_what_was_written(tmp_path: Path) -> None:
    written = [
        Result("one", Outcome.PASS, 1.5),
        Result("two", Outcome.FAIL, 0.0, "first\x00\nsecond"),
        Result("three", Outcome.SKIP, 0.0, "why"),
    ]
    result.write_junit(tmp_path / "junit.xml", written)
    read = result.read_junit(tmp_path / "junit.xml")
    assert [(r.name, r.outcome, r.time_s) for r in read] == [(r.name, r.outcome, r.time_s) for r in written]
    assert [r.first_line for r in read] == ["", "first\ufffd", "why"]


def test_tests_that_were_not_asked_for_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(
        '<testsuites><testcase name="[It] a" status="skipped"><skipped message="skipped"/></testcase></testsuites>'
    )
    assert result.read_junit(path) == []
