"""Live fan-out: each committed event to every subscriber whose prefix fits, in revision order.

Runs on the loop and never awaits, so a dispatch is seen whole by everyone: `revision` is the newest published one,
and a tap opened now gets exactly what comes after it. Consumers that wait in `Tap.take` are woken in the order of
dispatch, before anything that is scheduled later: a writer whose future is resolved after the dispatch runs after
the consumers (invariant 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage import errors
from storage.event import Event, Progress, Revision

MAX_QUEUED_EVENTS = 16_384
"""Events a subscriber may leave untaken; 0.4 s at 39,000 writes/s, the most SQLite commits (measured)."""

MAX_QUEUED_BYTES = 32 << 20
"""Key and value bytes a subscriber may leave untaken: ten objects of 3 MB. Values are shared with other queues."""

_EVENT_OVERHEAD_BYTES = 200
"""An Event and its slot in a list, measured by sys.getsizeof: so that many small ones count too."""


class Tap:
    """One subscriber's bounded queue. Made by `Broadcaster.subscribe`; one consumer at a time.

    When it is full it is cut off from the fan-out: what was queued can still be taken, then `take` raises
    SubscriberTooSlow. Nobody else notices.
    """

    __slots__ = ("_broadcaster", "_error", "_progress", "_queue", "_queued_bytes", "_waiter", "prefix", "start")

    def __init__(self, broadcaster: Broadcaster, prefix: str) -> None:
        self.prefix = prefix
        self.start = broadcaster.revision
        """Everything published after this revision comes through this tap."""
        self._broadcaster = broadcaster
        self._queue: list[Event | Progress] = []
        self._queued_bytes = 0
        self._progress: Revision = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: errors.StorageError | None = None

    @property
    def ended(self) -> bool:
        """Nothing more is queued: it was too slow, or the store ended it."""
        return self._error is not None

    async def take(self) -> list[Event | Progress]:
        """What is queued, at least one element; waits while there is nothing.

        Raises SubscriberTooSlow, Compacted or StoreClosed once the queue is empty and the tap has ended.
        """
        while not self._queue and not self._progress:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch, self._queue, self._queued_bytes = self._queue, [], 0
        progress, self._progress = self._progress, 0
        if progress:
            batch.append(Progress(progress))
        return batch

    def close(self) -> None:
        """Leave the fan-out; a waiting `take` raises StoreClosed."""
        self._end(errors.StoreClosed("the watch was closed"))

    def _offer(self, events: Sequence[Event], revision: Revision) -> None:
        """Queue what fits the prefix, then the promise that nothing ≤ `revision` follows, unless its event says so."""
        prefix, queue, last = self.prefix, self._queue, 0
        for event in events:
            if not event.key.startswith(prefix):
                continue
            size_bytes = len(event.key) + len(event.value) + _EVENT_OVERHEAD_BYTES
            # A single event larger than the bound still passes through an empty queue.
            if queue and not self._broadcaster.has_room(len(queue) + 1, self._queued_bytes + size_bytes):
                last_seen = queue[-1].revision
                self._end(errors.SubscriberTooSlow(f"more than {len(queue)} events wait; resume from {last_seen}"))
                return
            queue.append(event)
            self._queued_bytes += size_bytes
            last = event.revision
        self._progress = revision if last != revision else 0
        self._wake()

    def _end(self, error: errors.StorageError) -> None:
        if self._error is None:
            self._error = error
            self._broadcaster.drop(self)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Broadcaster:
    """All taps of one store, and the newest published revision."""

    def __init__(
        self,
        revision: Revision,
        *,
        max_queued_events: int = MAX_QUEUED_EVENTS,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self.revision = revision
        self._max_queued_events = max_queued_events
        self._max_queued_bytes = max_queued_bytes
        # A dict for its order: taps are served in the order they came.
        self._taps: dict[Tap, None] = {}
        self._closed: errors.StorageError | None = None

    def subscribe(self, prefix: str) -> Tap:
        """A tap on everything under `prefix` that is published from now on. Raises StoreClosed."""
        if self._closed is not None:
            raise self._closed
        tap = Tap(self, prefix)
        self._taps[tap] = None
        return tap

    def dispatch(self, events: Sequence[Event], revision: Revision) -> None:
        """Publish `events` (ascending, all > the published revision) and move to `revision` (≥ the last one).

        Without events it is a Progress for everyone. A revision that does not move anything is ignored.
        """
        if revision <= self.revision:
            return
        self.revision = revision
        for tap in tuple(self._taps):
            tap._offer(events, revision)

    def lose(self, revision: Revision, error: errors.StorageError) -> None:
        """The feed lost its place and goes on from `revision`: every tap ends with `error` after what it has queued."""
        for tap in tuple(self._taps):
            tap._end(error)
        self.revision = max(self.revision, revision)

    def close(self) -> None:
        """End every tap with StoreClosed, after what it has queued. Idempotent."""
        if self._closed is None:
            self._closed = errors.StoreClosed("the store is closed")
            for tap in tuple(self._taps):
                tap._end(self._closed)

    def has_room(self, queued_events: int, queued_bytes: int) -> bool:
        return queued_events <= self._max_queued_events and queued_bytes <= self._max_queued_bytes

    def drop(self, tap: Tap) -> None:
        self._taps.pop(tap, None)
