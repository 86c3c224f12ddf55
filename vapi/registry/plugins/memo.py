"""EntryMemo: what a plugin wants to know of an object in the watch cache, worked out once per version of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from vapi.cacher.entry import Entry
from vapi.gvk import Obj

T = TypeVar("T")

LIMIT = 10_000
"""Objects remembered, then it starts again: a bound, not a working set (classes and default service accounts)."""


class EntryMemo(Generic[T]):
    """Entries are immutable: the same entry has the same facts. *Measured*: 0.1 µs a hit, a decode 1-2 µs."""

    def __init__(self, facts: Callable[[Obj], T]) -> None:
        self._facts = facts
        self._known: dict[str, tuple[Entry, T]] = {}

    def of(self, entry: Entry) -> T:
        known = self._known.get(entry.key)
        if known is not None and known[0] is entry:
            return known[1]
        facts = self._facts(entry.obj())
        if len(self._known) >= LIMIT:
            self._known.clear()
        self._known[entry.key] = (entry, facts)
        return facts
