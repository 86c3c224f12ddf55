"""Replay meets live: also when the live queue overflows, and when pages are large."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from storage import errors
from storage.broadcaster import Broadcaster
from storage.event import Event, EventType, Progress, Revision
from storage.watch import Watch


class SlowLog:
    """A log in which others write while a page is read: the race that the watch must win."""

    def __init__(self, broadcaster: Broadcaster, *, writes_a_read: int, reads_with_writes: int) -> None:
        self.broadcaster = broadcaster
        self.limits: list[int] = []
        self._events: list[Event] = []
        self._writes_a_read = writes_a_read
        self._reads_with_writes = reads_with_writes

    def write(self, *, size_bytes: int = 0) -> Revision:
        revision = self.broadcaster.revision + 1
        event = Event(EventType.CREATED, "/a", bytes(size_bytes), revision, revision)
        self._events.append(event)
        self.broadcaster.dispatch([event], revision)
        return revision

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]:
        self.limits.append(limit)
        page = self._events[revision : revision + limit]
        if len(self.limits) <= self._reads_with_writes:
            for _ in range(self._writes_a_read):
                self.write()
        return page


async def revisions_until(watch: Watch, last: Revision) -> list[Revision]:
    seen: list[Revision] = []
    async for batch in watch:
        seen += [each.revision for each in batch if isinstance(each, Event)]
        if batch[-1].revision >= last:
            break
    return seen


@pytest.mark.parametrize("max_queued_events", [1, 5, 1_000], ids="queue of {}".format)
@pytest.mark.parametrize("writes_a_read", [0, 1, 7, 60])
async def test_writes_during_the_replay_come_once_in_order(writes_a_read: int, max_queued_events: int) -> None:
    broadcaster = Broadcaster(0, max_queued_events=max_queued_events)
    log = SlowLog(broadcaster, writes_a_read=writes_a_read, reads_with_writes=6)
    for _ in range(100):
        log.write()
    watch = Watch(log, broadcaster, "/", 0)
    seen: list[Revision] = []
    for _ in range(3):
        log.write()
        while not seen or seen[-1] < broadcaster.revision:
            seen += [each.revision for each in await anext(watch) if isinstance(each, Event)]
    assert seen == list(range(1, broadcaster.revision + 1))
    watch.close()


async def test_a_tap_that_overflows_during_the_replay_is_not_the_end() -> None:
    broadcaster = Broadcaster(0, max_queued_events=2)
    log = SlowLog(broadcaster, writes_a_read=5, reads_with_writes=20)
    log.write()
    seen: list[Revision] = []
    watch = Watch(log, broadcaster, "/", 0)
    async for batch in watch:
        seen += [each.revision for each in batch if isinstance(each, Event)]
        if broadcaster.revision == 101 and batch[-1].revision == 101:
            break
    assert seen == list(range(1, 102))
    watch.close()


async def test_a_live_watch_that_is_not_read_ends_as_too_slow() -> None:
    broadcaster = Broadcaster(0, max_queued_events=2)
    log = SlowLog(broadcaster, writes_a_read=0, reads_with_writes=0)
    log.write()
    watch = Watch(log, broadcaster, "/", 0)
    assert await revisions_until(watch, 1) == [1]
    live = asyncio.ensure_future(revisions_until(watch, 2))
    await asyncio.sleep(0)
    log.write()
    assert await live == [2]
    for _ in range(3):
        log.write()
    with pytest.raises(errors.SubscriberTooSlow):
        await revisions_until(watch, 5)
    # Resumed from the last one seen, nothing is lost.
    assert await revisions_until(Watch(log, broadcaster, "/", 4), 5) == [5]


async def test_pages_grow_with_small_events_and_shrink_with_large_ones() -> None:
    broadcaster = Broadcaster(0)
    log = SlowLog(broadcaster, writes_a_read=0, reads_with_writes=0)
    for _ in range(1_000):
        log.write()
    for _ in range(8):
        log.write(size_bytes=1 << 20)
    for _ in range(600):
        log.write()
    watch = Watch(log, broadcaster, "/", 0)
    assert await revisions_until(watch, 1_608) == list(range(1, 1_609))
    assert log.limits[:5] == [32, 64, 128, 256, 512]
    assert min(log.limits[5:]) < 100
    watch.close()


async def test_the_replay_ends_with_a_progress_unless_its_last_event_says_so() -> None:
    broadcaster = Broadcaster(0)
    log = SlowLog(broadcaster, writes_a_read=0, reads_with_writes=0)
    log.write()
    broadcaster.dispatch((), 5)
    watch = Watch(log, broadcaster, "/", 0)
    batches = [await anext(watch), await anext(watch)]
    assert batches[0][0].revision == 1
    assert batches[1] == [Progress(5)]
    watch.close()
