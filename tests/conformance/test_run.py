"""What a run sends, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

from conformance import expectation, report, run
from conformance.checks.table import CHECKS
from conformance.expectation import Expectation, Verdict
from conformance.report import Facts
from conformance.result import Outcome, Result

LEASE = "[sig-node] Lease lease API should be available [Conformance]"
KNOWN = Expectation("known", {LEASE: Verdict(Outcome.PASS)})


def test_what_is_expected_to_be_skipped_is_not_sent() -> None:
    known = Expectation("known", {LEASE: Verdict(Outcome.SKIP, "because")})
    made = run.plan(["api"], known)
    assert len(made.official) == 119
    assert made.left_out == ((LEASE, "because"),)


def test_known_good_sends_only_what_is_expected_to_pass() -> None:
    assert [t.name for t in run.plan(["all"], KNOWN, known_good=True).official] == [LEASE]


def test_focus_and_skip_hold_for_both_kinds_of_tests() -> None:
    made = run.plan(["api", "sync"], Expectation(), focus="Lease|POD", skip="POD-1 ")
    assert [t.name for t in made.official] == [LEASE]
    assert made.own
    assert set(made.own) < set(CHECKS)
    assert not any("POD-1 " in name for name in made.own)


def test_a_saved_run_can_be_judged_again(tmp_path: Path) -> None:
    facts = Facts("known", "v1", "v1", "2026-01-01", 1.0)
    run.save(tmp_path, facts, [Result(LEASE, Outcome.FAIL, 1.0, "why")])
    again = run.saved(tmp_path, KNOWN)
    assert [line.result.first_line for line in again.lines if line.unexpected] == ["why"]
    run.written(again, tmp_path)
    assert "why" in (tmp_path / "report.md").read_text()


def test_an_update_writes_down_what_was_not_expected(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text(expectation.dump(KNOWN))
    facts = Facts("known", "v1", "v1", "2026-01-01", 1.0)
    run.update(path, report.judge(facts, [Result(LEASE, Outcome.FAIL, 1.0, "a reason")], KNOWN))
    assert expectation.load(path).verdicts[LEASE] == Verdict(Outcome.FAIL, "a reason")
