"""History: the ring of the latest changes of one kind, addressed by sequence number and by revision.

It is the queue of every watcher of the kind: a watcher keeps a position in it
and nothing else, so a slow one costs no memory and cannot slow others down. What has
left the ring is read from the store's log. Bounded in items and in bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from vapi.cacher.entry import Change

MAX_ITEMS = 2_000  # a guess: some seconds of a busy kind; beyond it `store.after` answers
MAX_BYTES = 4 << 20  # of values: the current ones are shared with the view, old ones are held by the ring alone
_SLACK = 4  # drop a quarter at once, so that trimming is amortised


class History:
    """Runs on the loop, never awaits. Every change with a revision > `complete_after` and ≤ now is in the ring."""

    def __init__(self, complete_after: int) -> None:
        self.complete_after = complete_after
        self._changes: list[Change] = []
        self._revisions: list[int] = []
        self._base = 0
        self._bytes = 0

    @property
    def end(self) -> int:
        """Sequence number of the next change."""
        return self._base + len(self._changes)

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._revisions.append(change.revision)
        self._bytes += len(change.entry.value)
        if len(self._changes) > MAX_ITEMS or self._bytes > MAX_BYTES:
            self._trim()

    def _trim(self) -> None:
        keep_items = MAX_ITEMS - MAX_ITEMS // _SLACK
        keep_bytes = MAX_BYTES - MAX_BYTES // _SLACK
        drop = 0
        while drop < len(self._changes) - 1 and (len(self._changes) - drop > keep_items or self._bytes > keep_bytes):
            self._bytes -= len(self._changes[drop].entry.value)
            drop += 1
        self.complete_after = self._revisions[drop - 1]
        del self._changes[:drop]
        del self._revisions[:drop]
        self._base += drop

    def holds(self, sequence: int) -> bool:
        """Whether a reader that stands at `sequence` can go on from here."""
        return sequence >= self._base

    def sequence_after(self, revision: int) -> int | None:
        """Where a reader that has seen `revision` goes on; None if the ring no longer reaches so far back."""
        if revision < self.complete_after:
            return None
        return self._base + bisect_right(self._revisions, revision)

    def read(self, sequence: int, limit: int) -> Sequence[Change]:
        """At most `limit` changes from `sequence` on, which must be held."""
        start = sequence - self._base
        return self._changes[start : start + limit]
