"""The Go types behind the API, as tables: what decoding, error texts and protobuf follow.

kube-apiserver decodes a body into Go structs and encodes those again; what a
client gets back is that round trip. `data/gotypes.json.gz` (made by
tests/vapi/schema/tools/make_gotypes.py, facts only) holds names, types, tags
and protobuf numbers of all served structs; this module turns them into nodes,
a struct when it is first asked for. *Measured*: loading 5 ms.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from importlib import resources
from typing import Any

from vapi import encoding
from vapi.gvk import GVK, GroupVersion

META = "k8s.io/apimachinery/pkg/apis/meta/v1"
_API = "k8s.io/api/"
_FOLDERS = {"": "core", "internal.apiserver.k8s.io": "apiserverinternal"}
_ELSEWHERE = {
    "apiextensions.k8s.io": "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions",
    "apiregistration.k8s.io": "k8s.io/kube-aggregator/pkg/apis/apiregistration",
    "meta.k8s.io": "k8s.io/apimachinery/pkg/apis/meta",
}


class Form(StrEnum):
    """How a Go type reads and writes JSON."""

    STRUCT = "struct"
    MAP = "map"
    LIST = "list"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    BYTES = "bytes"
    # types with an UnmarshalJSON of their own
    TIME = "time"
    MICRO_TIME = "microTime"
    DURATION = "duration"
    QUANTITY = "quantity"
    INT_OR_STRING = "intOrString"
    RAW = "raw"  # any JSON, kept as it is: RawExtension, FieldsV1, apiextensions JSON
    PROPS_OR_ARRAY = "propsOrArray"
    PROPS_OR_BOOL = "propsOrBool"
    PROPS_OR_STRINGS = "propsOrStrings"


_JSON_SCHEMA = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
_SPECIAL = {
    f"{META}.Time": Form.TIME,
    f"{META}.MicroTime": Form.MICRO_TIME,
    f"{META}.Duration": Form.DURATION,
    f"{META}.FieldsV1": Form.RAW,
    "k8s.io/apimachinery/pkg/api/resource.Quantity": Form.QUANTITY,
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": Form.INT_OR_STRING,
    "k8s.io/apimachinery/pkg/runtime.RawExtension": Form.RAW,
    f"{_JSON_SCHEMA}.JSON": Form.RAW,
    f"{_JSON_SCHEMA}.JSONSchemaPropsOrArray": Form.PROPS_OR_ARRAY,
    f"{_JSON_SCHEMA}.JSONSchemaPropsOrBool": Form.PROPS_OR_BOOL,
    f"{_JSON_SCHEMA}.JSONSchemaPropsOrStringArray": Form.PROPS_OR_STRINGS,
}
_SCALARS = {
    "string": Form.STRING,
    "bool": Form.BOOL,
    "int32": Form.INTEGER,
    "int64": Form.INTEGER,
    "uint8": Form.INTEGER,
    "float64": Form.FLOAT,
}
_FOREIGN_NAMES = {"UID": "types", "NodeName": "types", "PatchType": "types"}
"""Named scalars of another package than the struct that uses them."""

_OMITEMPTY, _OMITZERO, _INLINE = 1, 2, 4


@dataclass(frozen=True, eq=False)
class GoType:
    """A type without its pointer. `text` is how Go prints it: `v1.PodSpec`, `[]string`, `int32`."""

    form: Form
    text: str
    bits: int = 0
    """INTEGER: 32 or 64."""
    element: GoType | None = None
    path: str = ""
    """Import path and name of a struct."""
    wraps_list: bool = False
    """A named slice inside a map (ExtraValue): a message of its own in protobuf."""
    _struct: Any = field(default=None, repr=False)

    @cached_property
    def struct(self) -> GoStruct:
        resolved: GoStruct = self._struct()
        return resolved


@dataclass(frozen=True, eq=False)
class GoField:
    """One JSON field of a struct; those of inlined structs are the outer struct's own."""

    name: str
    type: GoType
    pointer: bool
    emits_zero: bool
    """The zero value is written: `name: ""`, `resources: {}`, `rules: null`."""
    keeps_empty: bool
    """An empty list, map, text, number or false that was given is written."""
    trail: tuple[str, ...]
    """What Go's errors put before `name`: Go names of inlined structs around it."""


@dataclass(frozen=True, eq=False)
class ProtoField:
    """One field of a message. `name` "" means: an inlined struct whose fields lie in the outer object."""

    number: int
    name: str
    type: GoType
    pointer: bool
    keeps_empty: bool


@dataclass(frozen=True, eq=False)
class GoStruct:
    name: str
    """Without package: `PodSpec`."""
    fields: Mapping[str, GoField]
    messages: Mapping[int, ProtoField]

    @cached_property
    def always(self) -> tuple[GoField, ...]:
        """Fields that are written even when they were not given."""
        return tuple(f for f in self.fields.values() if f.emits_zero)


class GoTypes:
    """All structs by import path. Immutable from outside."""

    def __init__(self, structs: dict[str, list[list[Any]]], kinds: dict[str, list[str]]) -> None:
        self._rows = structs
        self._structs: dict[str, GoStruct] = {}
        self._types: dict[tuple[str, str], GoType] = {}
        self._registered = {GroupVersion.parse(gv): frozenset(names) for gv, names in kinds.items()}

    def path(self, gvk: GVK) -> str:
        """Import path of a kind's struct, "" if there is none."""
        for folder in self._folders(gvk):
            if f"{folder}.{gvk.kind}" in self._rows:
                return f"{folder}.{gvk.kind}"
        return ""

    def _folders(self, gvk: GVK) -> tuple[str, str]:
        group = _FOLDERS.get(gvk.group) or gvk.group.split(".")[0]
        return _ELSEWHERE.get(gvk.group, _API + group) + f"/{gvk.version}", META

    def for_gvk(self, gvk: GVK) -> GoType | None:
        """The kind's struct; options (DeleteOptions, …) are those of meta/v1 in every group-version."""
        path = self.path(gvk)
        return self.type(path, "") if path else None

    def is_registered(self, gvk: GVK) -> bool:
        """Does kube-apiserver's scheme know this kind, served or not?"""
        return gvk.kind in self._registered.get(gvk.group_version, ())

    def struct(self, path: str) -> GoStruct:
        found = self._structs.get(path)
        if found is None:
            found = self._structs[path] = self._build(path)
        return found

    def _build(self, path: str) -> GoStruct:
        folder, _, name = path.rpartition(".")
        package = folder.rpartition("/")[2]
        fields: dict[str, GoField] = {}
        messages: dict[int, ProtoField] = {}
        for go_name, json_name, spelled, flags, number in self._rows[path]:
            type_ = self.type(spelled.removeprefix("*"), package)
            pointer = spelled.startswith("*")
            if flags & _INLINE:
                for inner in type_.struct.fields.values():
                    trail = (go_name, *inner.trail)
                    fields[inner.name] = GoField(
                        inner.name, inner.type, inner.pointer, inner.emits_zero, inner.keeps_empty, trail
                    )
            elif json_name:
                fields[json_name] = _field(json_name, type_, pointer, flags)
            if number:
                json_name = "" if flags & _INLINE else json_name
                messages[number] = ProtoField(number, json_name, type_, pointer, not flags & (_OMITEMPTY | _OMITZERO))
        return GoStruct(name, fields, messages)

    def type(self, spelled: str, package: str) -> GoType:
        """A type in the notation of the table, as seen from `package` ("v1")."""
        key = (spelled, package)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = self._spell(spelled, package)
        return found

    def _spell(self, spelled: str, package: str) -> GoType:
        named = re.match(r"([\w./-]+)=(.*)", spelled)
        if named:
            name, inner = named[1], self.type(named[2], package)
            text = name.rpartition("/")[2] if "." in name else f"{package}.{name}"
            return GoType(inner.form, text, element=inner.element, wraps_list=inner.form is Form.LIST)
        if spelled == "[]uint8:uint8":
            return GoType(Form.BYTES, "[]uint8")
        if spelled.startswith("[]"):
            element = self.type(spelled[2:].removeprefix("*"), package)
            return GoType(Form.LIST, f"[]{element.text}", element=element)
        if spelled.startswith("map["):
            key, _, value = spelled[4:].partition("]")
            element = self.type(value, package)
            return GoType(Form.MAP, f"map[{_scalar_text(key, package)}]{element.text}", element=element)
        if ":" in spelled:
            kind = spelled.partition(":")[2]
            form = _SCALARS.get(kind, Form.RAW)
            return GoType(form, _scalar_text(spelled, package), bits=32 if kind == "int32" else 64)
        text = spelled.rpartition("/")[2]
        special = _SPECIAL.get(spelled)
        if special:
            props = {Form.PROPS_OR_ARRAY, Form.PROPS_OR_BOOL, Form.PROPS_OR_STRINGS}
            below = self.type(f"{_JSON_SCHEMA}.JSONSchemaProps", "v1") if special in props else None
            return GoType(special, text, element=below, path=spelled)
        return GoType(Form.STRUCT, text, path=spelled, _struct=lambda: self.struct(spelled))


def _field(name: str, type_: GoType, pointer: bool, flags: int) -> GoField:
    """Source: encoding/json's omitempty (never true of a struct) and omitzero."""
    structs = (Form.LIST, Form.MAP, Form.STRING, Form.INTEGER, Form.FLOAT, Form.BOOL, Form.BYTES)
    is_struct = type_.form not in structs
    omitempty, omitzero = bool(flags & _OMITEMPTY), bool(flags & _OMITZERO)
    emits_zero = not omitzero and (not omitempty or (is_struct and not pointer))
    return GoField(name, type_, pointer, emits_zero, pointer or not omitempty, ())


def _scalar_text(spelled: str, package: str) -> str:
    name, _, kind = spelled.partition(":")
    return name if name == kind else f"{_FOREIGN_NAMES.get(name, package)}.{name}"


def load_gotypes() -> GoTypes:
    packed = (resources.files("vapi.schema") / "data" / "gotypes.json.gz").read_bytes()
    table = encoding.loads(gzip.decompress(packed))
    return GoTypes(table["structs"], table["kinds"])
