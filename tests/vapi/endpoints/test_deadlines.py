"""Deadlines that share a timer: they end what waits too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from vapi.endpoints.deadlines import Deadlines


async def _waits(deadlines: Deadlines, until: asyncio.Event) -> str:
    deadline = deadlines.start()
    try:
        await until.wait()
    except asyncio.CancelledError:
        if deadline.over():
            return "too late"
        raise
    finally:
        deadlines.end(deadline)
    return "done"


async def test_work_that_waits_too_long_is_ended_and_its_task_goes_on() -> None:
    deadlines, never = Deadlines(0.001), asyncio.Event()
    assert await _waits(deadlines, never) == "too late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await _waits(deadlines, never) == "too late"


async def test_each_of_many_has_its_own_end() -> None:
    deadlines, never = Deadlines(0.001), asyncio.Event()
    assert await asyncio.gather(*(_waits(deadlines, never) for _ in range(5))) == ["too late"] * 5


async def test_work_that_is_done_in_time_stays() -> None:
    deadlines, there = Deadlines(30.0), asyncio.Event()
    there.set()
    assert await _waits(deadlines, there) == "done"


async def test_a_cancelled_task_is_not_too_late() -> None:
    deadlines, never = Deadlines(30.0), asyncio.Event()
    task = asyncio.create_task(_waits(deadlines, never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_end_that_meets_a_cancellation_gives_way_to_it() -> None:
    deadlines, never = Deadlines(0.001), asyncio.Event()
    task = asyncio.create_task(_waits(deadlines, never))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.001, task.cancel)
    assert (await asyncio.gather(task, return_exceptions=True))[0] != "done"
