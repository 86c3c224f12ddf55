"""The reference model: the whole history in two plain structures. What it does is what the others must do.

Runs on the loop; a transaction never awaits. A write, won or lost, then gives the loop one turn before it answers, so
that the consumers which its event woke have run (invariants 2 and 11). For tests, and for clusters that may be
forgotten.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Sequence

from storage import errors
from storage.broadcaster import Broadcaster
from storage.event import Event, EventType, KeyValue, Page, Revision
from storage.keys import check_key
from storage.store import Subscription
from storage.watch import Watch

_Outcome = Revision | errors.StorageError


class MemoryStore:
    """A `Store` in memory. Keeps every event until it is compacted: bounded only by its compactor."""

    def __init__(self) -> None:
        self._current: dict[str, KeyValue] = {}
        self._sorted_keys: list[str] = []
        self._log: list[Event] = []
        """Events > the compact revision; one a revision, so the index follows from it."""
        self._base: dict[str, KeyValue] = {}
        """The state at the compact revision."""
        self._compact_revision: Revision = 0
        self._broadcaster = Broadcaster(0)
        self._closed = False

    async def get(self, key: str) -> KeyValue:
        self._check_open()
        found = self._current.get(key)
        if found is None:
            raise errors.KeyNotFound(key)
        return found

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision = 0) -> Page:
        self._check_open()
        revision = self._broadcaster.revision
        if at == 0 or at == revision:
            return _page(self._sorted_keys, self._current, prefix, start=start, limit=limit, revision=revision)
        self._check_readable(at)
        then = self._state_at(at)
        return _page(sorted(then), then, prefix, start=start, limit=limit, revision=at)

    async def count(self, prefix: str) -> int:
        return len((await self.list(prefix)).items)

    async def create(self, key: str, value: bytes, *, guard: tuple[str, Revision] | None = None) -> Revision:
        self._check_writable(key)
        return await _answer(self._create(key, value, guard))

    async def update(self, key: str, value: bytes, *, expected: Revision) -> Revision:
        self._check_writable(key)
        return await _answer(self._update(key, value, expected))

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        self._check_writable(key)
        return await _answer(self._delete(key, expected))

    def watch(self, prefix: str, *, since: Revision) -> Subscription:
        return Watch(self, self._broadcaster, prefix, since)

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]:
        self._check_open()
        if revision < self._compact_revision:
            raise errors.Compacted(revision, self._compact_revision)
        found: list[Event] = []
        for index in range(revision - self._compact_revision, len(self._log)):
            if len(found) == limit:
                break
            if self._log[index].key.startswith(prefix):
                found.append(self._log[index])
        return found

    async def current_revision(self) -> Revision:
        self._check_open()
        return self._broadcaster.revision

    async def sync(self) -> Revision:
        return await self.current_revision()

    async def compact(self, revision: Revision) -> None:
        self._check_open()
        if revision > self._broadcaster.revision:
            raise errors.FutureRevision(f"revision {revision} has not been written yet")
        if revision > self._compact_revision:
            self._base = self._state_at(revision)
            del self._log[: revision - self._compact_revision]
            self._compact_revision = revision

    async def close(self) -> None:
        self._closed = True
        self._broadcaster.close()

    def _create(self, key: str, value: bytes, guard: tuple[str, Revision] | None) -> _Outcome:
        if guard is not None and self._revision_of(guard[0]) != guard[1]:
            return errors.GuardFailed(f"{guard[0]} is no longer at revision {guard[1]}")
        if key in self._current:
            return errors.KeyExists(key)
        revision = self._broadcaster.revision + 1
        bisect.insort(self._sorted_keys, key)
        return self._commit(Event(EventType.CREATED, key, value, revision=revision, create_revision=revision))

    def _update(self, key: str, value: bytes, expected: Revision) -> _Outcome:
        old = self._current.get(key)
        if old is None or old.revision != expected:
            return errors.RevisionConflict(key, expected, self._revision_of(key))
        return self._commit(
            Event(
                EventType.UPDATED,
                key,
                value,
                revision=self._broadcaster.revision + 1,
                create_revision=old.create_revision,
                prev_revision=old.revision,
                prev_value=old.value,
            )
        )

    def _delete(self, key: str, expected: Revision) -> _Outcome:
        old = self._current.get(key)
        if old is None or old.revision != expected:
            return errors.RevisionConflict(key, expected, self._revision_of(key))
        del self._sorted_keys[bisect.bisect_left(self._sorted_keys, key)]
        return self._commit(
            Event(
                EventType.DELETED,
                key,
                old.value,
                revision=self._broadcaster.revision + 1,
                create_revision=old.create_revision,
                prev_revision=old.revision,
            )
        )

    def _commit(self, event: Event) -> Revision:
        self._log.append(event)
        _apply(self._current, event)
        self._broadcaster.dispatch((event,), event.revision)
        return event.revision

    def _revision_of(self, key: str) -> Revision:
        found = self._current.get(key)
        return found.revision if found else 0

    def _state_at(self, revision: Revision) -> dict[str, KeyValue]:
        state = dict(self._base)
        for event in self._log[: revision - self._compact_revision]:
            _apply(state, event)
        return state

    def _check_open(self) -> None:
        if self._closed:
            raise errors.StoreClosed("the store is closed")

    def _check_writable(self, key: str) -> None:
        self._check_open()
        check_key(key)

    def _check_readable(self, revision: Revision) -> None:
        if revision > self._broadcaster.revision:
            raise errors.FutureRevision(f"revision {revision} has not been written yet")
        if revision < self._compact_revision:
            raise errors.Compacted(revision, self._compact_revision)


async def _answer(outcome: _Outcome) -> Revision:
    """After the consumers that were woken by this write, or by the one that it lost to."""
    await asyncio.sleep(0)
    if isinstance(outcome, errors.StorageError):
        raise outcome
    return outcome


def _apply(state: dict[str, KeyValue], event: Event) -> None:
    if event.type is EventType.DELETED:
        del state[event.key]
    else:
        state[event.key] = KeyValue(event.key, event.value, event.create_revision, event.revision)


def _page(
    sorted_keys: Sequence[str],
    state: dict[str, KeyValue],
    prefix: str,
    *,
    start: str,
    limit: int,
    revision: Revision,
) -> Page:
    items: list[KeyValue] = []
    index = bisect.bisect_left(sorted_keys, max(prefix, start))
    while index < len(sorted_keys) and sorted_keys[index].startswith(prefix):
        if limit and len(items) == limit:
            return Page(tuple(items), revision, more=True)
        items.append(state[sorted_keys[index]])
        index += 1
    return Page(tuple(items), revision, more=False)
