"""A slow subscriber is closed with a reason, and the others do not notice."""

from __future__ import annotations

import asyncio

import pytest

from storage import errors
from storage.broadcaster import Broadcaster, Tap
from storage.event import Event, EventType, Progress, Revision


def created(revision: Revision, *, key: str = "/a", size_bytes: int = 0) -> Event:
    return Event(EventType.CREATED, key, bytes(size_bytes), revision, revision)


async def take_all(tap: Tap) -> tuple[list[Revision], errors.StorageError]:
    """The revisions that are queued, and the reason of the end."""
    revisions: list[Revision] = []
    while True:
        try:
            revisions += [each.revision for each in await tap.take()]
        except errors.StorageError as error:
            return revisions, error


async def test_a_subscriber_that_takes_nothing_is_closed_at_the_bound_of_events() -> None:
    broadcaster = Broadcaster(0, max_queued_events=3)
    slow, quick = broadcaster.subscribe("/"), broadcaster.subscribe("/")
    for revision in range(1, 6):
        broadcaster.dispatch([created(revision)], revision)
        assert await quick.take() == [created(revision)]
    assert slow.ended
    revisions, reason = await take_all(slow)
    assert revisions == [1, 2, 3]
    assert isinstance(reason, errors.SubscriberTooSlow)
    assert "resume from 3" in str(reason)


async def test_a_subscriber_that_takes_nothing_is_closed_at_the_bound_of_bytes() -> None:
    broadcaster = Broadcaster(0, max_queued_bytes=10_000)
    tap = broadcaster.subscribe("/")
    for revision in range(1, 4):
        broadcaster.dispatch([created(revision, size_bytes=4_000)], revision)
    assert (await take_all(tap))[0] == [1, 2]


async def test_an_event_larger_than_the_bound_passes_through_an_empty_queue() -> None:
    broadcaster = Broadcaster(0, max_queued_bytes=10_000)
    tap = broadcaster.subscribe("/")
    for revision in range(1, 4):
        broadcaster.dispatch([created(revision, size_bytes=20_000)], revision)
        assert [each.revision for each in await tap.take()] == [revision]


async def test_what_is_cut_off_promises_nothing() -> None:
    broadcaster = Broadcaster(0, max_queued_events=1)
    tap = broadcaster.subscribe("/a")
    broadcaster.dispatch([created(1), created(2), created(3, key="/b")], 3)
    assert (await take_all(tap))[0] == [1]


async def test_progress_follows_the_events_and_is_conflated() -> None:
    broadcaster = Broadcaster(0)
    tap = broadcaster.subscribe("/a")
    broadcaster.dispatch([created(1), created(2, key="/b")], 2)
    broadcaster.dispatch([], 5)
    assert await tap.take() == [created(1), Progress(5)]
    broadcaster.dispatch([], 6)
    broadcaster.dispatch([created(7)], 7)
    assert await tap.take() == [created(7)]


async def test_a_revision_that_moves_nothing_is_not_told() -> None:
    broadcaster = Broadcaster(4)
    tap = broadcaster.subscribe("/")
    broadcaster.dispatch([], 4)
    broadcaster.dispatch([], 3)
    assert broadcaster.revision == 4
    broadcaster.dispatch([], 5)
    assert await tap.take() == [Progress(5)]


async def test_a_feed_that_lost_its_place_ends_every_tap_after_what_was_queued() -> None:
    broadcaster = Broadcaster(0)
    tap = broadcaster.subscribe("/")
    broadcaster.dispatch([created(1)], 1)
    broadcaster.lose(9, errors.Compacted(1, 8))
    revisions, reason = await take_all(tap)
    assert (revisions, type(reason), broadcaster.revision) == ([1], errors.Compacted, 9)
    assert not broadcaster.subscribe("/").ended


async def test_nobody_subscribes_to_a_closed_store() -> None:
    broadcaster = Broadcaster(0)
    tap = broadcaster.subscribe("/")
    waiting = asyncio.ensure_future(tap.take())
    await asyncio.sleep(0)
    broadcaster.close()
    with pytest.raises(errors.StoreClosed):
        await waiting
    with pytest.raises(errors.StoreClosed):
        broadcaster.subscribe("/")
