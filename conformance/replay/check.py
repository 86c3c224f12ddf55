"""A server against the recordings, or against another server."""

from __future__ import annotations

import copy
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.client import Server
from conformance.replay import difference, documents, golden
from conformance.result import Outcome, Result


@dataclass(frozen=True, slots=True)
class Unit:
    """One exchange, object, resource or definition; `where` is `file:index`."""

    where: str
    title: str
    differences: tuple[difference.Difference, ...] = ()
    skipped: str = ""


def units(path: Path, observe: Callable[[Any], Any], recorded: Any) -> Iterator[Unit]:
    """Where `recorded`, the contents of the file `path`, differs from what `observe` makes of it."""
    shape = documents.shape_of(path.name)
    observed = shape.units(observe(copy.deepcopy(recorded)))
    comparison = difference.Comparison(shape.ignored)
    for index, (title, value) in shape.units(recorded).items():
        where, got = f"{golden.stem(path)}:{index}", observed.get(index, (title, difference.ABSENT))[1]
        left_out = next((side["skipped"] for side in (value, got) if isinstance(side, dict) and "skipped" in side), "")
        found = () if left_out else tuple(comparison.differences(value, got))
        yield Unit(where, title, found, left_out)


def replay(server: Server, files: Iterable[Path]) -> Iterator[Unit]:
    for path in files:
        shape = documents.shape_of(path.name)
        yield from units(path, functools.partial(shape.observe, server), golden.read(path))


def compare(one: Server, other: Server, files: Iterable[Path]) -> Iterator[Unit]:
    """The same requests to both; `one` stands for what is expected."""
    for path in files:
        shape, recorded = documents.shape_of(path.name), golden.read(path)
        first = shape.observe(one, copy.deepcopy(recorded))
        yield from units(path, functools.partial(shape.observe, other), first)


def read_expected(path: Path) -> dict[str, str]:
    """Lines `file:index reason` → index, reason; empty lines and # are left out. Raises ValueError without a reason."""
    out = {}
    for line in path.read_text().splitlines():
        where, _, why = line.strip().partition(" ")
        if where and not where.startswith("#"):
            if not why.strip():
                raise ValueError(f"{path.name}: no reason given for {where}")
            out[where] = why.strip()
    return out


@dataclass(frozen=True, slots=True)
class Tally:
    """`unexpected` is what to say of each unit that does not end as it should; `results` are for a report."""

    results: tuple[Result, ...]
    unexpected: tuple[str, ...]
    counts: Mapping[str, Counter[str]]  # file → equal, listed, differs, no longer differs, left out

    @property
    def ok(self) -> bool:
        return not self.unexpected

    def summary(self) -> str:
        """One line a file, and one for all."""
        total: Counter[str] = sum(self.counts.values(), Counter())
        rows = [*self.counts.items(), ("all", total)]
        return "\n".join(f"{name}: {_spelled(counts)}" for name, counts in rows)


def _spelled(counts: Counter[str]) -> str:
    total = sum(counts.values())
    share = 100 * counts["equal"] / total if total else 100.0
    return f"{counts['equal']} of {total} equal ({share:.1f} %)" + "".join(
        f", {counts[key]} {key}" for key in ("listed", "differs", "no longer differs", "left out") if counts[key]
    )


def tally(found: Iterable[Unit], expected: Mapping[str, str], *, only: frozenset[str] = frozenset()) -> Tally:
    """Hold units against what may differ (`file:index` → why). With `only`, nothing else counts.

    A unit that is listed and does not differ is unexpected too, and so is a line of the list that names no unit of
    these files.
    """
    results, unexpected, counts = [], [], dict[str, Counter[str]]()
    seen, start = set(), time.monotonic()
    for unit in found:
        file = unit.where.split(":", 1)[0]
        if only and unit.where not in only:
            continue
        seen.add(unit.where)
        word = _word(unit, listed=unit.where in expected)
        counts.setdefault(file, Counter())[word] += 1
        lines = [f"{unit.where} {unit.title} | {d}" for d in unit.differences]
        if word == "differs":
            unexpected += lines
        elif word == "no longer differs":
            unexpected.append(f"{unit.where} {unit.title} | does not differ, though it is listed")
        now = time.monotonic()
        results.append(
            Result(f"{unit.where} {unit.title}", _OUTCOME[word], now - start, "\n".join(lines) or unit.skipped)
        )
        start = now
    for where in sorted((only or set(expected)) - seen):
        if where.split(":", 1)[0] in counts:
            unexpected.append(f"{where} | there is no such unit")
    return Tally(tuple(results), tuple(unexpected), counts)


_OUTCOME = {
    "equal": Outcome.PASS,
    "no longer differs": Outcome.PASS,
    "listed": Outcome.FAIL,
    "differs": Outcome.FAIL,
    "left out": Outcome.SKIP,
}


def _word(unit: Unit, *, listed: bool) -> str:
    if unit.skipped:
        return "left out"
    if unit.differences:
        return "listed" if listed else "differs"
    return "no longer differs" if listed else "equal"
