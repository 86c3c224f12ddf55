"""The one seam of storage: what every backend does, and what every caller may rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from storage.event import Event, KeyValue, Page, Progress, Revision


class Subscription(Protocol):
    """A live tap on the log: every event (and Progress) after `since`, once, in revision order.

    Iterate it; each step yields what is queued, at least one element. The
    replay is followed by a Progress, unless its last event says the same. It
    ends with `SubscriberTooSlow`, `Compacted` or `StoreClosed`, never silently.

    A consumer that is waiting in a step when a write commits runs before the
    writer gets its answer (invariant 2), if it handles the batch without an
    await. Cancelling a step loses nothing. One consumer at a time.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[Event | Progress]]: ...

    def close(self) -> None:
        """Stop the iteration (a waiting step ends with StopAsyncIteration). Idempotent."""


class Store(Protocol):
    """Keys, revisions, opaque bytes. The invariants stand in the docstring of the package."""

    async def get(self, key: str) -> KeyValue:
        """The current value. Raises KeyNotFound."""

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision = 0) -> Page:
        """Keys that begin with `prefix`, in order, from `start` (a whole key, inclusive) on.

        `limit` 0: all. `at` 0: now; otherwise as of that revision (the
        compact revision itself is still readable). Values up to 3 MB each
        come whole: who may get many gives a limit.
        Raises Compacted, FutureRevision.
        """

    async def count(self, prefix: str) -> int:
        """How many keys begin with `prefix` now."""

    async def create(self, key: str, value: bytes, *, guard: tuple[str, Revision] | None = None) -> Revision:
        """The new revision. Raises KeyExists; GuardFailed unless the guard key is at that revision in the same
        transaction (the guard is looked at first).

        This and the other writes: cancelling the caller gives up the answer, not the write. Raise ValueError for a
        bad key, StoreUnavailable (nothing written), OutcomeUnknown (never sent again), ValueTooLarge, StoreClosed.
        """

    async def update(self, key: str, value: bytes, *, expected: Revision) -> Revision:
        """Compare-and-swap on the key's revision. Raises RevisionConflict (current=0 if the key is gone)."""

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        """Compare-and-swap like `update`; the new revision is that of the DELETED event."""

    def watch(self, prefix: str, *, since: Revision) -> Subscription:
        """Replay of everything under `prefix` after `since`, then live, without gap or repeat.

        Raises Compacted (on the first step) before yielding anything; a
        `since` in the future simply waits for it.
        """

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]:
        """Events under `prefix` with a revision > `revision`, oldest first, at most `limit`.

        A shorter answer means the end of the log. UPDATED events carry `prev_value`.
        Raises Compacted if any event of that range may be gone.
        """

    async def current_revision(self) -> Revision:
        """The newest committed revision (etcd: a linearizable read)."""

    async def sync(self) -> Revision:
        """Read barrier: every event with a revision ≤ the returned one has been published to the subscribers.

        The returned revision is at least that of every write, of any replica, acknowledged before the call.
        SQLite and memory: at once. etcd: one linearizable read, shared by the callers that came before it was
        sent, then a progress request if the feed is behind. Raises FeedBehind after 3 s, StoreUnavailable.
        """

    async def compact(self, revision: Revision) -> None:
        """Forget history up to and including `revision`, keeping what is current.

        Idempotent; never lowers anything; a revision already compacted is no error. Raises FutureRevision.
        """

    async def close(self) -> None:
        """Drain the queued writes, end the watches with StoreClosed, release files and links. Idempotent."""
