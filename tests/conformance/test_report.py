"""Results beside expectations: the verdict, the table, the pages."""

from __future__ import annotations

import re

import pytest

from conformance import report
from conformance.expectation import Expectation, Verdict
from conformance.report import Facts, Report
from conformance.result import Outcome, Result

LEASE = "[sig-node] Lease lease API should be available [Conformance]"
OURS = "[pods] a pod runs"
FACTS = Facts("ours", "v1.37.1", "v1.37.1", "2026-01-01", 90.0)


def judged(outcome: Outcome, expected: Outcome | None, *, complete: bool = True) -> Report:
    verdicts = {} if expected is None else {LEASE: Verdict(expected, "because")}
    facts = Facts("ours", "v1.37.1", "v1.37.1", "2026-01-01", 90.0, complete)
    return report.judge(facts, [Result(LEASE, outcome, 1.0, "[FAILED] a <b> | c\nmore")], Expectation("ours", verdicts))


@pytest.mark.parametrize(
    ("outcome", "expected", "ok"),
    [
        (Outcome.PASS, Outcome.PASS, True),
        (Outcome.FAIL, Outcome.PASS, False),
        (Outcome.PASS, Outcome.FAIL, False),
        (Outcome.FAIL, Outcome.FAIL, True),
        (Outcome.PASS, None, True),
        (Outcome.FAIL, None, False),
        (Outcome.SKIP, Outcome.PASS, True),
        (Outcome.SKIP, Outcome.SKIP, True),
    ],
)
def test_what_gets_worse_or_better_than_expected_fails_the_run(
    outcome: Outcome, expected: Outcome | None, ok: bool
) -> None:
    assert judged(outcome, expected).ok is ok


def test_a_run_that_was_broken_off_is_no_success() -> None:
    assert not judged(Outcome.PASS, Outcome.PASS, complete=False).ok


def test_the_table_counts_by_class_and_sig() -> None:
    results = [Result(LEASE, Outcome.PASS), Result(OURS, Outcome.FAIL), Result("[sig-x] else", Outcome.SKIP)]
    rows = report.table(report.judge(FACTS, results, Expectation()))
    assert rows == [
        ("api", "sig-node", "1", "0", "0", "1"),
        ("sync", "pods", "0", "1", "0", "1"),
        ("other", "sig-x", "0", "0", "1", "1"),
        ("all", "", "1", "1", "1", "3"),
    ]


def test_the_pages_show_versions_time_and_the_first_line_of_a_failure() -> None:
    page = report.markdown(judged(Outcome.FAIL, Outcome.PASS))
    assert "Server v1.37.1, tests of Kubernetes v1.37.1, 2026-01-01, 1.5 minutes." in page
    assert "Fails, though it is expected to pass (1)" in page
    assert r"a \<b> \| c |" in page
    assert "more" not in page


def test_the_html_page_escapes_what_tests_say() -> None:
    page = report.html_page(judged(Outcome.FAIL, Outcome.FAIL))
    assert "because: a &lt;b&gt; | c" in page
    assert not re.search(r"a <b>", page)


def test_the_summary_sets_combinations_side_by_side() -> None:
    text = report.summary([judged(Outcome.PASS, None), judged(Outcome.FAIL, None)], {"Replayed": "1 of 2 equal"})
    assert "| api | 1 of 1 | 0 of 1 |" in text
    assert text.endswith("Replayed: 1 of 2 equal.\n")
