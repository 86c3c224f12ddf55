"""Watcher: one client's watch of one kind: initial state, replay, then live, with selectors and bookmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vapi.cacher.entry import Entry
from vapi.errors import ApiError


class WatchEventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, eq=False)
class WatchEvent:
    """`entry` is the object to show (for DELETED by selector: the old state); `revision` is what it is shown with.

    BOOKMARK: no entry; `initial_end` marks the one that closes the initial events. ERROR: `error`.
    """

    type: WatchEventType
    revision: int
    entry: Entry | None = None
    initial_end: bool = False
    error: ApiError | None = None


class Watcher:
    async def next(self) -> Sequence[WatchEvent]:
        """The next events, at least one, at most about 64 KB of values; empty: the watch has ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Idempotent; wakes a waiting `next`."""
        raise NotImplementedError
