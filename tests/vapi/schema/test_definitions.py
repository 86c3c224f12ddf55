"""What the definitions say of types, and that they are the live document's but for descriptions."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.vapi.schema.golden import GOLDEN
from vapi.gvk import GVK
from vapi.schema.definitions import Definitions, UnknownDefinition
from vapi.schema.types import ListType, SchemaType, Shape

POD = GVK("", "v1", "Pod")


def at(node: SchemaType, path: str) -> SchemaType:
    """The node at `spec.containers[].ports`; `[]` steps into items and values."""
    for part in path.replace("[]", ".[]").split("."):
        if part == "[]":
            assert node.element is not None
            node = node.element
        else:
            node = node.fields[part]
    return node


@pytest.fixture(scope="session")
def pod(definitions: Definitions) -> SchemaType:
    return definitions.for_gvk(POD)


def test_an_unknown_kind_and_an_unknown_name_are_refused(definitions: Definitions) -> None:
    with pytest.raises(UnknownDefinition):
        definitions.for_gvk(GVK("", "v1", "Nope"))
    with pytest.raises(UnknownDefinition):
        definitions.schema_type("nope")


def test_a_type_is_built_once(definitions: Definitions, pod: SchemaType) -> None:
    assert definitions.for_gvk(POD) is pod
    assert at(pod, "spec") is definitions.schema_type("io.k8s.api.core.v1.PodSpec")


def test_the_ports_of_a_container_are_keyed_by_port_and_protocol(pod: SchemaType) -> None:
    ports = at(pod, "spec.containers[].ports")
    assert ports.shape is Shape.LIST
    assert ports.list_type is ListType.MAP
    assert ports.list_map_keys == ("containerPort", "protocol")
    assert ports.key_defaults["protocol"] == "TCP"
    assert ports.patch_merge_key == "containerPort"
    assert ports.patch_strategy == {"merge"}


@pytest.mark.parametrize(
    ("path", "shape", "json_type"),
    [
        ("spec.containers[].resources.limits[]", Shape.SCALAR, "quantity"),
        ("spec.containers[].livenessProbe.httpGet.port", Shape.SCALAR, "int-or-string"),
        ("spec.containers[].command[]", Shape.SCALAR, "string"),
        ("spec.nodeSelector", Shape.MAP, ""),
        ("metadata.creationTimestamp", Shape.SCALAR, "string"),
        ("metadata.managedFields[].fieldsV1", Shape.MAP, ""),
        ("spec.activeDeadlineSeconds", Shape.SCALAR, "integer"),
    ],
)
def test_the_shape_of_a_field(pod: SchemaType, path: str, shape: Shape, json_type: str) -> None:
    node = at(pod, path)
    assert (node.shape, node.json_type) == (shape, json_type)


def test_volumes_are_merged_with_retained_keys_and_node_selectors_are_atomic(pod: SchemaType) -> None:
    assert at(pod, "spec.volumes").patch_strategy == {"merge", "retainKeys"}
    assert at(pod, "spec.nodeSelector").atomic
    assert not at(pod, "metadata.labels").atomic


def test_an_atomic_field_does_not_make_its_definition_atomic(definitions: Definitions) -> None:
    volume = definitions.for_gvk(GVK("", "v1", "PersistentVolume"))
    claim = at(volume, "spec.claimRef")
    assert claim.atomic
    assert claim.fields["name"].json_type == "string"


def test_a_recursive_schema_refers_back_to_itself(definitions: Definitions) -> None:
    props = definitions.schema_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    assert at(props, "properties[]") is props


def test_every_definition_can_be_built(definitions: Definitions) -> None:
    for name in definitions.names():
        assert definitions.schema_type(name).shape in Shape


def test_a_closure_holds_what_is_referred_to_indirectly(definitions: Definitions) -> None:
    names = definitions.closure(["io.k8s.api.core.v1.Pod"])
    assert "io.k8s.api.core.v1.ContainerPort" in names
    assert "io.k8s.api.core.v1.Service" not in names


def test_descriptions_come_on_demand(definitions: Definitions) -> None:
    name = "io.k8s.api.core.v1.ContainerPort"
    described = definitions.described([name])[name]
    assert described["properties"]["protocol"]["default"] == "TCP"
    assert "Protocol" in described["properties"]["protocol"]["description"]
    assert "description" not in json.dumps(definitions.raw(name))


def test_a_custom_schema_keeps_what_it_declares_and_gets_metadata(definitions: Definitions) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {
                    "port": {"x-kubernetes-int-or-string": True},
                    "rules": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "properties": {"name": {"type": "string", "default": "a"}}},
                    },
                    "template": {"type": "object", "x-kubernetes-embedded-resource": True},
                },
            },
            "free": {"type": "object"},
        },
    }
    root = definitions.custom(schema)
    assert at(root, "metadata.name").json_type == "string"
    assert at(root, "spec.port").json_type == "int-or-string"
    assert at(root, "spec.rules").key_defaults == {"name": "a"}
    assert at(root, "spec").element is not None
    assert at(root, "spec.template").embedded_resource
    assert at(root, "spec.template.metadata.labels[]").json_type == "string"
    assert at(root, "free[]").shape is Shape.ANY
    assert root.element is None


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {
        key: without_descriptions(value)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str))
    }
    # a reference stands in allOf for the sake of a description too
    if set(bare) == {"allOf"}:
        return bare["allOf"][0]
    return bare


@pytest.mark.skipif(not GOLDEN.exists(), reason="golden data is not beside this checkout")
def test_every_live_schema_is_reproduced_but_for_descriptions(definitions: Definitions) -> None:
    with gzip.open(GOLDEN / "openapi_v3_live_1.37.json.gz") as source:
        documents = json.load(source)
    checked = 0
    for document in documents.values():
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            ours = definitions.raw(name)
            theirs = without_descriptions(schema)
            if name.endswith((".DeleteOptions", ".WatchEvent")):  # the live document lists its own group only
                ours.pop("x-kubernetes-group-version-kind")
                theirs.pop("x-kubernetes-group-version-kind")
            assert ours == theirs, name
            checked += 1
    assert checked > 600
