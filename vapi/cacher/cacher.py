"""Cacher: the watch cache of one stored kind: its view, its history, its watchers and in-process handlers.

Fed in revision order by `cacher.feed`; every reader of the kind (lists, gets,
watches, controllers) is served from here, shared by all rows of the kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from storage.errors import Compacted
from storage.event import Event, EventType
from storage.store import Store
from vapi.cacher.entry import Change, ChangeType, Entry, make_entry
from vapi.cacher.history import History
from vapi.cacher.view import View
from vapi.cacher.watcher import BATCH_ITEMS, Batch, Matcher, Start, Watcher, plain_batch, too_old
from vapi.clock import Clock
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.resource import StoredKind

log = logging.getLogger(__name__)

REPLAY_SLICE = 64
"""Changes read from the log between two turns of the loop: two decodes each, 2 ms for Pods."""
MAX_SNAPSHOTS = 4
"""Copied lists of references for continue tokens, a kind; other pages come from the store."""

Handler = Callable[[Change], None]

_TYPES = {
    EventType.CREATED: ChangeType.ADDED,
    EventType.UPDATED: ChangeType.MODIFIED,
    EventType.DELETED: ChangeType.DELETED,
}


class SharedRevision:
    """How far the feed has come, for all kinds at once."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Cacher:
    """Runs on the loop; only `replay` awaits."""

    def __init__(self, kind: StoredKind, store: Store, clock: Clock, shared: SharedRevision) -> None:
        self.kind = kind
        self.clock = clock
        self._shared = shared
        self.view = View()
        self.history = History(0)
        self._store = store
        self.last_change = 0
        """Revision of the newest change of this kind: the view is the state at every revision from here to now."""
        self.snapshots: dict[int, Sequence[Entry]] = {}
        self._watchers: set[Watcher] = set()
        self._handlers: list[Handler] = []
        self._batches: dict[tuple[str, int], Batch] = {}
        self._batches_end = -1

    @property
    def revision(self) -> int:
        """The feed's."""
        return self._shared.value

    # --- fed ------------------------------------------------------------------------------------------

    def load(self, entries: Sequence[Entry], *, complete_after: int) -> None:
        """A new state; the history will be filled from `complete_after` on by `remember`."""
        self.view.load(entries)
        self.last_change = self.revision
        self.snapshots.clear()
        self.history = History(complete_after)

    def difference(self, before: Sequence[Entry]) -> Iterator[Change]:
        """From an earlier state to the view: what handlers must be told after a reload."""
        revision = self.revision
        old = {entry.key: entry for entry in before}
        for entry in self.view.entries():
            known = old.pop(entry.key, None)
            if known is None or known.uid != entry.uid:
                if known is not None:
                    yield Change(ChangeType.DELETED, known, known, revision)
                yield Change(ChangeType.ADDED, entry, None, entry.revision)
            elif known.revision != entry.revision:
                yield Change(ChangeType.MODIFIED, entry, known, entry.revision)
        for entry in old.values():
            yield Change(ChangeType.DELETED, entry, entry, revision)

    def tell(self, change: Change) -> None:
        """The handlers; one that fails does not keep the others from it."""
        for handler in self._handlers:
            try:
                handler(change)
            except Exception:
                log.exception("change handler failed", extra={"key": change.entry.key, "revision": change.revision})

    def remember(self, event: Event) -> None:
        """An event from before `load`'s revision: history only."""
        self.history.append(self._change(event, None, None))

    def apply(self, event: Event, decoded: Obj | None) -> None:
        """One committed event. `decoded`: the value as a writer of this process had it, if it was one; only read."""
        change = self._change(event, self.view.get(event.key), decoded)
        if change.type is ChangeType.DELETED:
            self.view.remove(event.key)
        else:
            self.view.put(change.entry)
        self.last_change = event.revision
        sequence = self.history.end
        self.history.append(change)
        if self._handlers:
            self.tell(change)
        for watcher in self._watchers:
            watcher.offer(change, sequence)

    def _change(self, event: Event, old: Entry | None, decoded: Obj | None) -> Change:
        entry = make_entry(self.kind, event.key, event.value, event.revision, decoded)
        if old is None and event.type is not EventType.CREATED:
            value = event.prev_value if event.prev_value is not None else event.value
            old = make_entry(self.kind, event.key, value, event.prev_revision)
        return Change(_TYPES[event.type], entry, old, event.revision)

    def reset(self, error: ApiError) -> None:
        """The feed lost its place: every watcher ends with `error` and starts again by itself."""
        for watcher in tuple(self._watchers):
            watcher.fail(error)

    # --- read -----------------------------------------------------------------------------------------

    def add_handler(self, handler: Handler) -> Callable[[], None]:
        """Synchronous, called inside dispatch: keep a key, do not work. The answer takes it off."""
        self._handlers.append(handler)
        return lambda: self._handlers.remove(handler) if handler in self._handlers else None

    def remember_snapshot(self, revision: int) -> None:
        """Keep the view for the pages that will be asked for at `revision`, if it still is the state there."""
        if revision in self.snapshots or self.last_change > revision:
            return
        while len(self.snapshots) >= MAX_SNAPSHOTS:
            del self.snapshots[min(self.snapshots)]
        self.snapshots[revision] = self.view.entries()

    def forget_snapshots(self, before: int) -> None:
        for revision in [r for r in self.snapshots if r < before]:
            del self.snapshots[revision]

    def watch(
        self, start: Start, *, prefix: str, matches: Matcher | None, bookmarks_allowed: bool, timeout_s: float
    ) -> Watcher:
        watcher = Watcher(
            self,
            start,
            prefix=prefix,
            matches=matches,
            bookmarks_allowed=bookmarks_allowed,
            ends_at=self.clock.monotonic() + timeout_s,
        )
        self._watchers.add(watcher)
        return watcher

    def batch(self, prefix: str, sequence: int) -> Batch:
        """What watchers without a selector read at `sequence`; made once for all that stand there."""
        end = self.history.end
        if self._batches_end != end:
            self._batches.clear()
            self._batches_end = end
        batch = self._batches.get((prefix, sequence))
        if batch is None:
            batch = plain_batch(self.history.read(sequence, BATCH_ITEMS), prefix, sequence)
            self._batches[prefix, sequence] = batch
        return batch

    def forget(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        return tuple(self._watchers)

    async def replay(self, revision: int, limit: int) -> Sequence[Change] | ApiError:
        """Changes after `revision` from the store's log, up to where the history began when this was called.

        Or the error, if they are gone.
        """
        end = self.history.complete_after  # while the log is read, the ring may lose what is not yet in that answer
        try:
            events = await self._store.after(self.kind.prefix, revision, limit)
        except Compacted as gone:
            return too_old(revision, gone.compact_revision)
        changes: list[Change] = []
        for event in events:
            if event.revision > end:
                break
            changes.append(self._change(event, None, None))
            if len(changes) % REPLAY_SLICE == 0:
                await asyncio.sleep(0)
        return changes
