"""The embedded default: a log in one SQLite file, written by group commit, read through connections of its own.

The writing connection belongs to the `GroupCommitter`; `get` reads one row on the loop; what may read many rows
(`list`, `count`, `after`) does so in a one-thread executor, each in one read transaction, so that a page and its
revision fit together. A committed write may be read a moment before it is published, never the other way round.

Measured by tests/storage/bench.py (4 cores, ext4, values of 2 KB, uvloop, fsync on), creates a second and CPU of the
loop's thread a create: one by one 2,900/s, 60 µs; 8 at once 20,000/s, 16 µs; 32 at once 36,000/s, 8 µs; 256 at once
40,000/s, 9 µs; updates and deletes 8–13 µs from 32 on. `get` 11 µs; a list of 8,000 keys 45 ms (in the thread);
compacting 75,000 revisions 0.7 s, during which a writer waits 2 ms at the median and 30 ms at most.

One process has the file: `<path>.lock` is held with flock, which the kernel lets go of when the process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from storage import errors
from storage import sqlite_schema as sql
from storage.broadcaster import Broadcaster
from storage.event import Event, EventType, KeyValue, Page, Revision
from storage.group_commit import GroupCommitter
from storage.keys import check_key, prefix_end
from storage.store import Subscription
from storage.watch import Watch

T = TypeVar("T")

COMPACTION_ROWS = 500
"""Log rows a transaction of the compaction looks at; it deletes at most twice as many. Writes wait for one slice:
2.3 ms, 20 ms with a checkpoint in it (measured, 2 KB values)."""

VACUUM_PAGES = 256
"""Pages (of 4 KB) given back to the file system in one transaction, between two groups of writes. Measured: 2.9 ms."""

FREE_PAGES_KEPT = 2_048
"""Free pages left in the file (8 MB), for the writes of the next minutes; giving them back and growing again costs."""


class _Create(NamedTuple):
    key: str
    value: bytes
    guard: tuple[str, Revision] | None


class _Update(NamedTuple):
    key: str
    value: bytes
    expected: Revision


class _Delete(NamedTuple):
    key: str
    expected: Revision


_Write = _Create | _Update | _Delete


class _Transactions:
    """The statements behind the committer, on the writing connection (group_commit.Transactions)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # One cursor for all: making one costs as much as a statement.
        self._execute = connection.cursor().execute

    def begin(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            # After a full disk or an I/O error SQLite may have rolled back by itself.
            with contextlib.suppress(sqlite3.Error):
                self._execute("ROLLBACK")

    def apply(self, write: _Write, revision: Revision) -> Event | errors.StorageError:
        if type(write) is _Create:
            return self._create(write, revision)
        if type(write) is _Update:
            return self._update(write, revision)
        assert type(write) is _Delete
        return self._delete(write, revision)

    def _create(self, write: _Create, revision: Revision) -> Event | errors.StorageError:
        key, value, guard = write
        if guard is not None and self._revision_of(guard[0]) != guard[1]:
            return errors.GuardFailed(f"{guard[0]} is no longer at revision {guard[1]}")
        if self._execute(sql.CREATE_CURRENT, (key, revision, revision)).rowcount == 0:
            return errors.KeyExists(key)
        self._execute(sql.APPEND, (revision, key, revision, 0, 0, value))
        return Event(EventType.CREATED, key, value, revision, revision)

    def _update(self, write: _Update, revision: Revision) -> Event | errors.StorageError:
        key, value, expected = write
        swapped = self._execute(sql.SWAP_CURRENT, (revision, key, expected)).fetchone()
        if swapped is None:
            return errors.RevisionConflict(key, expected, self._revision_of(key))
        (create_revision,) = swapped
        self._execute(sql.APPEND, (revision, key, create_revision, expected, 0, value))
        return Event(EventType.UPDATED, key, value, revision, create_revision, expected)

    def _delete(self, write: _Delete, revision: Revision) -> Event | errors.StorageError:
        key, expected = write
        deleted = self._execute(sql.DELETE_CURRENT, (key, expected)).fetchone()
        if deleted is None:
            return errors.RevisionConflict(key, expected, self._revision_of(key))
        (create_revision,) = deleted
        (value,) = self._execute(sql.VALUE_AT, (expected,)).fetchone()
        self._execute(sql.APPEND, (revision, key, create_revision, expected, 1, None))
        return Event(EventType.DELETED, key, value, revision, create_revision, expected)

    def _revision_of(self, key: str) -> Revision:
        """0: there is no such key."""
        found = self._execute(sql.CURRENT_REVISION_OF, (key,)).fetchone()
        return int(found[0]) if found else 0


class _Files(NamedTuple):
    """Everything that `close` must let go of, and where the log stands."""

    lock: int
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    points: sqlite3.Connection
    revision: Revision


class SQLiteStore:
    """A `Store` in one file. Made by `open`, on the loop it is used on."""

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="storage-read")
        self._broadcaster = Broadcaster(files.revision)
        self._committer: GroupCommitter[_Write] = GroupCommitter(
            _Transactions(files.writer), revision=files.revision, publish=self._broadcaster.dispatch
        )
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path) -> SQLiteStore:
        """Makes the file (0600, in a directory of 0700) if it is not there; recovers it after a crash.

        Raises StoreLocked, UnsupportedStore (a newer schema, another program's file), OSError.
        """
        return cls(await asyncio.to_thread(_open_files, path))

    async def get(self, key: str) -> KeyValue:
        self._check_open()
        try:
            # On the loop: one row by two primary keys costs less (13 µs, measured) than the way to a thread.
            row = self._files.points.execute(sql.GET, (key,)).fetchone()
        except sqlite3.Error as error:
            raise errors.StoreUnavailable(f"cannot read: {error}") from error
        if row is None:
            raise errors.KeyNotFound(key)
        return KeyValue(*row)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision = 0) -> Page:
        first, end = _range(prefix, start)

        def read(connection: sqlite3.Connection) -> Page:
            revision, compact_revision = connection.execute(sql.REVISIONS).fetchone()
            if at > revision:
                raise errors.FutureRevision(f"revision {at} has not been written yet")
            if at and at < compact_revision:
                raise errors.Compacted(at, compact_revision)
            rows_wanted = limit + 1 if limit else -1
            if at and at < revision:
                bounds = {"first": first, "end": end, "limit": rows_wanted, "at": at}
                revision, rows = at, connection.execute(sql.LIST_AT, bounds)
            else:
                rows = connection.execute(sql.LIST, (first, end, rows_wanted))
            items = [KeyValue(*row) for row in rows]
            more = bool(limit) and len(items) > limit
            return Page(tuple(items[:limit] if more else items), revision, more)

        return await self._read(read)

    async def count(self, prefix: str) -> int:
        def read(connection: sqlite3.Connection) -> int:
            return int(connection.execute(sql.COUNT, _range(prefix)).fetchone()[0])

        return await self._read(read)

    async def create(self, key: str, value: bytes, *, guard: tuple[str, Revision] | None = None) -> Revision:
        check_key(key)
        return await self._committer.submit(_Create(key, value, guard), len(value))

    async def update(self, key: str, value: bytes, *, expected: Revision) -> Revision:
        check_key(key)
        return await self._committer.submit(_Update(key, value, expected), len(value))

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        check_key(key)
        return await self._committer.submit(_Delete(key, expected), 0)

    def watch(self, prefix: str, *, since: Revision) -> Subscription:
        return Watch(self, self._broadcaster, prefix, since)

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]:
        first, end = _range(prefix)

        def read(connection: sqlite3.Connection) -> list[Event]:
            _, compact_revision = connection.execute(sql.REVISIONS).fetchone()
            if revision < compact_revision:
                raise errors.Compacted(revision, compact_revision)
            return [_event(*row) for row in connection.execute(sql.AFTER, (revision, first, end, limit))]

        return await self._read(read)

    async def current_revision(self) -> Revision:
        self._check_open()
        return self._broadcaster.revision

    async def sync(self) -> Revision:
        return await self.current_revision()

    async def compact(self, revision: Revision) -> None:
        """Marks first, then deletes in slices between the groups of writes, then gives free pages back.

        A crash in between leaves rows that the next compaction deletes; no reader sees them.
        """
        self._check_open()
        if revision > self._broadcaster.revision:
            raise errors.FutureRevision(f"revision {revision} has not been written yet")
        connection = self._files.writer
        try:
            await self._committer.run(lambda: _mark_compacted(connection, revision))
            while await self._committer.run(lambda: _clean_slice(connection)):
                pass
            while await self._committer.run(lambda: _vacuum_slice(connection)):
                pass
        except sqlite3.Error as error:
            raise errors.StoreUnavailable(f"cannot compact: {error}") from error

    async def close(self) -> None:
        # A task of its own: the files are let go of even if the caller is cancelled meanwhile.
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._committer.close()
        self._broadcaster.close()
        self._files.points.close()
        loop = asyncio.get_running_loop()
        # After the reads that are under way; the last connection to close checkpoints the WAL and removes it.
        await loop.run_in_executor(self._read_thread, self._close_files)
        self._read_thread.shutdown()

    def _close_files(self) -> None:
        self._files.reader.close()
        self._files.writer.close()
        os.close(self._files.lock)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run `read` in the reading thread, in one read transaction."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._read_thread, self._read_in_transaction, read)

    def _read_in_transaction(self, read: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._files.reader
        try:
            connection.execute("BEGIN")
            try:
                return read(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise errors.StoreUnavailable(f"cannot read: {error}") from error

    def _check_open(self) -> None:
        if self._closing is not None:
            raise errors.StoreClosed("the store is closed")


def _open_files(path: Path) -> _Files:
    """In a thread: recovery of a large WAL takes its time."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True)
    with contextlib.ExitStack() as undo:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        undo.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.StoreLocked(f"{path} is open in another process") from None
        sql.prepare(path)
        connections = []
        for read_only in (False, True, True):
            connections.append(sql.connect(path, read_only=read_only))
            undo.callback(connections[-1].close)
        (revision, _) = connections[0].execute(sql.REVISIONS).fetchone()
        undo.pop_all()
    writer, reader, points = connections
    return _Files(lock, writer, reader, points, revision)


def _range(prefix: str, start: str = "") -> tuple[str, str | bytes]:
    end = prefix_end(prefix)
    return max(prefix, start), sql.NO_END if end is None else end


def _event(
    revision: Revision,
    key: str,
    create_revision: Revision,
    prev_revision: Revision,
    deleted: int,
    value: bytes,
    prev_value: bytes | None,
) -> Event:
    """One row of sql.AFTER."""
    if deleted:
        assert prev_value is not None
        return Event(EventType.DELETED, key, prev_value, revision, create_revision, prev_revision)
    if prev_revision:
        return Event(EventType.UPDATED, key, value, revision, create_revision, prev_revision, prev_value)
    return Event(EventType.CREATED, key, value, revision, create_revision)


# --- compaction: jobs in the commit thread, one transaction each


def _mark_compacted(connection: sqlite3.Connection, revision: Revision) -> None:
    with _transaction(connection):
        connection.execute(sql.BEGIN_COMPACTION, (revision,))


def _clean_slice(connection: sqlite3.Connection) -> bool:
    """Delete what the next rows of the compacted log replaced; False once there are none."""
    with _transaction(connection):
        (cleaned,) = connection.execute(sql.CLEANED_REVISION).fetchone()
        (_, compacted) = connection.execute(sql.REVISIONS).fetchone()
        if cleaned >= compacted:
            return False
        found = connection.execute(sql.SLICE_END, (cleaned, COMPACTION_ROWS)).fetchone()
        end = min(found[0], compacted) if found else compacted
        connection.execute(sql.DELETE_REPLACED, (cleaned, end))
        connection.execute(sql.DELETE_TOMBSTONES, (cleaned, end))
        connection.execute(sql.SET_CLEANED, (end,))
        return True


def _vacuum_slice(connection: sqlite3.Connection) -> bool:
    """Give free pages at the end of the file back; False once few enough are left."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free <= FREE_PAGES_KEPT:
        return False
    # The pragma frees one page a step and has no columns: `execute` would take a single step of it.
    connection.executescript(f"PRAGMA incremental_vacuum({min(VACUUM_PAGES, free - FREE_PAGES_KEPT)})")
    return True


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
