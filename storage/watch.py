"""Replay, then live, without gap or repeat: the only copy of that logic, for every backend.

The log is read page by page until a page comes short. Then the live tap is opened, and what was published between that
page and the tap's start is read too; from there on the tap gives everything. A tap that overflows meanwhile is dropped
and the reading goes on, so a replaying watch is never too slow, and a long one holds no queue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from storage.broadcaster import Broadcaster, Tap
from storage.event import Event, Progress, Revision

_FIRST_PAGE = 32
_LARGEST_PAGE = 512
_PAGE_BYTES = 1 << 20
"""Pages are counted in events, so their number follows the size of the last ones: about 1 MB a page, and never more
than twice the events of the page before (objects have up to 3 MB)."""


class Log(Protocol):
    """What a watch replays from.

    A page shorter than `limit` holds everything that was published when it was asked for; it may hold more.
    """

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]: ...


class Watch:
    """A `Subscription`. Holds nothing before its first step; one consumer at a time.

    The first element after the replay is a Progress, unless the last event says the same; `close` ends the
    iteration of the one who called it.
    """

    def __init__(self, log: Log, broadcaster: Broadcaster, prefix: str, since: Revision) -> None:
        self._log = log
        self._broadcaster = broadcaster
        self._prefix = prefix
        self._position = since
        """Everything ≤ this was yielded, or was not asked for."""
        self._page_limit = _FIRST_PAGE
        self._near_the_end = False
        self._tap: Tap | None = None
        self._live = False
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Sequence[Event | Progress]]:
        return self

    async def __anext__(self) -> Sequence[Event | Progress]:
        while not self._closed:
            try:
                batch = await (self._live_step() if self._live else self._replay_step())
            except Exception:
                if self._closed:
                    break
                self.close()
                raise
            if batch:
                return batch
        raise StopAsyncIteration

    def close(self) -> None:
        self._closed = True
        if self._tap is not None:
            self._tap.close()

    async def _live_step(self) -> Sequence[Event | Progress]:
        assert self._tap is not None
        batch = await self._tap.take()
        if batch[0].revision <= self._position:
            # Read from the log before it was published, or older than a `since` in the future.
            batch = [each for each in batch if each.revision > self._position]
        if batch:
            self._position = batch[-1].revision
        return batch

    async def _replay_step(self) -> Sequence[Event | Progress]:
        if self._tap is not None and self._tap.ended:
            self._tap.close()
            self._tap = None
        if self._tap is None and (self._near_the_end or self._position >= self._broadcaster.revision):
            self._tap = self._broadcaster.subscribe(self._prefix)
        if self._tap is not None and self._position >= self._tap.start:
            self._live = True
            return []
        events = await self._log.after(self._prefix, self._position, self._page_limit)
        return self._advance(events)

    def _advance(self, events: Sequence[Event]) -> Sequence[Event | Progress]:
        """Move the position over one page of the log, and size the next."""
        batch: list[Event | Progress] = list(events)
        if events:
            self._position = events[-1].revision
        if len(events) < self._page_limit:
            self._near_the_end = True
            if self._tap is not None and self._tap.start > self._position:
                self._position = self._tap.start
                batch.append(Progress(self._position))
        size_bytes = sum(len(event.value) + len(event.prev_value or b"") for event in events)
        grown = self._page_limit * 2 if size_bytes <= _PAGE_BYTES // 2 else self._page_limit
        shrunk = self._page_limit * _PAGE_BYTES // size_bytes if size_bytes > _PAGE_BYTES else grown
        self._page_limit = max(1, min(shrunk, _LARGEST_PAGE))
        return batch
