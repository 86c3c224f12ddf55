"""SQLite keeps the contract, over restarts too; what only a file can get wrong."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage import errors, sqlite_schema
from storage.event import EventType
from storage.factory import open_store
from storage.group_commit import MAX_GROUP_BYTES, MAX_GROUP_WRITES
from storage.sqlite import SQLiteStore
from storage.store import Store
from tests.storage.contract import StoreContract, events_until, following


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make_file(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def size_of(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vapi.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(path)
    yield store
    await store.close()


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Store]:
        store = await SQLiteStore.open(path)
        yield store
        await store.close()


async def test_a_restart_keeps_keys_history_and_revision(store: SQLiteStore, path: Path) -> None:
    created = await store.create("/a", b"1")
    updated = await store.update("/a", b"2", expected=created)
    before = await store.list("/"), await store.after("/", 0, 10)
    await store.close()
    again = await SQLiteStore.open(path)
    assert (await again.list("/"), await again.after("/", 0, 10)) == before
    assert await again.current_revision() == updated
    deleted = await again.delete("/a", expected=updated)
    assert deleted == updated + 1
    (event,) = await events_until(again.watch("/", since=updated), deleted)
    assert event.type is EventType.DELETED
    await again.close()


async def test_a_restart_after_compacting_everything_does_not_lower_the_revision(
    store: SQLiteStore, path: Path
) -> None:
    created = await store.create("/a", b"1")
    deleted = await store.delete("/a", expected=created)
    await store.compact(deleted)
    await store.close()
    again = await SQLiteStore.open(path)
    assert await again.current_revision() == deleted
    with pytest.raises(errors.Compacted):
        await again.after("/", created, 10)
    assert await again.create("/a", b"2") == deleted + 1
    await again.close()


async def test_files_are_readable_by_their_owner_only(store: SQLiteStore, path: Path) -> None:
    await store.create("/a", b"secret")
    assert mode(path.parent) == 0o700
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"vapi.db", "vapi.db-wal", "vapi.db-shm", "vapi.db.lock"}
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}


async def test_a_file_that_was_too_open_is_closed_to_others(path: Path) -> None:
    make_file(path, b"", 0o644)
    store = await SQLiteStore.open(path)
    assert mode(path) == 0o600
    await store.close()


async def test_a_second_process_is_told_that_the_file_is_open(store: SQLiteStore, path: Path) -> None:
    with pytest.raises(errors.StoreLocked, match="open in another process"):
        await SQLiteStore.open(path)
    await store.close()
    again = await SQLiteStore.open(path)
    await again.close()


async def test_a_newer_schema_is_refused_by_name(store: SQLiteStore, path: Path) -> None:
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(errors.UnsupportedStore, match=r"schema version 7; this vapi knows up to 1"):
        await SQLiteStore.open(path)


async def test_another_programs_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(errors.UnsupportedStore, match="another program"):
        await SQLiteStore.open(path)
    other = path.with_name("other")
    make_file(other, b"not a database at all, but long enough to be looked at" * 20, 0o600)
    with pytest.raises(errors.UnsupportedStore, match="not a database of vapi"):
        await SQLiteStore.open(other)


async def test_writes_are_durable_by_every_commit(store: SQLiteStore) -> None:
    pragma = store._files.writer.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert pragma("PRAGMA auto_vacuum").fetchone() == (2,)  # INCREMENTAL


async def test_a_commit_that_fails_fails_its_group_publishes_nothing_and_frees_its_revisions(
    store: SQLiteStore, path: Path
) -> None:
    consumer = await following(store)
    created = await store.create("/a", b"1")
    seen = list(consumer.seen)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to let the WAL grow, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_of(Path(f"{path}-wal")), hard))
    try:
        writes = [store.create(f"/b/{number}", bytes(10_000)) for number in range(5)]
        writes.append(store.update("/a", b"2", expected=created))
        results = await asyncio.gather(*writes, return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(result) for result in results] == [errors.StoreUnavailable] * 6
    assert consumer.seen == seen
    assert await store.current_revision() == created
    assert await store.update("/a", b"3", expected=created) == created + 1
    assert await store.count("/b/") == 0
    await consumer.stop()


async def test_a_group_is_bounded_in_writes_and_in_bytes(store: SQLiteStore) -> None:
    consumer = await following(store)

    async def groups_of(count: int, value: bytes) -> list[int]:
        """A consumer that waits gets each group as one batch."""
        consumer.batches.clear()
        writes = (store.create(f"/{len(value)}/{number}", value) for number in range(count))
        await asyncio.gather(*writes)
        return [len(batch) for batch in consumer.batches]

    assert await groups_of(3 * MAX_GROUP_WRITES, b"") == [MAX_GROUP_WRITES] * 3
    assert await groups_of(6, bytes(MAX_GROUP_BYTES // 2)) == [2] * 3
    assert await groups_of(2, bytes(MAX_GROUP_BYTES * 3)) == [1, 1]
    await consumer.stop()


async def test_compaction_gives_the_space_back(store: SQLiteStore, path: Path) -> None:
    revision = await store.create("/a", b"")

    async def rewrite(key: str) -> None:
        revision = await store.create(key, b"")
        for _ in range(40):
            revision = await store.update(key, bytes(20_000), expected=revision)

    sizes = []
    for round_number in range(3):
        await asyncio.gather(*(rewrite(f"/a/{round_number}/{number}") for number in range(20)))
        revision = await store.current_revision()
        await store.compact(revision)
        sizes.append(store._files.writer.execute("PRAGMA page_count").fetchone()[0] * 4096)
    # 16 MB written a round, 0.4 MB of it current; 8 MB of free pages are kept for the next.
    assert all(size < 12 << 20 for size in sizes)
    assert await store.current_revision() == revision
    assert size_of(Path(f"{path}-wal")) < 80 << 20


async def test_compaction_cut_short_is_finished_by_the_next(store: SQLiteStore, path: Path) -> None:
    revision = await store.create("/a", b"0")
    for number in range(3_000 // 2):
        revision = await store.update("/a", b"%d" % number, expected=revision)
    compacting = asyncio.ensure_future(store.compact(revision))
    await asyncio.sleep(0)
    compacting.cancel()
    await asyncio.wait((compacting,))
    await store.close()
    again = await SQLiteStore.open(path)
    with pytest.raises(errors.Compacted):
        await again.after("/", revision - 1, 10)
    await again.compact(revision)
    assert again._files.writer.execute("SELECT count(*) FROM log").fetchone() == (1,)
    await again.close()


async def test_writes_go_on_during_a_compaction(store: SQLiteStore) -> None:
    revision = await store.create("/a", b"0")
    for number in range(1_500):
        revision = await store.update("/a", b"%d" % number, expected=revision)
    compacting = asyncio.ensure_future(store.compact(revision))
    answered_before_its_end = 0
    while not compacting.done():
        await store.create(f"/b/{answered_before_its_end}", b"")
        answered_before_its_end += not compacting.done()
    assert answered_before_its_end >= 2


@pytest.mark.parametrize("url", ["sqlite://host/x", "sqlite:", "sqlite:///x?y=1", "mysql://x", "memory"])
async def test_other_urls_are_refused(url: str, tmp_path: Path) -> None:
    if url == "memory":
        store = await open_store("memory://")
        await store.close()
        return
    with pytest.raises(ValueError, match=r"."):
        await open_store(url)


async def test_a_store_is_opened_by_its_url(path: Path) -> None:
    store = await open_store(f"sqlite://{path}")
    await store.create("/a", b"")
    await store.close()
    assert size_of(path) > 0


def test_no_statement_numbers_its_marks() -> None:
    """`?1` with a sequence is a DeprecationWarning of Python 3.12.0 to 3.12.3."""
    statements = {name: text for name, text in vars(sqlite_schema).items() if name.isupper() and isinstance(text, str)}
    assert "LIST_AT" in statements
    assert [name for name, text in statements.items() if re.search(r"\?\d", text)] == []
