"""The gate lets one in at a time, in order, and nobody who gave up waiting holds it."""

from __future__ import annotations

import asyncio

from sync.gate import Gate

WEB = ("default", "web")


async def test_one_is_in_and_the_next_follows_in_order() -> None:
    gate, came = Gate(), list[int]()

    async def one(number: int) -> None:
        await gate.enter(WEB)
        came.append(number)
        await asyncio.sleep(0)
        gate.leave(WEB)

    assert gate.try_enter(WEB)
    waiting = [asyncio.create_task(one(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert not gate.try_enter(WEB)
    assert gate.try_enter(("default", "other"))
    gate.leave(WEB)
    assert not gate.try_enter(WEB)  # the first of those who wait has it already
    await asyncio.gather(*waiting)
    assert came == [0, 1, 2]
    assert not gate.busy(WEB)


async def test_who_is_cancelled_while_waiting_holds_nothing() -> None:
    gate = Gate()
    assert gate.try_enter(WEB)
    waiting = [asyncio.create_task(gate.enter(WEB)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.leave(WEB)  # the second is let in
    waiting[1].cancel()  # and is gone before it knows
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not gate.busy(WEB)
