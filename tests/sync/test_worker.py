"""Work beside the engine: what a failed look leads to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sync.cluster import ClusterError, Unreachable
from sync.worker import TOLD_AT, work
from tests.planes import FakeClock, turns
from vapi.control.workqueue import Retry, WorkQueue


@contextlib.asynccontextmanager
async def working(
    look: Callable[[str], Awaitable[None]], clock: FakeClock
) -> AsyncIterator[tuple[WorkQueue[str], asyncio.Task[None]]]:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    task = asyncio.create_task(work(queue, look, failed="look failed", about=str))
    queue.add("key")
    await turns(5)
    yield queue, task
    queue.close()
    await asyncio.wait_for(task, 1)


async def again(queue: WorkQueue[str], clock: FakeClock, times: int) -> None:
    for _ in range(times):
        clock.advance(61)
        queue.tick()
        await turns(5)


FAILURES: dict[str, tuple[Exception, int]] = {
    "a surprise": (KeyError("spec"), 1),
    "a refusal": (ClusterError(422, "Invalid", "no"), 1),
    "no answer": (Unreachable("no"), 0),
    "not yet": (Retry(1.0), 0),
    "back-off": (Retry(), 0),
}


@pytest.mark.parametrize(("failure", "told"), FAILURES.values(), ids=FAILURES)
async def test_a_look_that_fails_is_made_again_and_told_once(
    failure: Exception, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock, looks = FakeClock(), 0

    async def look(_key: str) -> None:
        nonlocal looks
        looks += 1
        raise failure

    with caplog.at_level(logging.WARNING):
        async with working(look, clock) as (queue, task):
            await again(queue, clock, TOLD_AT + 3)
            assert looks == TOLD_AT + 4
            assert not task.done()
    assert len(caplog.records) == told
