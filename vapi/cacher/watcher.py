"""Watcher: one client's watch of one kind: initial state, then every change once and in order.

A watcher is *initial* while it walks a frozen list of entries, *replay* while it
reads what has left the ring from the store's log, and *live* otherwise: then it
holds nothing but a position in the kind's `History`. The change feed wakes it if the
change concerns it, and moves its position past the change if it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from vapi import errors
from vapi.cacher import bookmarks
from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.errors import ApiError

if TYPE_CHECKING:
    from vapi.cacher.cacher import Cacher

BATCH_BYTES = 64 << 10  # of values handed out by one `next`: what is joined and written at once
BATCH_ITEMS = 500
REPLAY_PAGE = 500
INITIAL_SLICE = 1_000  # entries of a snapshot looked at between two turns of the loop: 1 ms with a selector


class WatchEventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, eq=False)
class WatchEvent:
    """`entry` is the object to show (for DELETED by selector: the old state); `revision` is what it is shown with.

    BOOKMARK: no entry; `initial_end` marks the one that closes the initial events. ERROR: `error`.
    """

    type: WatchEventType
    revision: int
    entry: Entry | None = None
    initial_end: bool = False
    error: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What all watchers without a selector see from one position on; the tuple is shared, so that its frames can be."""

    events: tuple[WatchEvent, ...]
    next_sequence: int
    revision: int


def plain_batch(changes: Sequence[Change], prefix: str, sequence: int) -> Batch:
    """The first 64 KB of `changes`, which begin at `sequence`, as seen under `prefix`."""
    events: list[WatchEvent] = []
    size = 0
    revision = 0
    for change in changes:
        sequence += 1
        revision = change.revision
        if change.entry.key.startswith(prefix):
            events.append(WatchEvent(_PLAIN[change.type], revision, change.entry))
            size += len(change.entry.value)
            if size >= BATCH_BYTES:
                break
    return Batch(tuple(events), sequence, revision)


Matcher = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Start:
    """How a watch begins. `initial`: frozen entries to send first (None: none), as of `revision`."""

    revision: int
    initial: Sequence[Entry] | None = None
    bookmark_after_initial: bool = False


class Watcher:
    """Made by `Cacher.watch`. `next` is called by one task at a time."""

    def __init__(
        self,
        cacher: Cacher,
        start: Start,
        *,
        prefix: str,
        matches: Matcher | None,
        bookmarks_allowed: bool,
        ends_at: float,
    ) -> None:
        self._cacher = cacher
        self.prefix = prefix
        self._matches = matches
        self._bookmarks = bookmarks_allowed
        self._ends_at = ends_at
        self._initial = start.initial
        self._initial_index = 0
        self._closing_bookmark = start.bookmark_after_initial
        self._revision = start.revision
        self._sequence: int | None = None
        self._last_bookmark = cacher.clock.monotonic()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._finishing = False
        self._failed: ApiError | None = None

    # --- called by the feed; never await -------------------------------------------------------------

    def offer(self, change: Change, sequence: int) -> None:
        """The change at `sequence` was just appended: wake up for it, or step over it.

        A watch may begin at a version that this feed has not reached (another
        replica gave it out): what lies before it was seen there.
        """
        if change.revision > self._revision and self._concerns(change):
            self.wake()
        elif self._sequence == sequence:
            self._sequence = sequence + 1
            self._revision = max(self._revision, change.revision)

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: ApiError) -> None:
        """End with an ERROR event."""
        self._failed = error
        self.wake()

    def close(self) -> None:
        """Idempotent; wakes a waiting `next`."""
        if not self._closed:
            self._closed = True
            self._cacher.forget(self)
            self.wake()

    def finish(self) -> None:
        """End once what has happened is told, with a bookmark where the client takes them: it goes on from there."""
        self._finishing = True
        self.wake()

    # --- called by the client's task --------------------------------------------------------------

    async def next(self) -> Sequence[WatchEvent]:
        """The next events, at least one, at most about 64 KB of values; empty: the watch has ended."""
        while not self._closed:
            if self._failed is not None:
                self.close()
                return (WatchEvent(WatchEventType.ERROR, self._revision, error=self._failed),)
            events = self._walk_initial() if self._initial is not None else await self._advance()
            if events:
                return events
            if self._initial is not None:
                await asyncio.sleep(0)  # nothing in this slice of the snapshot matched
                continue
            if self._behind():
                continue
            if self._finishing:
                self.close()
                return (self._mark(),) if self._bookmarks else ()
            if not await self._wait():
                bookmark = self._bookmark()
                if bookmark is not None:
                    return (bookmark,)
        return ()

    def _walk_initial(self) -> Sequence[WatchEvent]:
        initial = self._initial or ()
        events: list[WatchEvent] = []
        size = 0
        end = min(len(initial), self._initial_index + INITIAL_SLICE)
        while self._initial_index < end and size < BATCH_BYTES and len(events) < BATCH_ITEMS:
            entry = initial[self._initial_index]
            self._initial_index += 1
            if self._matches is None or self._matches(entry):
                events.append(WatchEvent(WatchEventType.ADDED, entry.revision, entry))
                size += len(entry.value)
        if self._initial_index >= len(initial):
            self._initial = None
            if self._closing_bookmark:
                events.append(WatchEvent(WatchEventType.BOOKMARK, self._revision, initial_end=True))
        return events

    async def _advance(self) -> Sequence[WatchEvent]:
        history = self._cacher.history
        if self._sequence is None or not history.holds(self._sequence):
            self._sequence = history.sequence_after(self._revision)
        if self._sequence is None:
            complete_after = history.complete_after
            changes = await self._cacher.replay(self._revision, REPLAY_PAGE)
            if isinstance(changes, ApiError):
                self.fail(changes)
                return ()
            if not changes:
                # nothing of this kind between here and the ring, as it was
                self._revision = max(self._revision, complete_after)
                return ()
            return self._translate(changes)
        if self._matches is None:
            batch = self._cacher.batch(self.prefix, self._sequence)
            self._sequence, self._revision = batch.next_sequence, max(self._revision, batch.revision)
            return batch.events
        return self._translate(history.read(self._sequence, BATCH_ITEMS))

    def _translate(self, changes: Sequence[Change]) -> Sequence[WatchEvent]:
        events: list[WatchEvent] = []
        size = 0
        for change in changes:
            event = self._event(change)
            self._revision = change.revision
            if self._sequence is not None:
                self._sequence += 1
            if event is not None:
                events.append(event)
                size += len(change.entry.value)
                if size >= BATCH_BYTES:
                    break
        return events

    def _behind(self) -> bool:
        return self._sequence is None or self._sequence < self._cacher.history.end

    async def _wait(self) -> bool:
        """Until woken: True; or until a bookmark or the end is due: False."""
        clock = self._cacher.clock
        now = clock.monotonic()
        if now >= self._ends_at:
            self.close()
            return True
        due = self._ends_at
        if self._bookmarks:
            due = bookmarks.next_bookmark(now=now, last=self._last_bookmark, ends_at=self._ends_at)
        if due <= now:
            return False
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(due - now, self.wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        return clock.monotonic() < due

    def _bookmark(self) -> WatchEvent | None:
        now = self._cacher.clock.monotonic()
        if now >= self._ends_at:
            self.close()
        if not self._bookmarks or self._behind():
            return None
        self._last_bookmark = now
        return self._mark()

    def _mark(self) -> WatchEvent:
        """Everything up to now has been told."""
        self._revision = max(self._revision, self._cacher.revision)
        return WatchEvent(WatchEventType.BOOKMARK, self._revision)

    # --- selectors ----------------------------------------------------------------------------------

    def _concerns(self, change: Change) -> bool:
        if not change.entry.key.startswith(self.prefix):
            return False
        if self._matches is None:
            return True
        return self._matches(change.entry) or (change.old is not None and self._matches(change.old))

    def _event(self, change: Change) -> WatchEvent | None:
        """What this watcher sees of a change. Source: apiserver cacher convertToWatchEvent."""
        entry = change.entry
        if not entry.key.startswith(self.prefix):
            return None
        matches = self._matches
        if matches is None:
            return WatchEvent(_PLAIN[change.type], change.revision, entry)
        if change.type is ChangeType.DELETED:
            seen = matches(change.old or entry)
            return WatchEvent(WatchEventType.DELETED, change.revision, entry) if seen else None
        before = change.old is not None and matches(change.old)
        after = matches(entry)
        if after:
            kind = WatchEventType.MODIFIED if before else WatchEventType.ADDED
            return WatchEvent(kind, change.revision, entry)
        if before:
            return WatchEvent(WatchEventType.DELETED, change.revision, change.old)
        return None


_PLAIN = {
    ChangeType.ADDED: WatchEventType.ADDED,
    ChangeType.MODIFIED: WatchEventType.MODIFIED,
    ChangeType.DELETED: WatchEventType.DELETED,
}


def too_old(revision: int, oldest: int) -> ApiError:
    return errors.expired(f"too old resource version: {revision} ({oldest})")
