"""What can go wrong in a store. One tree; the registry translates it once, at its border."""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of this package."""


class KeyExists(StorageError):
    """`create` found the key; the winner is committed already."""


class KeyNotFound(StorageError):
    """`get` found no such key. (`update` and `delete` say RevisionConflict with `current` 0.)"""


class RevisionConflict(StorageError):
    """The key is not at the expected revision. `current` is where it stands (0: it is gone)."""

    def __init__(self, key: str, expected: int, current: int) -> None:
        super().__init__(f"{key}: expected revision {expected}, found {current}")
        self.key = key
        self.expected = expected
        self.current = current


class GuardFailed(StorageError):
    """The guard key of a `create` is no longer at the given revision; nothing was written."""


class Compacted(StorageError):
    """The asked-for history is gone. `compact_revision` is the oldest revision still readable."""

    def __init__(self, revision: int, compact_revision: int) -> None:
        super().__init__(f"revision {revision} is compacted, the oldest is {compact_revision}")
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevision(StorageError):
    """A read at a revision that has not been written yet."""


class OutcomeUnknown(StorageError):
    """The link was lost after the write was sent: it may or may not have been committed, and is never sent again."""


class StoreUnavailable(StorageError):
    """The store did not take the request; nothing was written."""


class ValueTooLarge(StorageError):
    """The backend takes no value of that size (etcd: 1.5 MB a request by default); nothing was written."""


class FeedBehind(StorageError):
    """`sync` waited its time, and the feed has not reached the store's revision: a read would be stale (504)."""


class StoreLocked(StorageError):
    """Another process has the database open."""


class UnsupportedStore(StorageError):
    """The database or the etcd is of a version that this program does not work with; the message names both."""


class SubscriberTooSlow(StorageError):
    """A watch was closed because its queue was full; resume from the last revision seen."""


class StoreClosed(StorageError):
    """The store has been closed."""
