"""Definitions: the schemas of every built-in kind, loaded once and resolved as they are asked for.

The base is `_definitions.json` of the package kubernetes-validate (all
x-kubernetes-* extensions, no enums, no defaults); `data/overlays.json` adds the
value enums and defaults of the live document (contract §5.4). What stays in
memory is one compact JSON text a definition, without descriptions. *Measured*:
loading 15 ms, 0.4 MB kept; the SchemaType of Pod with all it refers to 2 ms, once.

Nothing is loaded at import: call `load_definitions()`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from threading import RLock
from typing import Any

from vapi import encoding
from vapi.gvk import GVK
from vapi.schema.build import TypeBuilder
from vapi.schema.types import SchemaType

Schema = dict[str, Any]
"""A schema as OpenAPI v3 writes it."""

PACKAGE_VERSION = "v1.37.0-local"
REFERENCE = "#/components/schemas/"
_PACKAGE_REFERENCE = "#/$defs/"

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DELETE_OPTIONS = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"


class UnknownDefinition(KeyError):
    """No definition of that name or kind."""


class Definitions:
    """Immutable from outside; what is built on demand is kept. Safe to use from several threads."""

    def __init__(self, compact: dict[str, bytes], kinds: dict[GVK, str]) -> None:
        self._compact = compact
        self._kinds = kinds
        self._types: dict[str, SchemaType] = {}
        self._lock = RLock()

    def names(self) -> Iterable[str]:
        return self._compact.keys()

    def kinds(self) -> Iterable[GVK]:
        """Every kind that has a definition; DeleteOptions and WatchEvent once a group-version."""
        return self._kinds.keys()

    def name_of(self, gvk: GVK) -> str:
        """The definition of a kind, such as `io.k8s.api.core.v1.Pod`. Raises UnknownDefinition."""
        try:
            return self._kinds[gvk]
        except KeyError:
            raise UnknownDefinition(gvk) from None

    def schema_type(self, name: str) -> SchemaType:
        """The type and, already built, everything it refers to. Raises UnknownDefinition."""
        found = self._types.get(name)
        if found is not None:
            return found
        with self._lock:
            builder = TypeBuilder(self.raw, self._types)
            found = builder.definition(name)
            self._types.update(builder.built)  # only now: nobody sees a node whose fields are still being filled
        return found

    def custom(self, schema: Schema) -> SchemaType:
        """The root type of a custom resource from its `openAPIV3Schema` (structural, no references).

        A STRUCT whose `element` is set takes undeclared fields of that type
        (x-kubernetes-preserve-unknown-fields). apiVersion, kind and metadata are added.
        """
        self.schema_type(OBJECT_META)
        builder = TypeBuilder(self.raw, self._types)
        return builder.root(schema)

    def for_gvk(self, gvk: GVK) -> SchemaType:
        return self.schema_type(self.name_of(gvk))

    def raw(self, name: str) -> Schema:
        """A private copy in OpenAPI v3 form, without descriptions: refs are `#/components/schemas/…`.

        A reference with anything beside it stands in `allOf`, as kube-apiserver
        writes it. Raises UnknownDefinition.
        """
        try:
            schema: Schema = encoding.loads(self._compact[name])
        except KeyError:
            raise UnknownDefinition(name) from None
        return schema

    def closure(self, names: Iterable[str]) -> set[str]:
        """`names` and all that they refer to."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(references(self.raw(name)))
        return found

    def described(self, names: Iterable[str]) -> dict[str, Schema]:
        """`raw` of each with its descriptions, for `kubectl explain`.

        Reads the package file again (about 20 ms): call it in a thread and keep
        the answer's bytes only.
        """
        package = _read_package()
        answer = {}
        for name in names:
            answer[name] = self.raw(name)
            _describe(answer[name], package[name])
        return answer


def load_definitions() -> Definitions:
    """Read and compact all definitions. *Measured*: 15 ms."""
    compact: dict[str, bytes] = {}
    kinds: dict[GVK, str] = {}
    overlays = encoding.loads((resources.files("vapi.schema") / "data" / "overlays.json").read_bytes())
    for name, schema in _read_package().items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            kinds[GVK(kind["group"], kind["version"], kind["kind"])] = name
        narrowed = _narrowed(schema)
        _decorate(narrowed, "", overlays.get(name, {}))
        compact[name] = encoding.dumps(narrowed)
    return Definitions(compact, kinds)


def references(schema: Any) -> list[str]:
    """Definition names that a raw schema refers to directly."""
    if isinstance(schema, list):
        return [name for item in schema for name in references(item)]
    if not isinstance(schema, dict):
        return []
    found = [name for value in schema.values() for name in references(value)]
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found.append(reference.removeprefix(REFERENCE))
    return found


def _read_package() -> dict[str, Schema]:
    # find_spec, not importlib.resources: importing the package would load its validators
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package kubernetes-validate is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / PACKAGE_VERSION
    definitions: dict[str, Schema] = encoding.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return definitions


_CHILDREN = ("items", "additionalProperties")


def _narrowed(schema: Schema) -> Schema:
    """Without description and the converter's enums, `[T, null]` back to T, references in OpenAPI form."""
    narrowed: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            narrowed[key] = {name: _narrowed(child) for name, child in value.items()}
        elif key in _CHILDREN:
            narrowed[key] = _narrowed(value)
        elif key == "type":
            narrowed[key] = value if isinstance(value, str) else next(t for t in value if t != "null")
        elif key == "$ref":
            narrowed[key] = REFERENCE + value[len(_PACKAGE_REFERENCE) :]
        elif key == "oneOf":
            # Quantity and IntOrString, in the order of the live document
            narrowed[key] = sorted((_narrowed(option) for option in value), key=lambda o: str(o["type"]) == "string")
            if narrowed[key][0]["type"] == "number":
                narrowed[key].reverse()
            else:
                narrowed["format"] = "int-or-string"
        elif key not in ("description", "enum"):
            narrowed[key] = value
    return narrowed


def _decorate(schema: Schema, place: str, overlay: dict[str, Any]) -> None:
    """Lay the overlay's enums and defaults over `schema`, in place, and move lone references into allOf."""
    for name, child in schema.get("properties", {}).items():
        _decorate(child, f"{place}.{name}" if place else name, overlay)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            _decorate(schema[key], place + mark, overlay)
    if place:
        schema.update(overlay.get(place, ()))
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]


def _describe(schema: Schema, source: Schema) -> None:
    if "description" in source:
        schema["description"] = source["description"]
        if "$ref" in schema:
            schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    for name, child in schema.get("properties", {}).items():
        _describe(child, source["properties"][name])
    for key in _CHILDREN:
        if key in schema:
            _describe(schema[key], source[key])
