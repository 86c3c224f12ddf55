"""The tables of a SQLite store, its named SQL, and how a connection to it is made.

Two tables and one row: `log` holds every write that is not compacted, `current` says which of them are current, `meta`
remembers what the log may have lost. Measured against one table with indexes: half to a third of the time a write.

The previous value is not stored again: `prev_revision` leads to its row, and compaction keeps that as long as its
successor is not compacted too. A tombstone holds no value; the create after it has prev_revision 0.
`create_revision` stands in `current` as well: an update learns it from its own compare-and-swap.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from storage import errors

SCHEMA_VERSION = 1
APPLICATION_ID = 0x76617069  # "vapi"

TABLES = """
CREATE TABLE log (
    revision        INTEGER PRIMARY KEY,
    key             TEXT    NOT NULL,
    create_revision INTEGER NOT NULL,
    prev_revision   INTEGER NOT NULL,
    deleted         INTEGER NOT NULL,
    value           BLOB
);
CREATE TABLE current (
    key             TEXT    PRIMARY KEY,
    revision        INTEGER NOT NULL,
    create_revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE meta (
    id               INTEGER PRIMARY KEY CHECK (id = 0),
    revision         INTEGER NOT NULL,
    compact_revision INTEGER NOT NULL,
    cleaned_revision INTEGER NOT NULL
);
INSERT INTO meta VALUES (0, 0, 0, 0);
"""
"""`meta.revision`: the current revision when compaction last ran; the log has the newer ones. `compact_revision`: what
readers may no longer ask for. `cleaned_revision`: how far its rows are really gone; behind it after a crash."""

# The end of a range that has none: any BLOB sorts after every TEXT.
NO_END = b""

# Plain marks or names: numbered ones with a sequence are a DeprecationWarning of Python 3.12.0-3.12.3 (bpo-101693).

# --- writes (on the loop, in the group's transaction)
CREATE_CURRENT = "INSERT OR IGNORE INTO current VALUES (?, ?, ?)"
SWAP_CURRENT = "UPDATE current SET revision = ? WHERE key = ? AND revision = ? RETURNING create_revision"
DELETE_CURRENT = "DELETE FROM current WHERE key = ? AND revision = ? RETURNING create_revision"
APPEND = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
CURRENT_REVISION_OF = "SELECT revision FROM current WHERE key = ?"
VALUE_AT = "SELECT value FROM log WHERE revision = ?"

# --- reads
REVISIONS = "SELECT max(revision, coalesce((SELECT max(revision) FROM log), 0)), compact_revision FROM meta"
GET = """
SELECT c.key, l.value, c.create_revision, c.revision
FROM current c JOIN log l ON l.revision = c.revision WHERE c.key = ?
"""
LIST = """
SELECT c.key, l.value, c.create_revision, c.revision
FROM current c CROSS JOIN log l ON l.revision = c.revision
WHERE c.key >= ? AND c.key < ? ORDER BY c.key LIMIT ?
"""
# As of `at`: the current keys not changed since, and for each key changed since what its first later row replaced. That
# row is the only one of its key with 0 < prev_revision <= at: creates have 0, and are never somebody's first change.
# CROSS JOIN keeps the order of the loops: the log from `at` on, then one row each by its primary key.
LIST_AT = """
SELECT c.key, l.value, c.create_revision, c.revision
FROM current c CROSS JOIN log l ON l.revision = c.revision
WHERE c.key >= :first AND c.key < :end AND c.revision <= :at
UNION ALL
SELECT p.key, p.value, p.create_revision, p.revision
FROM log n CROSS JOIN log p ON p.revision = n.prev_revision
WHERE n.revision > :at AND n.prev_revision BETWEEN 1 AND :at AND n.key >= :first AND n.key < :end
ORDER BY 1 LIMIT :limit
"""
COUNT = "SELECT count(*) FROM current WHERE key >= ? AND key < ?"
AFTER = """
SELECT n.revision, n.key, n.create_revision, n.prev_revision, n.deleted, n.value, p.value
FROM log n LEFT JOIN log p ON p.revision = n.prev_revision
WHERE n.revision > ? AND n.key >= ? AND n.key < ? ORDER BY n.revision LIMIT ?
"""

# --- compaction (in the commit thread)
# First of all, and in a transaction before any row goes: readers are refused, and the revision cannot fall.
BEGIN_COMPACTION = """
UPDATE meta SET compact_revision = max(compact_revision, ?),
                revision = max(revision, coalesce((SELECT max(revision) FROM log), 0))
"""
CLEANED_REVISION = "SELECT cleaned_revision FROM meta"
# The revision where a slice of so many rows after the first ends; the slice itself stops at the compact revision.
SLICE_END = "SELECT revision FROM log WHERE revision > ? ORDER BY revision LIMIT 1 OFFSET ? - 1"
# What a compacted row replaced goes, and the row itself if it is a tombstone: nothing at or after it needs either.
DELETE_REPLACED = """
DELETE FROM log WHERE revision IN
    (SELECT prev_revision FROM log WHERE revision > ? AND revision <= ? AND prev_revision > 0)
"""
DELETE_TOMBSTONES = "DELETE FROM log WHERE revision > ? AND revision <= ? AND deleted = 1"
SET_CLEANED = "UPDATE meta SET cleaned_revision = ?"

PAGE_CACHE_KIB = 8_192
"""Per connection, used only as far as needed: a transaction that fits in it spills nothing on the loop."""

CHECKPOINT_PAGES = 4_000
"""WAL pages of 4 KB that make a commit checkpoint (in the commit thread): 16 MB. Measured: 1,000 costs more fsyncs."""

WAL_LIMIT_BYTES = 64 << 20
"""What is left of a WAL that grew because a reader held it up."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode with explicit transactions, to a file that `prepare` has seen. For any one thread at
    a time."""
    # No waiting for foreign locks: nobody else has the file (its lock says so), and the loop must not wait.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    if read_only:
        connection.execute("PRAGMA query_only = 1")
    else:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    return connection


def prepare(path: Path) -> None:
    """Make the file if it is not there (0600), its tables, and WAL mode; check its version.

    Raises UnsupportedStore for a newer schema and for a file that is something else.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _create_or_check(connection, path)
    except sqlite3.DatabaseError as error:
        raise errors.UnsupportedStore(f"{path} is not a database of vapi: {error}") from error
    finally:
        connection.close()
    _fsync_directory(path.parent)


def _create_or_check(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if is_empty and application_id == 0 and version == 0:
        # auto_vacuum must precede the first table; the rest is one transaction: a crash leaves an empty file.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        return
    if application_id != APPLICATION_ID:
        raise errors.UnsupportedStore(f"{path} is a SQLite database of another program")
    if version > SCHEMA_VERSION:
        raise errors.UnsupportedStore(
            f"{path} has schema version {version}; this vapi knows up to {SCHEMA_VERSION}: use a newer vapi"
        )


def _fsync_directory(directory: Path) -> None:
    """A new file survives a power loss only with its directory entry."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
