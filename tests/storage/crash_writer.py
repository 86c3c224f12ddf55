"""The process that `tests/integration/test_sqlite_crash.py` kills: many writers on one store, each ack on stdout.

An ack is one line `writer step revision`; a writer's steps follow one another, so that at most one of each is under
way. `state_after` says what its key must look like after each step.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from storage.sqlite import SQLiteStore

WRITERS = 300
CYCLE = 4
"""create, update, update, delete, and again."""


def key_of(name: str, writer: int) -> str:
    return f"/{name}/{writer}"


def state_after(name: str, writer: int, step: int) -> bytes | None:
    """The value after `step` (0-based); None: the key does not exist. Of 0 to 5 KB, and no part of it is another's."""
    if step < 0 or step % CYCLE == CYCLE - 1:
        return None
    digest = hashlib.sha256(f"{name} {writer} {step}".encode()).digest()
    return digest * (digest[0] % 160)


async def write_for_ever(store: SQLiteStore, name: str, writer: int) -> None:
    key, step, revision = key_of(name, writer), 0, 0
    while True:
        before, value = state_after(name, writer, step - 1), state_after(name, writer, step)
        if value is None:
            revision = await store.delete(key, expected=revision)
        elif before is None:
            revision = await store.create(key, value)
        else:
            revision = await store.update(key, value, expected=revision)
        os.write(1, b"%d %d %d\n" % (writer, step, revision))
        step += 1


async def compact_for_ever(store: SQLiteStore) -> None:
    while True:
        await store.compact(await store.current_revision())
        await asyncio.sleep(0.02)


async def main(path: str, name: str, with_compaction: str) -> None:
    store = await SQLiteStore.open(Path(path))
    async with asyncio.TaskGroup() as tasks:
        for writer in range(WRITERS):
            tasks.create_task(write_for_ever(store, name, writer))
        if with_compaction == "compact":
            tasks.create_task(compact_for_ever(store))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
