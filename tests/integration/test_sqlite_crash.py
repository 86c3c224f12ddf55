"""An acknowledged write survives SIGKILL: a writing process is killed at random moments, a hundred times over.

The field's first bug. Every acknowledged write must be there, every other one whole or not at all, and the revisions
without a gap and never lower than before.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import errors
from storage.sqlite import SQLiteStore
from tests.storage.crash_writer import key_of, state_after

pytestmark = pytest.mark.integration

KILLS = 100
ROOT = Path(__file__).parents[2]

Acks = dict[int, tuple[int, int]]
"""Writer → its last acknowledged step and the revision of that."""


def write_and_kill(path: Path, name: str, mode: str, after_s: float) -> Acks:
    """Run the writer, kill it `after_s` after its first ack, and read what it was told."""
    command = [sys.executable, "-m", "tests.storage.crash_writer", str(path), name, mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = b""
        deadline = None
        while deadline is None or time.monotonic() < deadline:
            timeout_s = 10.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if select.select([process.stdout], [], [], timeout_s)[0]:
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                assert chunk, "the writer ended by itself"
                lines += chunk
                deadline = deadline or time.monotonic() + after_s
            else:
                assert deadline is not None, "the writer never wrote"
        process.kill()
        lines += process.stdout.read()
    whole_lines = lines[: lines.rfind(b"\n")].split(b"\n")
    acks: Acks = {}
    for line in whole_lines:
        writer, step, revision = map(int, line.split())
        acks[writer] = step, revision
    return acks


async def check(store: SQLiteStore, name: str, acks: Acks, lowest_revision: int) -> int:
    """What was acknowledged is there, what was not is whole; the revision of now."""
    current = await store.current_revision()
    assert current >= max(lowest_revision, *(revision for _, revision in acks.values()))
    found = {item.key: item for item in (await store.list(f"/{name}/")).items}
    for writer, (step, revision) in acks.items():
        item = found.pop(key_of(name, writer), None)
        value = None if item is None else item.value
        # One more step may have been committed, and its ack lost with the process.
        assert value in (state_after(name, writer, step), state_after(name, writer, step + 1))
        assert item is None or item.revision >= revision
    for writer_key, item in found.items():
        assert item.value == state_after(name, int(writer_key.rpartition("/")[2]), 0)
    await check_log(store, current)
    return current


async def check_log(store: SQLiteStore, current: int) -> None:
    """From the compact revision on there is an event at every revision."""
    try:
        first = 0
        events = await store.after("", first, 1_000_000)
    except errors.Compacted as compacted:
        first = compacted.compact_revision
        events = await store.after("", first, 1_000_000)
    assert [event.revision for event in events] == list(range(first + 1, current + 1))


@pytest.mark.timeout(180)
def test_every_acknowledged_write_survives_a_hundred_kills(tmp_path: Path) -> None:
    path = tmp_path / "vapi.db"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    revision = acknowledged = 0
    for number in range(KILLS):
        name = f"round{number}"
        mode = "compact" if number % 3 == 2 else "keep"
        acks = write_and_kill(path, name, mode, dice.uniform(0.01, 0.1))
        acknowledged += sum(step + 1 for step, _ in acks.values())

        async def verify(name: str = name, acks: Acks = acks, before: int = revision) -> int:
            store = await SQLiteStore.open(path)
            after = await check(store, name, acks, before)
            assert await store.create(f"/{name}", b"") == after + 1
            await store.close()
            return after + 1

        revision = asyncio.run(verify())
    print(f"{acknowledged} acknowledged writes, revision {revision}")
    assert acknowledged > KILLS * 100
