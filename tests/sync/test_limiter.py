"""One bucket for all requests: urgent ones first, slower after a refusal, held back while nobody answers."""

from __future__ import annotations

import asyncio

from sync.limiter import Limiter
from tests.planes import FakeClock, turns


def limiter(rate: float) -> tuple[Limiter, FakeClock]:
    clock = FakeClock()
    return Limiter(rate, clock), clock


async def drain(one: Limiter, clock: FakeClock, seconds: float) -> None:
    clock.advance(seconds)
    one.tick()
    await turns()


async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    one, clock = limiter(8)  # the bucket holds 2
    tasks = [asyncio.create_task(one.take(2)) for _ in range(6)]
    await turns()
    assert [t.done() for t in tasks] == [True] * 2 + [False] * 4
    await drain(one, clock, 0.125)
    assert [t.done() for t in tasks] == [True] * 3 + [False] * 3
    for task in tasks:
        task.cancel()


async def test_among_those_waiting_the_most_urgent_goes_first() -> None:
    one, clock = limiter(4)
    await one.take(0)
    order: list[int] = []

    async def take(priority: int) -> None:
        await one.take(priority)
        order.append(priority)

    tasks = [asyncio.create_task(take(p)) for p in (3, 1, 2, 0)]
    await turns()
    for _ in range(4):
        await drain(one, clock, 0.25)
    assert order == [0, 1, 2, 3]
    await asyncio.gather(*tasks)


async def test_one_that_was_cancelled_while_waiting_takes_nothing() -> None:
    one, clock = limiter(4)
    await one.take(0)
    gone, waiting = (asyncio.create_task(one.take(p)) for p in (0, 1))
    await turns()
    gone.cancel()
    await drain(one, clock, 0.25)
    assert waiting.done()


async def test_a_429_halves_the_rate_holds_back_and_is_forgotten_slowly() -> None:
    one, clock = limiter(100)
    one.refused(3)
    assert one.rate == 50
    task = asyncio.create_task(one.take(0))
    await drain(one, clock, 2.9)
    assert not task.done()
    await drain(one, clock, 0.2)
    assert task.done()
    clock.advance(30)
    assert one.rate == 100


async def test_no_limit_is_no_limit_but_still_waits_after_a_429() -> None:
    one, clock = limiter(0)
    async with asyncio.timeout(1):
        for _ in range(1_000):
            await one.take(3)
    one.refused(1)
    task = asyncio.create_task(one.take(3))
    await turns()
    assert not task.done()
    await drain(one, clock, 1.1)
    assert task.done()


async def test_while_nobody_answers_requests_are_held_back_longer_each_time() -> None:
    one, clock = limiter(0)
    waits = []
    for _ in range(6):
        one.unanswered()
        one.unanswered()  # those under way with it do not count twice
        waited = 0.0
        task = asyncio.create_task(one.take(0))
        await turns()
        while not task.done():
            await drain(one, clock, 0.25)
            waited += 0.25
        waits.append(waited)
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    clock.advance(60)
    one.unanswered()
    task = asyncio.create_task(one.take(0))
    await drain(one, clock, 0.6)
    assert task.done()
