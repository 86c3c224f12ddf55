"""Pruning by SchemaType: what a custom resource's schema does not declare is dropped and named."""

from __future__ import annotations

from typing import Any

from vapi.errors import go_quote
from vapi.schema.types import SchemaType, Shape

_ROOT = ("apiVersion", "kind", "metadata")


def prune_unknown(value: Any, schema: SchemaType) -> list[str]:
    """Drop undeclared fields, in place; returns `unknown field "spec.x"` in the order of their paths.

    Kept are fields of a STRUCT with `element` (preserve-unknown-fields; below it
    declared fields are still pruned) and everything below ANY. apiVersion, kind
    and metadata of the root and of embedded objects are the caller's.
    """
    found: list[str] = []
    _walk(value, schema, "", found, root=True)
    return found


def _walk(value: Any, schema: SchemaType, path: str, found: list[str], *, root: bool = False) -> None:
    if isinstance(value, dict) and schema.shape is Shape.STRUCT:
        for name in sorted(value):
            place = f"{path}.{name}" if path else name
            field = schema.fields.get(name) or schema.element
            if (root or schema.embedded_resource) and name in _ROOT:
                continue
            if field is None:
                del value[name]
                found.append(f"unknown field {go_quote(place)}")
            else:
                _walk(value[name], field, place, found)
    elif isinstance(value, dict) and schema.shape is Shape.MAP and schema.element:
        for name in sorted(value):
            _walk(value[name], schema.element, f"{path}.{name}" if path else name, found)
    elif isinstance(value, list) and schema.shape is Shape.LIST and schema.element:
        for index, item in enumerate(value):
            _walk(item, schema.element, f"{path}[{index}]", found)
