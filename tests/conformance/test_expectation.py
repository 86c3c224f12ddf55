"""Expectations are read, refused, changed and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import catalogue, expectation
from conformance.checks.table import CHECKS
from conformance.expectation import BadExpectation, Expectation, Verdict
from conformance.result import Outcome, Result

TEXT = """
title = "ours"
pass = ["one", "two"]
[fail]
"no quota yet" = ["three", 'with "quotes" and \\ and …']
[skip]
"takes 8 minutes" = ["four"]
"""


def test_a_file_says_of_each_test_how_it_ends_and_why() -> None:
    known = expectation.parse(TEXT)
    assert known.verdicts["one"] == Verdict(Outcome.PASS)
    assert known.verdicts["three"] == Verdict(Outcome.FAIL, "no quota yet")
    assert known.skipped() == ["four"]


def test_what_is_written_reads_back_the_same() -> None:
    known = expectation.parse(TEXT)
    assert expectation.parse(expectation.dump(known)) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pass = ["one"]\n[fail]\nwhy = ["one"]', "listed twice"),
        ('[fail]\n" " = ["one"]', "no reason"),
        ('flaky = ["one"]', "unknown keys"),
    ],
    ids=["twice", "without a reason", "unknown"],
)
def test_a_file_that_contradicts_itself_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadExpectation, match=message):
        expectation.parse(text)


def test_an_update_keeps_reasons_of_what_still_fails() -> None:
    known = expectation.parse(TEXT)
    seen = [Result("three", Outcome.FAIL, message="other words"), Result("one", Outcome.FAIL, message="\n[FAILED] new")]
    after = expectation.updated(known, seen)
    assert after.verdicts["three"].why == "no quota yet"
    assert after.verdicts["one"] == Verdict(Outcome.FAIL, "new")


def test_an_unknown_combination_is_named_with_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="ours-embedded"):
        expectation.find("nobodys")


@pytest.mark.parametrize("path", sorted(expectation.FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_a_committed_file_lists_only_tests_that_exist_and_true_reasons(path: Path) -> None:
    known: Expectation = expectation.load(path)
    assert known.title
    assert set(known.verdicts) <= set(catalogue.official()) | set(CHECKS)
    for name, verdict in known.verdicts.items():
        assert verdict.outcome is Outcome.PASS or len(verdict.why) > 10, name
        assert "flak" not in verdict.why.lower()
        assert expectation.UNEXPLAINED not in verdict.why
