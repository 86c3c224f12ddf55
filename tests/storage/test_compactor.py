"""History of one to two intervals stays; a failed round does not end the compactor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from storage import compactor, errors
from storage.memory import MemoryStore
from storage.store import Store


def clock(*rounds: Callable[[], Coroutine[None, None, object]]) -> Callable[[float], Coroutine[None, None, None]]:
    """A sleep during which each of the rounds happens in turn, and then the end."""
    left = list(rounds)

    async def sleep(seconds: float) -> None:
        assert seconds == 300
        if not left:
            raise asyncio.CancelledError
        await left.pop(0)()

    return sleep


async def is_readable(store: Store, revision: int) -> bool:
    try:
        await store.list("/", at=revision)
    except errors.Compacted:
        return False
    return True


async def test_each_round_compacts_to_the_revision_of_the_round_before() -> None:
    store = MemoryStore()
    await store.create("/a", b"")
    await store.create("/b", b"")
    readable: list[list[bool]] = []

    async def interval() -> None:
        readable.append([await is_readable(store, revision) for revision in (1, 2, 3, 4)])
        await store.create(f"/c/{len(readable)}", b"")
        await store.create(f"/d/{len(readable)}", b"")

    with pytest.raises(asyncio.CancelledError):
        await compactor.run(store, sleep=clock(*[_written(store), interval, interval]))
    assert readable == [[False, True, True, True], [False, False, False, True]]


def _written(store: Store) -> Callable[[], Coroutine[None, None, object]]:
    async def write() -> None:
        await store.create("/x", b"")
        await store.create("/y", b"")

    return write


async def test_a_closed_store_ends_the_compactor() -> None:
    store = MemoryStore()
    await compactor.run(store, sleep=clock(store.close))
