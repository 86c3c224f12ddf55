"""SchemaType: what patching, apply, strict decoding and the protobuf decoder must know of a field's type.

Built from the OpenAPI definitions by `schema.definitions`, with everything a
node refers to. Some schemas are recursive (JSONSchemaProps), so the graph of
nodes has cycles: walk it along an object, never by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Shape(StrEnum):
    SCALAR = "scalar"  # also Quantity, IntOrString, Time, and everything opaque to apply
    STRUCT = "struct"  # declared fields only
    MAP = "map"  # any key, one element type
    LIST = "list"
    ANY = "any"  # preserve-unknown-fields, raw JSON: apply deduces (maps granular, lists atomic)


class ListType(StrEnum):
    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(frozen=True, eq=False)
class SchemaType:
    """One node. Identity is the type's: two fields of one definition share the node where they can."""

    shape: Shape
    name: str = ""
    """Of the definition, such as `io.k8s.api.core.v1.Container`; empty for inline types."""
    json_type: str = ""
    """string, integer, number, boolean, int-or-string, quantity, or "" for composites and ANY."""
    format: str = ""
    fields: Mapping[str, SchemaType] = field(default_factory=dict, repr=False)
    """STRUCT: declared fields by JSON name."""
    element: SchemaType | None = field(default=None, repr=False)
    """MAP and LIST. Of a STRUCT (custom resources only): undeclared fields are kept and have this type."""
    atomic: bool = False
    """x-kubernetes-map-type: atomic (STRUCT or MAP): owned as one leaf."""
    list_type: ListType = ListType.ATOMIC
    list_map_keys: tuple[str, ...] = ()
    key_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of a LIST of MAP type: schema defaults of missing key fields (port `protocol`: "TCP")."""
    patch_strategy: frozenset[str] = frozenset()
    """Of the field that holds this node: merge, replace, retainKeys (strategic merge patch)."""
    patch_merge_key: str = ""
    required: frozenset[str] = frozenset()
    embedded_resource: bool = False
