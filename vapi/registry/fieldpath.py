"""FieldSet: which fields a manager owns, in the very form the API writes it (FieldsV1).

A set is the nested dict of `managedFields[].fieldsV1`: a key is one path
element (`f:name`, `k:{"name":"c"}`, `v:"x"`, `i:0`), `{}` under it means that
the path itself is a member, `.` beside deeper keys means that too. So entries
are stored and read without any conversion, and set algebra is dict algebra.

Invariant (canonical form): no key holds `{".": {}}` alone, and key fields stand
sorted and without spaces. Sets are values: functions return new dicts that may
share parts with their arguments, and nobody edits a set that he did not just make.
Source: structured-merge-diff v6, fieldpath (Set, PathElement and their serialization).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from vapi import encoding

FieldSet: TypeAlias = dict[str, "FieldSet"]
Path: TypeAlias = tuple[str, ...]

SELF = "."
_KINDS = "fkvi"  # also the order in which Kubernetes lists elements of different kinds
_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_NEEDS_ESCAPE = re.compile("[<>&]")


# --- elements ------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def json_text(value: str) -> str:
    return go_escaped(encoding.dumps(value).decode())


def go_escaped(text: str) -> str:
    """JSON text as Go's encoder writes it: `<`, `>` and `&`, which occur in strings only, are escaped."""
    return text.translate(_ESCAPED) if _NEEDS_ESCAPE.search(text) else text


def json_scalar(value: Any) -> str:
    if isinstance(value, str):
        return json_text(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return go_escaped(encoding.dumps(value).decode())


def key_element(fields: Iterable[tuple[str, Any]]) -> str:
    """`fields` sorted by name."""
    return "k:{" + ",".join(f"{json_text(name)}:{json_scalar(value)}" for name, value in fields) + "}"


def value_element(value: Any) -> str:
    return f"v:{json_scalar(value)}"


def describe(path: Path) -> str:
    """As conflicts and validation errors show it: `.spec.containers[name="c"].image`."""
    return "".join(_describe_element(element) for element in path)


def _describe_element(element: str) -> str:
    kind, text = element[0], element[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        fields = encoding.loads(text)
        return "[" + ",".join(f"{name}={_go_text(value)}" for name, value in fields.items()) + "]"
    return f"[={_go_text(encoding.loads(text))}]" if kind == "v" else f"[{text}]"


def _go_text(value: Any) -> str:
    return encoding.dumps(value).decode() if not isinstance(value, float) else format(value, "g")


def _order(element: str) -> tuple[Any, ...]:
    """Sort key: fields, keys, values, indices; numbers by value. Source: PathElement.Compare."""
    kind, text = element[0], element[2:]
    if kind == "f":
        return (0, text)
    if kind == "k":
        return (1, *((name, *_value_order(value)) for name, value in encoding.loads(text).items()))
    if kind == "v":
        return (2, *_value_order(encoding.loads(text)))
    return (3, int(text))


def _value_order(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    return (3, encoding.dumps(value).decode())


# --- decoding ------------------------------------------------------------------------------------


def decode(fields: Any) -> FieldSet:
    """The canonical set of a client's `fieldsV1`. Raises ValueError on what Kubernetes cannot read.

    Elements of a kind it does not know are dropped, as there.
    """
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise ValueError("fieldsV1 must be an object")
    decoded: FieldSet = {}
    for element, content in fields.items():
        if element == SELF:
            continue
        canonical = _canonical(element)
        if canonical is None:
            continue
        inner = decode(content)
        if inner and SELF in content:
            inner[SELF] = {}
        decoded[canonical] = inner
    return decoded


def _canonical(element: str) -> str | None:
    """None: an element of an unknown kind. Raises ValueError."""
    if len(element) < 2 or element[1] != ":":
        raise ValueError(f"not a path element: {element!r}")
    kind, text = element[0], element[2:]
    if kind not in _KINDS:
        return None
    if kind == "f":
        return element
    if kind == "i":
        return f"i:{int(text)}"
    value = encoding.loads(text)
    if kind == "v":
        return value_element(value)
    if not isinstance(value, dict):
        raise ValueError(f"not a key: {element!r}")
    return key_element(sorted(value.items()))


# --- algebra -------------------------------------------------------------------------------------


def from_paths(paths: Iterable[Path]) -> FieldSet:
    built: FieldSet = {}
    for path in paths:
        built = union(built, _single(path))
    return built


def _single(path: Path) -> FieldSet:
    node: FieldSet = {}
    for element in reversed(path):
        node = {element: node}
    return node


def is_member(node: Mapping[str, Any]) -> bool:
    """Whether the path that holds `node` is in the set itself."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left or left is right:
        return right
    if not right:
        return left
    merged = dict(left)
    for element, theirs in right.items():
        ours = left.get(element)
        merged[element] = theirs if ours is None else _union_node(ours, theirs)
    return merged


def _union_node(left: FieldSet, right: FieldSet) -> FieldSet:
    if left is right or left == right:
        return left
    merged = union(left, right)
    if (not left or not right) and SELF not in merged:
        merged = {SELF: {}, **merged}
    return merged


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Members of `left` that are not in `right`; children of a removed member stay. `left` itself if nothing goes."""
    rest = left
    for element, theirs in right.items():
        ours = rest.get(element)
        if ours is None:
            continue
        kept = _difference_node(ours, theirs)
        if kept is ours:
            continue
        if rest is left:
            rest = dict(left)
        if kept is None:
            del rest[element]
        else:
            rest[element] = kept
    return rest


def _difference_node(left: FieldSet, right: FieldSet) -> FieldSet | None:
    if not left:
        return None if is_member(right) else left
    if not right:
        if SELF not in left:
            return left
        return {element: inner for element, inner in left.items() if element != SELF}
    if SELF in right and SELF in left:
        rest = difference({element: inner for element, inner in left.items() if element != SELF}, right)
    else:
        rest = difference(left, right)
    if not rest:
        return None
    return {} if len(rest) == 1 and SELF in rest else rest


def without(left: FieldSet, right: FieldSet) -> FieldSet:
    """`left` without the members of `right` and everything below them. Source: Set.RecursiveDifference."""
    rest = left
    for element, theirs in right.items():
        ours = rest.get(element)
        if ours is None:
            continue
        kept = None if is_member(theirs) else _without_node(ours, theirs)
        if kept is ours:
            continue
        if rest is left:
            rest = dict(left)
        if kept is None:
            del rest[element]
        else:
            rest[element] = kept
    return rest


def _without_node(left: FieldSet, right: FieldSet) -> FieldSet | None:
    if not left:
        return left
    rest = without(left, right)
    if not rest:
        return None
    return {} if len(rest) == 1 and SELF in rest else rest


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    shared: FieldSet = {}
    for element, ours in left.items():
        theirs = right.get(element)
        if theirs is None or element == SELF:
            continue
        inner = intersection(ours, theirs) if ours and theirs else {}
        member = is_member(ours) and is_member(theirs)
        if inner:
            shared[element] = {SELF: {}, **inner} if member else inner
        elif member:
            shared[element] = {}
    return shared


def contains(fields: FieldSet, path: Path) -> bool:
    node: FieldSet | None = fields
    for element in path:
        node = node.get(element) if node is not None else None
    return bool(path) and node is not None and is_member(node)


def paths(fields: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """All members, in the order in which Kubernetes lists them: those of a level before what lies deeper."""
    ordered = sorted((element for element in fields if element != SELF), key=_order)
    for element in ordered:
        if is_member(fields[element]):
            yield (*prefix, element)
    for element in ordered:
        if fields[element]:
            yield from paths(fields[element], (*prefix, element))
