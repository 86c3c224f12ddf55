"""Feed: the one subscription to the store's log, dispatched to the watch caches of all kinds.

Every commit and Progress moves the revision for all kinds at once; bookmarks,
NotOlderThan and `wait_until` use it, never a kind's own last event. The store
publishes an event before it acknowledges the write, and the feed's task was
scheduled first, so whoever awaits a write finds it in the view (etcd after 3 s
without its own event: `wait_until`).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Iterable, Sequence

from storage.errors import Compacted, StorageError, StoreClosed, SubscriberTooSlow
from storage.event import Event, KeyValue, Progress
from storage.store import Store
from vapi import errors
from vapi.cacher.cacher import Cacher, SharedRevision
from vapi.cacher.entry import make_entry
from vapi.clock import Clock
from vapi.gvk import Obj
from vapi.resources.resource import StoredKind

log = logging.getLogger(__name__)

ROOT = "/registry/"
PAGE = 500
HISTORY_REVISIONS = 5_000
"""How far back the rings are filled at start, so that resuming clients read no files; a guess."""
DISPATCH_SLICE = 64
"""Events between two turns of the loop while catching up: about 2 ms at 30 µs an event."""
RELOAD_DELAY_S = 0.5


class Feed:
    """`start` loads everything, `run` follows the log until cancelled or the store is closed."""

    def __init__(self, store: Store, kinds: Iterable[StoredKind], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._shared = SharedRevision()
        self.cachers = {kind.prefix: Cacher(kind, store, clock, self._shared) for kind in kinds}
        self.compacted = 0
        """Older revisions expire, whether or not what they looked like could still be told (the compactor sets it)."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = 0
        self._decoded: dict[int, Obj] = {}

    @property
    def revision(self) -> int:
        """The newest one that all views have reached."""
        return self._shared.value

    def compact(self, revision: int) -> None:
        """Forget what is older, as the store did: continue tokens end after the same time on every server."""
        self.compacted = max(self.compacted, revision)
        for cacher in self.cachers.values():
            cacher.forget_snapshots(revision)

    def cacher(self, kind: StoredKind) -> Cacher:
        return self.cachers[kind.prefix]

    # --- load and follow --------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises StorageError if the store cannot be read."""
        revision = await self._load_all()
        await self._fill_history(revision)

    async def _load_all(self) -> int:
        pages: dict[str, list[KeyValue]] = {prefix: [] for prefix in self.cachers}
        page = await self._store.list(ROOT, limit=PAGE)
        revision = page.revision
        while True:
            for item in page.items:
                items = pages.get(kind_prefix(item.key))
                if items is not None:
                    items.append(item)
            if not page.more:
                break
            page = await self._store.list(ROOT, start=page.items[-1].key + "\0", limit=PAGE, at=revision)
        self._shared.value = revision
        for prefix, items in pages.items():
            cacher = self.cachers[prefix]
            entries = []
            for index, item in enumerate(items):
                entries.append(make_entry(cacher.kind, item.key, item.value, item.revision))
                if index % DISPATCH_SLICE == DISPATCH_SLICE - 1:
                    await asyncio.sleep(0)
            cacher.load(entries, complete_after=revision)
        return revision

    async def _fill_history(self, revision: int) -> None:
        since = max(0, revision - HISTORY_REVISIONS)
        try:
            events: Sequence[Event] = await self._store.after(ROOT, since, HISTORY_REVISIONS)
        except Compacted as gone:
            since = gone.compact_revision
            with contextlib.suppress(Compacted):
                events = await self._store.after(ROOT, since, HISTORY_REVISIONS)
                return await self._remember(events, since, revision)
            return None
        return await self._remember(events, since, revision)

    async def _remember(self, events: Sequence[Event], since: int, revision: int) -> None:
        for cacher in self.cachers.values():
            cacher.history.complete_after = since
        for index, event in enumerate(events):
            found = self.cachers.get(kind_prefix(event.key))
            if found is not None and event.revision <= revision:
                found.remember(event)
            if index % DISPATCH_SLICE == DISPATCH_SLICE - 1:
                await asyncio.sleep(0)

    async def run(self) -> None:
        """Follow the log; after a lost place reload everything and end the watchers with 410."""
        while True:
            subscription = self._store.watch(ROOT, since=self.revision)
            try:
                async for batch in subscription:
                    self._dispatch_all(batch)
            except StoreClosed:
                return
            except SubscriberTooSlow:
                log.warning("the feed fell behind, resuming", extra={"revision": self.revision})
            except Compacted:
                await self._reload()
            except StorageError:
                log.exception("the feed was interrupted, resuming", extra={"revision": self.revision})
                await asyncio.sleep(RELOAD_DELAY_S)
            finally:
                subscription.close()

    async def _reload(self) -> None:
        lost = self.revision
        log.warning("the feed lost its place, reloading", extra={"revision": lost})
        before = {prefix: cacher.view.entries() for prefix, cacher in self.cachers.items()}
        await self._load_all()
        for prefix, cacher in self.cachers.items():
            # in-process handlers keep no revision to resume from: they are told what differs
            for count, change in enumerate(cacher.difference(before[prefix])):
                cacher.tell(change)
                if count % DISPATCH_SLICE == DISPATCH_SLICE - 1:
                    await asyncio.sleep(0)
            cacher.reset(errors.expired(f"too old resource version: {lost} ({self.revision})"))
        self._wake_waiters()

    def _dispatch_all(self, batch: Sequence[Event | Progress]) -> None:
        """At once: a batch is at most one group commit, and lies before its writers' answers."""
        for item in batch:
            if isinstance(item, Progress):
                self._move(item.revision)
                continue
            cacher = self.cachers.get(kind_prefix(item.key))
            if cacher is not None:
                cacher.apply(item, self._decoded.pop(id(item.value), None))
            self._move(item.revision)
        self._wake_waiters()

    def _move(self, revision: int) -> None:
        self._shared.value = max(self._shared.value, revision)

    # --- for writers and readers --------------------------------------------------------------------

    def expect(self, value: bytes, decoded: Obj) -> None:
        """A writer of this process is about to commit `value`; dispatch then need not decode it again.

        Keyed by identity, so only stores that publish the very bytes object profit. The writer keeps
        `value` alive until it calls `expected_done`.
        """
        self._decoded[id(value)] = decoded

    def expected_done(self, value: bytes) -> None:
        self._decoded.pop(id(value), None)

    async def wait_until(self, revision: int, timeout_s: float = 3.0) -> bool:
        """Whether the views have reached `revision`, waiting at most `timeout_s`."""
        if self.revision >= revision:
            return True
        self._ticket += 1
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, self._ticket, waiter))
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        return True

    def _wake_waiters(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.revision:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)


def kind_prefix(key: str) -> str:
    """`/registry/<group>/<plural>/` of a key, or "" if it has no such form."""
    plural = key.find("/", len(ROOT))
    end = key.find("/", plural + 1) if plural > 0 else -1
    return key[: end + 1] if end > 0 else ""
