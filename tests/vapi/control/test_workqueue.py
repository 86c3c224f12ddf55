"""The workqueue: once each, never twice at a time, in order, later, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.vapi.control.clock import FakeClock
from vapi.control.workqueue import QueueClosed, WorkQueue


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Everything that can be taken now, done with at once."""
    keys = []
    while not queue.idle:
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def test_a_key_added_twice_is_taken_once() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert await taken(queue) == ["a", "b"]


async def test_a_key_added_while_in_flight_comes_back_when_it_is_done() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await taken(queue) == ["a"]


async def test_smaller_priorities_go_first_and_a_key_moves_forward_but_not_back() -> None:
    queue = WorkQueue[str](priorities=3)
    queue.add("late", 2)
    queue.add("moved", 2)
    queue.add("middle", 1)
    queue.add("moved", 0)
    queue.add("moved", 2)
    assert await taken(queue) == ["moved", "middle", "late"]


async def test_a_delayed_key_comes_when_it_is_due_and_the_shortest_delay_holds() -> None:
    clock = FakeClock()
    queue = WorkQueue[str](clock=clock)
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    assert queue.next_due_s() == 10
    clock.advance(9)
    queue.tick()
    assert queue.idle
    clock.advance(1)
    queue.tick()
    assert await taken(queue) == ["a"]
    clock.advance(100)
    queue.tick()
    assert queue.idle


async def test_backoff_doubles_to_its_maximum_and_success_resets_it() -> None:
    queue = WorkQueue[str](clock=FakeClock(), base_delay_s=1, max_delay_s=5)
    assert [queue.retry("a") for _ in range(5)] == [1, 2, 4, 5, 5]
    assert queue.failures("a") == 5
    queue.forget("a")
    assert queue.retry("a") == 1


async def test_a_waiting_worker_is_woken_by_an_added_key() -> None:
    queue = WorkQueue[str]()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await worker == "a"


async def test_a_cancelled_worker_does_not_swallow_the_wake_of_another() -> None:
    queue = WorkQueue[str]()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_the_timer_of_a_real_clock_wakes_a_worker() -> None:
    queue = WorkQueue[str]()
    queue.add_after("a", 0.01)
    assert await asyncio.wait_for(queue.get(), 5) == "a"


async def test_close_ends_waiting_and_later_workers() -> None:
    queue = WorkQueue[str]()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosed):
        await worker
    queue.add("a")
    with pytest.raises(QueueClosed):
        await queue.get()


async def test_what_did_not_fit_is_read_again_from_the_refill() -> None:
    everything = [f"k{i}" for i in range(25)]
    reads = 0

    def refill() -> Iterator[str]:
        nonlocal reads
        reads += 1
        return iter(everything)

    queue = WorkQueue[str](max_keys=10, refill=refill)
    for key in everything:
        queue.add(key)
    assert len(queue) == 10
    assert set(await taken(queue)) == set(everything)
    assert reads > 0


async def test_a_refill_at_the_start_takes_keys_in_pieces() -> None:
    everything = [f"k{i}" for i in range(1999)]
    queue = WorkQueue[str](refill=lambda: everything)
    queue.refill()
    assert await queue.get() == "k0"
    assert len(queue) < 1000
    queue.done("k0")
    assert await taken(queue) == everything[1:]
