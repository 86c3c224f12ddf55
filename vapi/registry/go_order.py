"""Go's order of keys: what a stored object looks like in texts that kube-apiserver prints from its own encoding. Pure.

encoding/json writes a struct's fields as they are declared and a map's sorted;
what a JSON or merge patch touched has become a map. Only error texts show it.
"""

from __future__ import annotations

from typing import Any

from vapi.schema.gotypes import Form, GoType


def ordered(value: Any, type_: GoType | None) -> Any:
    """`value` (not edited), whose type is `type_`, in the order of its structs; what has no type keeps its order."""
    if type_ is None:
        return value
    if isinstance(value, dict):
        if type_.form is Form.STRUCT:
            fields = type_.struct.fields
            known = {name: ordered(value[name], field.type) for name, field in fields.items() if name in value}
            return known | {name: item for name, item in value.items() if name not in known}
        return {name: ordered(value[name], type_.element) for name in sorted(value)}
    if isinstance(value, list):
        return [ordered(item, type_.element) for item in value]
    return value


def sorted_where_patched(value: Any, patch: Any) -> Any:
    """`value` with sorted keys wherever the merge patch `patch` has an object (a JSON patch: at the root)."""
    if not isinstance(value, dict):
        return value
    below = patch if isinstance(patch, dict) else {}
    return {
        name: sorted_where_patched(value[name], below[name]) if isinstance(below.get(name), dict) else value[name]
        for name in sorted(value)
    }
