"""Where two recordings differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from conformance.replay import normal

UNORDERED = {"required", "enum", "consumes", "produces", "parameters", "causes"}  # lists whose order says nothing
KNOWN_UID = re.compile(r"00000000-0000-4000-8000-\d{12}")
SHOWN_CHARS = 400  # of a value in a message; an OpenAPI schema has thousands


class Absent:
    """Stands where one side has nothing, which is not null."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path or 'all'} | expected {shown(self.expected)} | got {shown(self.got)}"


class Comparison:
    """Compares normalised values one after the other, and remembers which uid and which version stands for which.

    So a value that two answers have in common on one side must be common on the other. `ignored` are keys that do not
    count.
    """

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self._ignored = ignored
        self._there: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def differences(self, expected: Any, got: Any, path: str = "") -> Iterator[Difference]:
        if isinstance(expected, dict) and isinstance(got, dict):
            for key in [*expected, *(k for k in got if k not in expected)]:
                if key not in self._ignored:
                    pair = expected.get(key, ABSENT), got.get(key, ABSENT)
                    yield from self.differences(*pair, f"{path}.{key}".lstrip("."))
        elif isinstance(expected, list) and isinstance(got, list):
            yield from self._lists(expected, got, path)
        elif isinstance(expected, str) and isinstance(got, str):
            yield from self._texts(expected, got, path)
        elif type(expected) is not type(got) or expected != got:  # Python takes 1 for true
            yield Difference(path, expected, got)

    def _lists(self, expected: list[Any], got: list[Any], path: str) -> Iterator[Difference]:
        if path.rsplit(".", 1)[-1] in UNORDERED:
            expected, got = sorted(expected, key=json.dumps), sorted(got, key=json.dumps)
        for i in range(max(len(expected), len(got))):
            one, other = (side[i] if i < len(side) else ABSENT for side in (expected, got))
            yield from self.differences(one, other, f"{path}.{i}")

    def _texts(self, expected: str, got: str, path: str) -> Iterator[Difference]:
        version = path.endswith("resourceVersion")
        if not (version or _same_text(expected, got)):
            yield Difference(path, expected, got)
        elif not self._same_identity(expected, got, version=version):
            yield Difference(path, f"{expected} (as before)", got)

    def _same_identity(self, expected: str, got: str, *, version: bool) -> bool:
        if version and normal.ANY_VERSION not in (expected, got):
            return self._paired(f"v{expected}", f"v{got}")
        pairs = zip(KNOWN_UID.findall(expected), KNOWN_UID.findall(got), strict=False)
        paired = [self._paired(*pair) for pair in pairs]  # every pair is remembered, whatever comes of the first
        return all(paired)

    def _paired(self, expected: str, got: str) -> bool:
        return self._there.setdefault(expected, got) == got and self._back.setdefault(got, expected) == expected


def _same_text(expected: str, got: str) -> bool:
    """Equal but for numbered uids, or lists of the same validation errors: some come in the order of a Go map."""
    expected, got = KNOWN_UID.sub("", expected), KNOWN_UID.sub("", got)
    return expected == got or (" is invalid: [" in expected and sorted(expected) == sorted(got))


def shown(value: Any) -> str:
    text = repr(value) if value is ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
