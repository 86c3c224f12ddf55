"""Objects as Kubernetes' internal Go types print them, and the difference of two such texts.

A few refusals show a struct: compact JSON under Go's field names, every field in
its order, absent ones as Go's zero. Only wording comes here, never the decision.
Source: field.Error, k8s.io/apimachinery/pkg/util/diff; data: tests' tools/make_internal_types.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from vapi.errors import Cause

_EMBEDDED, _OMIT_EMPTY, _WRITTEN = 1, 2, 3
_ZERO: Mapping[str, Any] = {"string": "", "number": 0, "bool": False, "Quantity": "0", "IntOrString": 0}
_CONTEXT = 3

Field = tuple[str, str, str, int]
"""Go name, JSON name, type, how it is embedded."""


@lru_cache(maxsize=1)
def _types() -> Mapping[str, Sequence[Field]]:
    text = resources.files("vapi.resources.strategies").joinpath("data/internal_types.json").read_text()
    return {name: [(f[0], f[1], f[2], f[3]) for f in fields] for name, fields in json.loads(text).items()}


def dump(type_: str, value: Any) -> Any:
    """`value`, in the public form, as the internal type `type_` holds it: dicts in Go's order of fields."""
    if value is None:
        return _zero(type_)
    if type_.startswith("*"):
        return dump(type_[1:], value)
    if type_.startswith("[]"):
        return [dump(type_[2:], item) for item in value] or None
    if type_.startswith("map "):
        return {key: dump(type_[4:], value[key]) for key in sorted(value)} or None
    if type_ in _types():
        return _struct(type_, value)
    return value


def _zero(type_: str) -> Any:
    if type_ in _types():
        return _struct(type_, {})
    return _ZERO.get(type_)


def _struct(type_: str, value: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for go_name, json_name, field_type, form in _types()[type_]:
        if field_type == "metav1.TypeMeta":
            continue  # internal objects have none
        if form == _EMBEDDED:
            inner = value.get(json_name) or {} if json_name else value
            shown.update(_struct(field_type, inner))
            continue
        given = value.get(json_name)
        if form == _OMIT_EMPTY and given in (None, "", 0, False, [], {}):
            continue
        shown[go_name] = dump(field_type, given)
    return shown


def text(shown: Any) -> str:
    """Compact JSON with Go's escapes."""
    return _escaped(json.dumps(shown, separators=(",", ":"), ensure_ascii=False))


def diff(type_: str, old: Any, new: Any) -> str:
    """The unified difference of two structs, one space of indentation; ends in a line break."""
    before, after = (_lines(dump(type_, value)) for value in (old, new))
    found = list(difflib.unified_diff(before, after, n=_CONTEXT, lineterm=""))
    # without names of files there are no `---` and `+++` lines
    return "".join(f"{line}\n" for line in found[2:])


def _lines(shown: Any) -> list[str]:
    return _escaped(json.dumps(shown, indent=1, ensure_ascii=False)).split("\n")


def _escaped(encoded: str) -> str:
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def invalid(path: str, type_: str, value: Any, detail: str) -> Cause:
    """`Invalid value: {"Go": …}: detail`."""
    tail = f": {detail}" if detail else ""
    return Cause("FieldValueInvalid", f"Invalid value: {text(dump(type_, value))}{tail}", path)


def duplicate(path: str, type_: str, value: Any, detail: str = "") -> Cause:
    tail = f": {detail}" if detail else ""
    return Cause("FieldValueDuplicate", f"Duplicate value: {text(dump(type_, value))}{tail}", path)
