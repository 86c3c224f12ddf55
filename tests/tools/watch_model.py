"""What a watch must show, told from the acknowledged writes alone: the model that drills compare watchers with."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, str]
Matches = Callable[[str, Labels], bool]
"""Of a namespace and labels."""


@dataclass(frozen=True, slots=True)
class Change:
    """One acknowledged write: labels before and after it, None where there was no object."""

    revision: int
    namespace: str
    name: str
    before: Labels | None
    after: Labels | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a client sees it."""

    type: str
    revision: int
    namespace: str
    name: str


@dataclass(slots=True)
class Model:
    """Changes are added in the order of their revisions, once all writers have stopped or as they are acknowledged."""

    changes: list[Change] = field(default_factory=list)

    def settle(self) -> None:
        """Put in order what several writers were told."""
        self.changes.sort(key=lambda change: change.revision)

    def events(self, matches: Matches, *, after: int, until: int) -> Iterator[Seen]:
        first = bisect_right(self.changes, after, key=lambda change: change.revision)
        for change in self.changes[first:]:
            if change.revision > until:
                return
            was = change.before is not None and matches(change.namespace, change.before)
            is_ = change.after is not None and matches(change.namespace, change.after)
            kind = _TYPES[was, is_]
            if kind:
                yield Seen(kind, change.revision, change.namespace, change.name)

    def state(self, matches: Matches, revision: int) -> list[Seen]:
        """Synthetic ADDED events of a watch that begins at `revision`, in key order."""
        current: dict[tuple[str, str], Change] = {}
        for change in self.changes:
            if change.revision > revision:
                break
            if change.after is None:
                current.pop((change.namespace, change.name), None)
            else:
                current[change.namespace, change.name] = change
        return [
            Seen("ADDED", change.revision, *key)
            for key, change in sorted(current.items())
            if change.after is not None and matches(key[0], change.after)
        ]


_TYPES = {(False, False): "", (False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}
