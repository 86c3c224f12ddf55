"""Objects made by patches; the words are those a real kube-apiserver 1.37.1 gave for the same patches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vapi.gvk import GVK, Obj
from vapi.schema.prune import prune_unknown
from vapi.schema.schemas import Schemas
from vapi.schema.unstructured import TypedError, check_typed

CONFIGMAP = GVK("", "v1", "ConfigMap")
POD = GVK("", "v1", "Pod")
QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def configmap(**fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, **fields}


def pod(**fields: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": fields}


def limited(cpu: Any) -> Obj:
    return pod(containers=[{"name": "c", "resources": {"limits": {"cpu": cpu}}}])


@pytest.mark.parametrize(
    ("gvk", "obj", "strategic", "plain"),
    [
        (
            CONFIGMAP,
            configmap(data={"a": 1}),
            "cannot convert int64 to string",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            CONFIGMAP,
            configmap(data="x"),
            "cannot restore map from string",
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            CONFIGMAP,
            configmap(immutable="yes"),
            "unrecognized type: bool",
            "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool",
        ),
        (
            CONFIGMAP,
            configmap(binaryData={"a": "!!"}),
            "error decoding from json: illegal base64 data at input byte 0",
            "illegal base64 data at input byte 0",
        ),
        (
            CONFIGMAP,
            configmap(binaryData={"a": 5}),
            "cannot restore slice from int64",
            "json: cannot unmarshal number into Go struct field ConfigMap.binaryData of type []uint8",
        ),
        (
            POD,
            pod(activeDeadlineSeconds="5"),
            "unrecognized type: int64",
            "json: cannot unmarshal string into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            POD,
            pod(activeDeadlineSeconds=5.5),
            "cannot convert float64 to int64",
            "json: cannot unmarshal number 5.5 into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (POD, limited("abc"), QUANTITY, QUANTITY),
        (POD, limited(True), QUANTITY, QUANTITY),
        (
            POD,
            pod(securityContext=[]),
            "cannot restore struct from: slice",
            "json: cannot unmarshal array into Go struct field PodSpec.spec.securityContext of type "
            "v1.PodSecurityContext",
        ),
        (
            POD,
            pod(containers={"name": "c"}),
            "cannot restore slice from map",
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
    ],
)
def test_a_wrong_type_is_worded_by_the_kind_of_patch(
    gvk: GVK, obj: Obj, strategic: str, plain: str, schemas: Schemas
) -> None:
    with pytest.raises(TypedError) as refused:
        check_typed(obj, gvk, schemas=schemas, strategic=True)
    assert str(refused.value) == strategic
    with pytest.raises(TypedError) as refused:
        check_typed(obj, gvk, schemas=schemas)
    assert str(refused.value) == plain


def test_a_strategic_patch_takes_whole_floats_and_cuts_integers(schemas: Schemas) -> None:
    checked = check_typed(pod(activeDeadlineSeconds=5.0, priority=99999999999), POD, schemas=schemas, strategic=True)
    assert checked.obj["spec"] == {"activeDeadlineSeconds": 5, "priority": 1215752191}


@pytest.mark.parametrize("strategic", [True, False])
def test_unknown_fields_are_dropped_and_named(schemas: Schemas, strategic: bool) -> None:
    obj = pod(containers=[{"name": "c", "foo": 1, "ports": [{"containerPort": 5, "x": 1}]}])
    before = copy.deepcopy(obj)
    checked = check_typed(obj, POD, schemas=schemas, strategic=strategic)
    assert checked.complaints == (
        'unknown field "spec.containers[0].foo"',
        'unknown field "spec.containers[0].ports[0].x"',
    )
    assert checked.obj["spec"]["containers"] == [{"name": "c", "ports": [{"containerPort": 5}]}]
    assert obj == before


def test_a_canonical_object_is_returned_as_it_is(schemas: Schemas) -> None:
    obj = configmap(data={"a": "b"})
    assert check_typed(obj, CONFIGMAP, schemas=schemas).obj is obj


def test_a_custom_object_is_not_looked_at(schemas: Schemas) -> None:
    obj = {"apiVersion": "ex.io/v1", "kind": "Foo", "spec": 5}
    assert check_typed(obj, GVK("ex.io", "v1", "Foo"), schemas=schemas).obj is obj


def test_pruning_keeps_what_the_schema_preserves(schemas: Schemas) -> None:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"in": {"type": "object"}}}
    one = {"type": "object", "properties": {"a": {"type": "string"}}}
    spec = {"type": "object", "properties": {"free": free, "one": one, "list": {"type": "array", "items": one}}}
    schema = schemas.definitions.custom({"type": "object", "properties": {"spec": spec}})
    obj = {
        "apiVersion": "ex.io/v1",
        "metadata": {"name": "x", "unknown": 1},
        "top": 1,
        "spec": {"foo": 1, "free": {"x": {"y": 1}}, "list": [{"z": 1, "a": "b"}], "one": {"z": 1}},
    }
    assert prune_unknown(obj, schema) == [
        'unknown field "spec.foo"',
        'unknown field "spec.list[0].z"',
        'unknown field "spec.one.z"',
        'unknown field "top"',
    ]
    assert obj["spec"] == {"free": {"x": {"y": 1}}, "list": [{"a": "b"}], "one": {}}
    assert obj["metadata"] == {"name": "x", "unknown": 1}
