"""Builds SchemaType nodes from schemas in OpenAPI v3 form: of built-in definitions, and of CRDs.

Nodes are shared: one a definition, one a plain scalar type. A field with
extensions of its own (list type, patch strategy, atomic) gets a node of its own.
Sources: kube-openapi schemaconv (what apply knows of a type), structural schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from vapi.schema.types import ListType, SchemaType, Shape

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/"

ANY = SchemaType(Shape.ANY)

OPAQUE: Mapping[str, SchemaType] = {
    name: SchemaType(Shape.ANY, name=name)
    for name in (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    )
} | {
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": SchemaType(
        Shape.MAP, name="io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", element=ANY
    ),
    # one leaf to apply, whose own schema has it as __untyped_atomic_
    "io.k8s.apimachinery.pkg.runtime.RawExtension": SchemaType(
        Shape.MAP, name="io.k8s.apimachinery.pkg.runtime.RawExtension", element=ANY, atomic=True
    ),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": SchemaType(
        Shape.SCALAR, name="io.k8s.apimachinery.pkg.api.resource.Quantity", json_type="quantity"
    ),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": SchemaType(
        Shape.SCALAR, name="io.k8s.apimachinery.pkg.util.intstr.IntOrString", json_type="int-or-string"
    ),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": SchemaType(
        Shape.SCALAR, name="io.k8s.apimachinery.pkg.apis.meta.v1.Time", json_type="string", format="date-time"
    ),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": SchemaType(
        Shape.SCALAR, name="io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", json_type="string", format="date-time"
    ),
}
"""Definitions whose JSON form is not what their schema says, or says nothing."""


@lru_cache(maxsize=256)
def scalar(json_type: str, json_format: str) -> SchemaType:
    return SchemaType(Shape.SCALAR, json_type=json_type, format=json_format)


class TypeBuilder:
    """One build: `raw` gives a definition's schema, `known` are nodes built before, `built` the new ones."""

    def __init__(self, raw: Callable[[str], Schema], known: Mapping[str, SchemaType]) -> None:
        self._raw = raw
        self._known = known
        self._schemas: dict[str, Schema] = {}
        self.built: dict[str, SchemaType] = {}

    def definition(self, name: str) -> SchemaType:
        found = self._known.get(name) or self.built.get(name) or OPAQUE.get(name)
        if found is not None:
            return found
        schema = self._schema(name)
        if schema.get("type") != "object":
            node = self.node(schema)
            self.built[name] = node
            return node
        fields: dict[str, SchemaType] = {}
        node = SchemaType(
            Shape.STRUCT,
            name=name,
            fields=fields,
            atomic=schema.get("x-kubernetes-map-type") == "atomic",
            required=frozenset(schema.get("required", ())),
        )
        self.built[name] = node  # before its fields: they may refer back to it
        for field_name, child in schema.get("properties", {}).items():
            fields[field_name] = self.node(child)
        return node

    def _schema(self, name: str) -> Schema:
        if name not in self._schemas:
            self._schemas[name] = self._raw(name)
        return self._schemas[name]

    def node(self, schema: Schema) -> SchemaType:
        """The type of a field, an item or a value."""
        node = self._reference(schema) or self._inline(schema)
        strategy = schema.get("x-kubernetes-patch-strategy")
        if strategy is None:
            return node
        return replace(
            node,
            patch_strategy=frozenset(strategy.split(",")),
            patch_merge_key=schema.get("x-kubernetes-patch-merge-key", ""),
        )

    def _reference(self, schema: Schema) -> SchemaType | None:
        reference = schema.get("$ref") or _lone(schema.get("allOf"))
        if reference is None:
            return None
        node = self.definition(reference.removeprefix(REFERENCE))
        if schema.get("x-kubernetes-map-type") == "atomic" and not node.atomic:
            # the definition's own fields are filled already or will be: `fields` is shared, not copied
            return replace(node, atomic=True)
        return node

    def _inline(self, schema: Schema) -> SchemaType:
        match schema.get("type", ""):
            case "array":
                return self._list(schema)
            case "object":
                return self._object(schema)
            case "":
                return self._untyped(schema)
            case json_type:
                return scalar(json_type, schema.get("format", ""))

    def _list(self, schema: Schema) -> SchemaType:
        items = schema.get("items")
        list_type = ListType(schema.get("x-kubernetes-list-type", "atomic"))
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ())) if list_type is ListType.MAP else ()
        return SchemaType(
            Shape.LIST,
            element=self.node(items) if items else ANY,
            list_type=list_type,
            list_map_keys=keys,
            key_defaults=self._key_defaults(items, keys) if items and keys else {},
        )

    def _key_defaults(self, items: Schema, keys: tuple[str, ...]) -> Mapping[str, Any]:
        reference = items.get("$ref") or _lone(items.get("allOf"))
        element = self._schema(reference.removeprefix(REFERENCE)) if reference else items
        properties = element.get("properties", {})
        return {key: properties[key]["default"] for key in keys if "default" in properties.get(key, ())}

    def _object(self, schema: Schema) -> SchemaType:
        atomic = schema.get("x-kubernetes-map-type") == "atomic"
        embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        if schema.get("properties") or embedded:
            open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties")
            fields = {name: self.node(child) for name, child in schema.get("properties", {}).items()}
            if embedded:
                fields = self.root_fields() | fields
            return SchemaType(
                Shape.STRUCT,
                fields=fields,
                element=ANY if open_ended else None,
                atomic=atomic,
                required=frozenset(schema.get("required", ())),
                embedded_resource=embedded,
            )
        values = schema.get("additionalProperties")
        element = self.node(values) if isinstance(values, dict) and values else ANY
        return SchemaType(Shape.MAP, element=element, atomic=atomic)

    def _untyped(self, schema: Schema) -> SchemaType:
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
            return OPAQUE["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
        if schema.get("properties"):
            return self._object(schema)
        return ANY

    def root(self, schema: Schema) -> SchemaType:
        """The type of a custom object: as declared, with apiVersion, kind and metadata."""
        node = self._object(schema) if schema.get("properties") else replace(ANY, shape=Shape.STRUCT, element=None)
        element = ANY if schema.get("x-kubernetes-preserve-unknown-fields") else node.element
        return replace(node, fields={**node.fields, **self.root_fields()}, element=element)

    def root_fields(self) -> dict[str, SchemaType]:
        """What every object has without declaring it: apiVersion, kind and metadata."""
        text = scalar("string", "")
        metadata = self.definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        return {"apiVersion": text, "kind": text, "metadata": metadata}


def _lone(all_of: Any) -> str | None:
    """The reference of a one-element allOf."""
    if isinstance(all_of, list) and len(all_of) == 1:
        reference = all_of[0].get("$ref")
        return reference if isinstance(reference, str) else None
    return None
