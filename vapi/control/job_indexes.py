"""Sets of completion indexes, kept as intervals, and their text form (`1,3-5,7`). Pure.

Two neighbours are written with a comma, three and more as a range.
Source: pkg/controller/job/indexed_job_utils.go; batch/v1 JobStatus.completedIndexes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Interval = tuple[int, int]
"""First and last, both in."""


@dataclass(frozen=True, slots=True)
class Indexes:
    """Ordered, not touching one another."""

    intervals: tuple[Interval, ...] = ()

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __contains__(self, index: int) -> bool:
        at = bisect_right(self.intervals, (index, 2**63)) - 1
        return at >= 0 and self.intervals[at][0] <= index <= self.intervals[at][1]

    def __str__(self) -> str:
        return ",".join(_text(first, last) for first, last in self.intervals)

    def union(self, other: Indexes) -> Indexes:
        return _joined(sorted((*self.intervals, *other.intervals)))

    def common(self, other: Indexes) -> int:
        """How many are in both."""
        return len(self) + len(other) - len(self.union(other))


NONE = Indexes()


def _text(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first}{',' if last == first + 1 else '-'}{last}"


def _joined(intervals: Iterable[Interval]) -> Indexes:
    joined: list[Interval] = []
    for first, last in intervals:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return Indexes(tuple(joined))


def of(indexes: Iterable[int]) -> Indexes:
    return _joined((index, index) for index in sorted(indexes))


def parse(text: str, completions: int) -> Indexes:
    """Of the text form, below `completions`; parts that are none are left out."""
    return _joined(sorted(_parsed(text, completions)))


def _parsed(text: str, completions: int) -> Iterator[Interval]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        last = last or first
        if first.isascii() and first.isdigit() and last.isascii() and last.isdigit() and int(first) < completions:
            yield int(first), min(int(last), completions - 1)


def first_missing(taken: Indexes, completions: int, count: int) -> list[int]:
    """The `count` lowest below `completions` that are not `taken`."""
    found: list[int] = []
    candidate = 0
    for first, last in (*taken.intervals, (completions, completions)):
        found += range(candidate, min(first, candidate + count - len(found)))
        if len(found) >= count:
            break
        candidate = last + 1
    return found[:count]
