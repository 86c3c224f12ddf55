"""View: the current objects of one kind in key order, and frozen copies of them for lists and continue tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from vapi.cacher.entry import Entry


class View:
    """Runs on the loop, never awaits."""

    def __init__(self) -> None:
        self._by_key: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    def load(self, entries: Sequence[Entry]) -> None:
        """Replace everything; `entries` in key order."""
        self._entries = list(entries)
        self._keys = [entry.key for entry in entries]
        self._by_key = {entry.key: entry for entry in entries}

    def put(self, entry: Entry) -> Entry | None:
        """The entry that stood there before."""
        key = entry.key
        old = self._by_key.get(key)
        self._by_key[key] = entry
        index = bisect_left(self._keys, key)
        if old is None:
            self._keys.insert(index, key)
            self._entries.insert(index, entry)
        else:
            self._entries[index] = entry
        return old

    def remove(self, key: str) -> Entry | None:
        old = self._by_key.pop(key, None)
        if old is not None:
            index = bisect_left(self._keys, key)
            del self._keys[index]
            del self._entries[index]
        return old

    def entries(self, prefix: str = "", start: str = "") -> Sequence[Entry]:
        """A frozen copy of the references under `prefix`, from the key `start` (inclusive) on."""
        if not self._keys:
            return []
        first = bisect_left(self._keys, max(prefix, start)) if prefix or start else 0
        last = bisect_left(self._keys, prefix_end(prefix)) if prefix else len(self._keys)
        return self._entries[first:last]


def prefix_end(prefix: str) -> str:
    """The first key after all that begin with `prefix` (which ends in an ASCII character)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
