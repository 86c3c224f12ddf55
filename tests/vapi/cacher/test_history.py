"""The ring of changes: bounded in items and bytes, addressed by revision and by sequence."""

from __future__ import annotations

import pytest

from tests.vapi.cacher.objects import added
from vapi.cacher import history
from vapi.cacher.history import History


def test_it_keeps_the_newest_changes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_ITEMS", 100)
    ring = History(0)
    for revision in range(1, 1_001):
        ring.append(added("a", revision))
        assert ring.end == revision
        assert len(ring.read(0, 10_000)) <= 100 or not ring.holds(0)
    first = next(sequence for sequence in range(1_000) if ring.holds(sequence))
    assert 1_000 - 100 <= first <= 1_000 - 75
    assert [change.revision for change in ring.read(first, 3)] == [first + 1, first + 2, first + 3]
    assert ring.complete_after == first


def test_it_is_bounded_in_bytes_but_always_holds_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 10_000)
    ring = History(0)
    for revision in range(1, 101):
        ring.append(added("a", revision, size_bytes=1_000))
        held = [change for sequence in range(ring.end) if ring.holds(sequence) for change in ring.read(sequence, 1)]
        assert sum(len(change.entry.value) for change in held) <= 10_000
    ring.append(added("huge", 101, size_bytes=50_000))
    assert [change.revision for change in ring.read(ring.end - 1, 10)] == [101]
    assert not ring.holds(ring.end - 2)
    assert ring.complete_after == 100


def test_a_revision_finds_the_next_change_of_the_kind() -> None:
    ring = History(5)
    for revision in (7, 10, 20):
        ring.append(added("a", revision))
    found = {revision: ring.sequence_after(revision) for revision in (4, 5, 7, 8, 19, 20, 99)}
    assert found == {4: None, 5: 0, 7: 1, 8: 1, 19: 2, 20: 3, 99: 3}


def test_a_reader_at_the_end_goes_on_with_what_comes_next() -> None:
    ring = History(0)
    ring.append(added("a", 1))
    here = ring.end
    assert ring.holds(here)
    assert ring.read(here, 10) == []
    ring.append(added("b", 2))
    assert [change.revision for change in ring.read(here, 10)] == [2]
