"""Group commit without a writer thread: one transaction for everything that is queued, one fsync, then the answers.

The loop runs the statements of every queued write in one transaction, so compare-and-swap is decided and revisions
are given in plain sequential code; COMMIT, with its fsync, runs in a one-thread executor without the GIL, while new
writes queue for the next transaction. When it returns, the events are published in order and then the writers are
answered, the losers of a compare-and-swap too (invariants 2 and 11).

Between two groups a `job` (a slice of compaction) may have the connection for itself, in the same thread.
A group is bounded in writes and in bytes, so that its statements hold the loop for about 1 ms.

Measured numbers stand in `sqlite.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from storage import errors
from storage.event import Event, Revision

log = logging.getLogger(__name__)

W = TypeVar("W")
T = TypeVar("T")
W_contra = TypeVar("W_contra", contravariant=True)

MAX_GROUP_WRITES = 64
"""At 10–20 µs a write: about 1 ms of the loop."""

MAX_GROUP_BYTES = 512 << 10
"""Copying values into pages: about 1 ms (measured: 3 MB in 5 ms, and one write of 3 MB is a group of its own)."""


class Transactions(Protocol[W_contra]):
    """The file under the committer. One transaction at a time; no method is called while another one runs."""

    def begin(self) -> None: ...

    def apply(self, write: W_contra, revision: Revision) -> Event | errors.StorageError:
        """Decide one write. An Event took `revision`; an error wrote nothing. Raises when the transaction is lost."""

    def commit(self) -> None:
        """Make the transaction durable. Called in the committer's thread."""

    def rollback(self) -> None:
        """Forget the transaction, if one is open. Never raises for want of one."""


@dataclass(slots=True)
class _Pending(Generic[W]):
    write: W
    size_bytes: int
    answer: asyncio.Future[Revision]


@dataclass(slots=True)
class _Job:
    run: Callable[[], Any]
    answer: asyncio.Future[Any]


class GroupCommitter(Generic[W]):
    """The one writer of a file. Made and used on one loop; `submit` never awaits."""

    def __init__(
        self,
        transactions: Transactions[W],
        *,
        revision: Revision,
        publish: Callable[[Sequence[Event], Revision], None],
    ) -> None:
        self._transactions = transactions
        self._revision = revision
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-commit")
        self._writes: deque[_Pending[W]] = deque()
        self._jobs: deque[_Job] = deque()
        self._busy = False
        """A group or a job has the connection, or is scheduled to take it."""
        self._after_job = False
        self._idle: asyncio.Future[None] | None = None
        self._closed = False

    def submit(self, write: W, size_bytes: int) -> asyncio.Future[Revision]:
        """Queue a write. The future has its revision once it is durable and published, or a StorageError.

        Cancelling the future gives up the answer only. Raises StoreClosed.
        """
        if self._closed:
            raise errors.StoreClosed("the store is closed")
        answer: asyncio.Future[Revision] = self._loop.create_future()
        self._writes.append(_Pending(write, size_bytes, answer))
        self._schedule()
        return answer

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the thread, between two groups, with no transaction open; it leaves none open either.

        Raises what it raises; StoreClosed. Cancelling gives up the answer only.
        """
        if self._closed:
            raise errors.StoreClosed("the store is closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self._jobs.append(_Job(job, answer))
        self._schedule()
        return await answer

    async def close(self) -> None:
        """Take no more, finish what is queued, end the thread."""
        self._closed = True
        if self._busy:
            self._idle = self._loop.create_future()
            await self._idle
        self._thread.shutdown()

    def _schedule(self) -> None:
        """Start in the next turn of the loop, so that the writers that are about to run share the group."""
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        # Writes and jobs take turns: a compaction does not hold up the writers, nor the other way round.
        if self._jobs and (self._after_job is False or not self._writes):
            self._after_job = True
            self._start_job(self._jobs.popleft())
        elif self._writes:
            self._after_job = False
            self._start_group()
        else:
            self._busy = False
            if self._idle is not None:
                self._idle.set_result(None)

    def _start_job(self, job: _Job) -> None:
        def finished(done: asyncio.Future[Any]) -> None:
            if not job.answer.done():
                _copy_outcome(done, job.answer)
            else:
                done.exception()
            self._loop.call_soon(self._next)

        self._loop.run_in_executor(self._thread, job.run).add_done_callback(finished)

    def _start_group(self) -> None:
        """The statements of one group; on the loop, without an await."""
        group = self._take_group()
        outcomes: list[Event | errors.StorageError] = []
        events: list[Event] = []
        revision = self._revision
        try:
            self._transactions.begin()
            apply = self._transactions.apply
            for pending in group:
                outcome = apply(pending.write, revision + 1)
                outcomes.append(outcome)
                if isinstance(outcome, Event):
                    events.append(outcome)
                    revision += 1
        except Exception as error:
            self._fail(group, error)
            return
        if not events:
            # Only losers, all to writes that are committed and published already: nothing to make durable.
            self._transactions.rollback()
            self._answer(group, outcomes)
            self._loop.call_soon(self._next)
            return

        def committed(done: asyncio.Future[None]) -> None:
            error = done.exception()
            if error is not None:
                self._fail(group, error)
                return
            self._revision = revision
            self._publish(events, revision)
            self._answer(group, outcomes)
            self._loop.call_soon(self._next)

        self._loop.run_in_executor(self._thread, self._transactions.commit).add_done_callback(committed)

    def _take_group(self) -> list[_Pending[W]]:
        """The oldest writes, up to the bounds, at least one."""
        group = [self._writes.popleft()]
        size_bytes = group[0].size_bytes
        while self._writes and len(group) < MAX_GROUP_WRITES:
            size_bytes += self._writes[0].size_bytes
            if size_bytes > MAX_GROUP_BYTES:
                break
            group.append(self._writes.popleft())
        return group

    def _answer(self, group: Sequence[_Pending[W]], outcomes: Sequence[Event | errors.StorageError]) -> None:
        for pending, outcome in zip(group, outcomes, strict=True):
            if pending.answer.done():
                continue  # its caller was cancelled; the write stands
            if isinstance(outcome, Event):
                pending.answer.set_result(outcome.revision)
            else:
                pending.answer.set_exception(outcome)

    def _fail(self, group: Sequence[_Pending[W]], error: BaseException) -> None:
        """Nothing of the group was written, nothing is published, its revisions are free again (invariant 12)."""
        log.error("group commit failed", extra={"writes": len(group)}, exc_info=error)
        self._transactions.rollback()
        for pending in group:
            if not pending.answer.done():
                failure = errors.StoreUnavailable(f"the commit failed, nothing was written: {error}")
                failure.__cause__ = error
                pending.answer.set_exception(failure)
        self._loop.call_soon(self._next)


def _copy_outcome(done: asyncio.Future[Any], answer: asyncio.Future[Any]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
