"""Writes a second and the loop's CPU time a write of any store; the numbers in the docstrings come from here.

python -m tests.storage.bench sqlite:/tmp/bench/x.db [writes] [value bytes]
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from storage.factory import open_store
from storage.store import Store


async def timed(name: str, count: int, writers: int, write: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def writer() -> None:
        for number in numbers:
            await write(number)

    wall, cpu = time.perf_counter(), time.thread_time()
    await asyncio.gather(*(writer() for _ in range(writers)))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    print(f"{name:>8} {writers:4} at once: {count / wall:8.0f}/s, {cpu / count * 1e6:6.1f} µs of the loop each")


async def bench(store: Store, count: int, value: bytes) -> None:
    for writers in (1, 8, 32, 256):
        revisions: dict[int, int] = {}

        def key(number: int, writers: int = writers) -> str:
            return f"/registry/pods/ns{number % 10}/{writers}-{number}"

        async def create(number: int, revisions: dict[int, int] = revisions) -> None:
            revisions[number] = await store.create(key(number), value)

        async def update(number: int, revisions: dict[int, int] = revisions) -> None:
            revisions[number] = await store.update(key(number), value, expected=revisions[number])

        async def delete(number: int, revisions: dict[int, int] = revisions) -> None:
            await store.delete(key(number), expected=revisions[number])

        for write in (create, update, delete) if writers < 256 else (create, update):
            await timed(write.__name__, count if writers > 1 else count // 8, writers, write)
    for name, call in (
        ("get", lambda: store.get("/registry/pods/ns0/256-0")),
        ("sync", store.sync),
        ("list", lambda: store.list("/registry/")),
        ("compact", compacting(store)),
    ):
        start = time.perf_counter()
        await call()
        print(f"{name:>8}: {(time.perf_counter() - start) * 1e3:.2f} ms")


def compacting(store: Store) -> Callable[[], Awaitable[None]]:
    async def compact() -> None:
        await store.compact(await store.current_revision())

    return compact


async def main(url: str, count: str = "8000", size_bytes: str = "2000") -> None:
    store = await open_store(url)
    await bench(store, int(count), os.urandom(int(size_bytes)))
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
