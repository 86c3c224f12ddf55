"""Only what is named is wanted, and for a minute after."""

from __future__ import annotations

from sync.references import RELEASE_AFTER_S, References, Referrer
from sync.translator import CONFIGMAPS, PODS, SECRETS, Ref
from tests.planes import FakeClock

A, B = Ref(CONFIGMAPS, "ns", "a"), Ref(SECRETS, "ns", "b")
ONE: Referrer = (PODS, "ns", "one")
TWO: Referrer = (PODS, "ns", "two")


def test_what_nobody_names_is_not_wanted() -> None:
    assert not References(FakeClock()).wanted(A)


def test_the_first_to_name_it_is_told_so() -> None:
    references = References(FakeClock())
    assert references.set(ONE, {A, B}) == {A, B}
    assert references.set(ONE, {A, B}) == frozenset()
    assert references.set(TWO, {A}) == frozenset()
    assert references.wanted(A)
    assert set(references.referrers(A)) == {ONE, TWO}


def test_the_last_to_leave_releases_it_after_a_minute() -> None:
    clock = FakeClock()
    references = References(clock)
    references.set(ONE, {A, B})
    references.set(TWO, {A})
    assert references.drop(ONE) == {B}
    assert references.drop(TWO) == {A}
    clock.advance(RELEASE_AFTER_S - 1)
    assert references.wanted(A)
    clock.advance(2)
    assert not references.wanted(A)


def test_a_newcomer_within_the_minute_keeps_it() -> None:
    clock = FakeClock()
    references = References(clock)
    references.set(ONE, {A})
    references.drop(ONE)
    clock.advance(30)
    references.set(TWO, {A})
    clock.advance(RELEASE_AFTER_S)
    assert references.wanted(A)


def test_what_is_on_the_host_at_the_start_waits_for_its_referrers() -> None:
    clock = FakeClock()
    references = References(clock)
    references.hold(A)
    references.hold(B)
    assert references.set(ONE, {A}) == {A}
    clock.advance(RELEASE_AFTER_S + 1)
    assert (references.wanted(A), references.wanted(B)) == (True, False)


def test_a_referrer_that_names_less_leaves_the_rest() -> None:
    clock = FakeClock()
    references = References(clock)
    references.set(ONE, {A, B})
    references.set(ONE, {B})
    clock.advance(RELEASE_AFTER_S + 1)
    assert (references.wanted(A), references.wanted(B)) == (False, True)
