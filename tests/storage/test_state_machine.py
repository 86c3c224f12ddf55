"""SQLite does what the reference model does, whatever comes, over restarts and compactions."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storage import errors
from storage.event import Event, Revision
from storage.memory import MemoryStore
from storage.sqlite import SQLiteStore
from storage.store import Store
from tests.storage.contract import events_until

KEYS = st.sampled_from(["/a", "/a/1", "/a/2", "/b", "/b/\U0001f600", "/c"])
PREFIXES = st.sampled_from(["", "/", "/a", "/a/", "/b/", "/none"])
VALUES = st.binary(max_size=8)
AGES = st.integers(0, 12)


class SQLiteAgainstMemory(RuleBasedStateMachine):
    """Each rule does the same to both and compares what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="vapi-storage-"))
        self.runner = asyncio.Runner()
        self.runner.run(self.open())
        self.model = MemoryStore()

    async def open(self) -> None:
        self.sqlite = await SQLiteStore.open(self.directory / "vapi.db")

    def teardown(self) -> None:
        self.runner.run(self.sqlite.close())
        self.runner.close()
        shutil.rmtree(self.directory)

    def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """The answer of both stores, which must be one; an error is an answer too."""
        answers = [self.runner.run(answer_of(ask(store))) for store in (self.sqlite, self.model)]
        assert answers[0] == answers[1]
        return answers[0]

    def revision_of(self, key: str, stale_by: int) -> Revision:
        held = self.model._current.get(key)
        return max(0, (held.revision if held else 1) - stale_by)

    @rule(key=KEYS, value=VALUES)
    def create(self, key: str, value: bytes) -> None:
        self.both(lambda store: store.create(key, value))

    @rule(key=KEYS, guard=KEYS, stale_by=st.sampled_from([0, 0, 1]))
    def create_guarded(self, key: str, guard: str, stale_by: int) -> None:
        revision = self.revision_of(guard, stale_by)
        self.both(lambda store: store.create(key, b"guarded", guard=(guard, revision)))

    @rule(key=KEYS, value=VALUES, stale_by=st.sampled_from([0, 0, 0, 1]))
    def update(self, key: str, value: bytes, stale_by: int) -> None:
        expected = self.revision_of(key, stale_by)
        self.both(lambda store: store.update(key, value, expected=expected))

    @rule(key=KEYS, stale_by=st.sampled_from([0, 0, 0, 1]))
    def delete(self, key: str, stale_by: int) -> None:
        expected = self.revision_of(key, stale_by)
        self.both(lambda store: store.delete(key, expected=expected))

    @rule(writes=st.lists(st.tuples(KEYS, VALUES), min_size=2, max_size=8))
    def write_as_one_group(self, writes: list[tuple[str, bytes]]) -> None:
        revisions = [(key, value, self.revision_of(key, 0)) for key, value in writes]

        async def write(store: Store) -> list[Any]:
            attempts = [answer_of(store.update(key, value, expected=at)) for key, value, at in revisions]
            return await asyncio.gather(*attempts)

        self.both(write)

    @rule(prefix=PREFIXES, start=KEYS, limit=st.integers(0, 3), age=AGES)
    def list_page(self, prefix: str, start: str, limit: int, age: int) -> None:
        at = max(0, self.model._broadcaster.revision - age + 1)
        self.both(lambda store: store.list(prefix, start=start, limit=limit, at=at))
        self.both(lambda store: store.count(prefix))

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.both(lambda store: store.get(key))

    @rule(prefix=PREFIXES, age=AGES, limit=st.integers(1, 5))
    def read_the_log(self, prefix: str, age: int, limit: int) -> None:
        since = max(0, self.model._broadcaster.revision - age)
        self.both(lambda store: store.after(prefix, since, limit))

    @rule(prefix=PREFIXES, age=AGES)
    def watch(self, prefix: str, age: int) -> None:
        newest = self.model._broadcaster.revision
        since = max(0, newest - age)

        async def replay(store: Store) -> list[Event]:
            if since == newest:
                return []
            subscription = store.watch(prefix, since=since)
            try:
                return await events_until(subscription, newest)
            finally:
                subscription.close()

        self.both(replay)

    @rule(age=AGES)
    def compact(self, age: int) -> None:
        revision = max(0, self.model._broadcaster.revision - age + 1)
        self.both(lambda store: store.compact(revision))

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.sqlite.close())
        self.runner.run(self.open())

    @invariant()
    def the_revision_is_the_same(self) -> None:
        self.both(lambda store: store.current_revision())


async def answer_of(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except errors.StorageError as error:
        return type(error), str(error)


TestSQLiteAgainstMemory = SQLiteAgainstMemory.TestCase
# 60 runs of 40 steps take 3 s; more were run by hand (2,000 without a finding).
TestSQLiteAgainstMemory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
