"""Noise: random values and random damage to JSON objects, from a seeded `random.Random`, so that a seed is a case.

Plain seeds and not a strategy library: an object costs microseconds, and what
fails is one seed to run again. Strings may hold lone surrogates: `text` encodes
them as the JSON escapes that a client can send.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

STRINGS = (
    "", "a", "b", "x", "default", "A b", "a/b", "a.b/c", "-1", "0", "1", "1e3", "100m", "64Mi", "1.5Gi", "25%", "None",
    "true", "null", "é", "\U0001f600", "\x00", "\ud800", "a\nb", "\t", "~1", "..", "/", "$patch", "metadata.name",
    "2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "10.0.0.1", "::1", "10.0.0.0/8", "Zg==", "Zg=", "Never", "Always",
    "TCP", "Orphan", "kubernetes", "x" * 64, "y" * 254, "\u2028", "k: v", "{}", "[]", "*", "a,b", "5m", "NaN", "1Ki1",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 80, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**25,
           0.5, -0.0, 1e300, 1.0, 1e-7, 123456789.123)  # fmt: skip
KEYS = (
    "name", "metadata", "spec", "status", "a", "b", "kind", "apiVersion", "labels", "annotations", "items", "data",
    "$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "unknown", "", "é",
    "finalizers", "ownerReferences", "uid", "containers", "ports", "key", "resourceVersion", "managedFields", "\x00",
    "generateName", "deletionTimestamp", "namespace", "creationTimestamp", "generation", "selector", "replicas",
)  # fmt: skip
DIRECTIVES = ("replace", "delete", "merge", "retainKeys", "foo", 1, None)

Path = tuple[str | int, ...]


def scalar(random: Random) -> Any:
    kind = random.randrange(8)
    if kind < 4:
        return random.choice(STRINGS)
    if kind < 6:
        return random.choice(NUMBERS)
    return random.choice((None, True, False, {}, []))


def value(random: Random, depth: int = 3) -> Any:
    kind = random.randrange(6) if depth else 0
    if kind < 3:
        return scalar(random)
    size = random.choice((0, 1, 1, 2, 3))
    if kind == 3:
        return [value(random, depth - 1) for _ in range(size)]
    return {random.choice(KEYS): value(random, depth - 1) for _ in range(size)}


def deep(random: Random) -> Any:
    """Nested far beyond what any decoder takes, or just within."""
    depth = random.choice((20, 120, 250, 300, 1000, 12_000))
    nested: Any = 1
    as_list = random.random() < 0.5
    for _ in range(min(depth, 900)):  # Python's own encoder recurses
        nested = [nested] if as_list else {"a": nested}
    return nested


def paths(value: Any, prefix: Path = ()) -> list[Path]:
    """Of every member and item, outermost first."""
    found: list[Path] = []
    members: Sequence[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    for key, member in members:
        found.append((*prefix, key))
        found += paths(member, (*prefix, key))
    return found


def _parent(obj: Any, path: Path) -> Any:
    for key in path[:-1]:
        obj = obj[key]
    return obj


def _replace(random: Random, obj: Any, path: Path) -> None:
    _parent(obj, path)[path[-1]] = value(random, 2)


def _retype(random: Random, obj: Any, path: Path) -> None:
    """The same value in another dress: "1" for 1, [x] for x."""
    parent, key = _parent(obj, path), path[-1]
    old = parent[key]
    parent[key] = random.choice((str(old), [old], {"a": old}, None, not old, [], {}, ""))


def _remove(random: Random, obj: Any, path: Path) -> None:
    del _parent(obj, path)[path[-1]]


def _add(random: Random, obj: Any, path: Path) -> None:
    parent = _parent(obj, path)
    if isinstance(parent, dict):
        parent[random.choice(KEYS)] = value(random, 2)
    else:
        parent.insert(random.randrange(len(parent) + 1), value(random, 2))


def _duplicate(random: Random, obj: Any, path: Path) -> None:
    parent = _parent(obj, path)
    if isinstance(parent, list):
        parent.append(copy.deepcopy(parent[path[-1]]))  # type: ignore[index]
    else:
        parent[random.choice(KEYS)] = copy.deepcopy(parent[path[-1]])


def _scalar(random: Random, obj: Any, path: Path) -> None:
    _parent(obj, path)[path[-1]] = scalar(random)


_DAMAGE: Sequence[Callable[[Random, Any, Path], None]] = (
    _replace,
    _retype,
    _remove,
    _add,
    _duplicate,
    _scalar,
    _scalar,
)


def damaged(random: Random, obj: Any, times: int) -> Any:
    """A copy of `obj` with up to `times` random changes."""
    obj = copy.deepcopy(obj)
    for _ in range(times):
        places = paths(obj)
        if not places:
            break
        random.choice(_DAMAGE)(random, obj, random.choice(places))
    return obj


def text(random: Random, obj: Any) -> bytes:
    """JSON as clients write it; now and then with a duplicate key, a cut, or stray bytes."""
    data = json.dumps(obj, ensure_ascii=random.random() < 0.5 or _has_surrogates(obj)).encode()
    kind = random.randrange(40)
    if kind == 0 and len(data) > 2:
        at = random.randrange(len(data))
        return data[:at] + random.choice((b"", b"\xff", b"\x00", b"}", b"]", b'"', b",", b"\\u")) + data[at + 1 :]
    if kind == 1:
        return data[: random.randrange(len(data) + 1)]
    if kind == 2 and data.startswith(b"{") and len(data) > 2:
        return b'{"metadata":{"name":"dup"},"kind":"x",' + data[1:]
    return data


def _has_surrogates(obj: Any) -> bool:
    return "\\ud8" in json.dumps(obj)


# --- patches ---------------------------------------------------------------------------------------


def pointer(random: Random, obj: Any) -> str:
    """A JSON pointer: of something in `obj`, beside it, or odd."""
    places = paths(obj)
    path = list(random.choice(places)) if places and random.random() < 0.9 else []
    if random.random() < 0.3:
        path.append(random.choice((*KEYS, "-", "-1", "0", "1", "99999999999", "01", "+1")))
    if random.random() < 0.1 and path:
        path[-1] = random.choice(("-", "-1", "00", " 1", "~", "~2", "1e0"))
    joined = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)
    return joined if random.random() < 0.95 else random.choice(("", "/", "a", "//", "/metadata", joined + "/"))


def json_patch(random: Random, obj: Any) -> Any:
    if random.random() < 0.03:
        return value(random)
    operations = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        operation: dict[str, Any] = {
            "op": random.choice(("add", "replace", "remove", "test", "move", "copy", "add", "replace")),
            "path": pointer(random, obj),
        }
        if operation["op"] in ("move", "copy"):
            operation["from"] = pointer(random, obj)
        else:
            operation["value"] = value(random, 2)
        if random.random() < 0.05:
            operation = damaged(random, operation, 1)
        operations.append(operation)
    return operations


def part(random: Random, obj: Any) -> Any:
    """A part of `obj`: some of its members, lists whole or in part."""
    if isinstance(obj, dict):
        kept = [key for key in obj if random.random() < 0.5]
        return {key: part(random, obj[key]) for key in kept}
    if isinstance(obj, list):
        return [part(random, item) if random.random() < 0.3 else copy.deepcopy(item) for item in obj]
    return copy.deepcopy(obj)


def merge_patch(random: Random, obj: Any) -> Any:
    return damaged(random, part(random, obj), random.choice((0, 1, 1, 2, 3)))


def strategic_patch(random: Random, obj: Any) -> Any:
    patch = merge_patch(random, obj)
    for _ in range(random.choice((0, 1, 1, 2))):
        place = _random_container(random, patch)
        if isinstance(place, dict):
            _directive(random, place)
        elif isinstance(place, list):
            place.insert(random.choice((0, len(place))), {"$patch": random.choice(DIRECTIVES)})
    return patch


def _random_container(random: Random, obj: Any) -> Any:
    """Some dict or list of `obj`, itself included."""
    found = [obj]
    for path in paths(obj):
        member = _parent(obj, path)[path[-1]]
        if isinstance(member, dict | list):
            found.append(member)
    return random.choice(found)


def _directive(random: Random, place: dict[str, Any]) -> None:
    lists = [key for key, member in place.items() if isinstance(member, list)] or ["containers", "finalizers"]
    field = random.choice(lists)
    match random.randrange(5):
        case 0:
            place["$patch"] = random.choice(DIRECTIVES)
        case 1:
            place["$retainKeys"] = random.choice((list(place), [], ["a"], "x", [1]))
        case 2:
            place[f"$setElementOrder/{field}"] = random.choice((place.get(field), [{"name": "c"}], ["a"], [], 1, [1]))
        case 3:
            place[f"$deleteFromPrimitiveList/{field}"] = random.choice((["a"], [], [{}], 1, None))
        case _:
            place[random.choice(list(place) or ["a"])] = None
