"""What the gate lets through must be what decoding would leave unchanged: checked against the slow walk."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapi.gvk import GVK, Obj
from vapi.schema import godecode
from vapi.schema.schemas import Schemas

POD = GVK("", "v1", "Pod")
LEASE = GVK("coordination.k8s.io", "v1", "Lease")
CRD = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


def pod(**container: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [{"name": "c", **container}]}}


@pytest.mark.parametrize(
    "container",
    [
        {"image": None},
        {"image": ""},
        {"image": 5},
        {"command": []},
        {"stdin": False},
        {"foo": "bar"},
        {"ports": [{"containerPort": 80.0}]},
        {"ports": [{"containerPort": True}]},
        {"ports": [{"containerPort": 2**31}]},
        {"ports": [{"containerPort": 80, "hostPort": 0}]},
        {"resources": {"limits": {"cpu": 1}}},
        {"resources": {"limits": {"cpu": "1000m"}}},
        {"resources": {"limits": {"cpu": "1024Mi"}}},
        {"livenessProbe": {"httpGet": {"port": 1.5}}},
    ],
    ids=repr,
)
def test_what_kubernetes_would_change_or_refuse_does_not_pass(container: Obj, schemas: Schemas) -> None:
    assert not schemas.gate.passes(POD, pod(**container))


@pytest.mark.parametrize(
    "container",
    [
        {},
        {"resources": {}},
        {"resources": {"limits": {"cpu": "1500m", "memory": "1Gi", "a/b": "0"}}},
        {"securityContext": {"runAsUser": 0, "privileged": False}},
        {"livenessProbe": {"httpGet": {"port": "http"}}},
        {"command": [""], "env": [{"name": "a"}]},
    ],
    ids=repr,
)
def test_what_is_canonical_passes(container: Obj, schemas: Schemas) -> None:
    assert schemas.gate.passes(POD, pod(**container))


def test_a_kind_without_a_go_type_never_passes(schemas: Schemas) -> None:
    assert not schemas.gate.passes(GVK("ex.io", "v1", "Foo"), {})


def test_an_object_is_complete_with_all_that_go_writes(schemas: Schemas) -> None:
    obj = pod(resources={})
    assert not schemas.gate.is_complete(POD, obj)
    assert schemas.gate.is_complete(POD, {**obj, "status": {}})


def nested(depth: int) -> Obj:
    value: Obj = {"type": "object"}
    for _ in range(depth):
        value = {"properties": {"a": value}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": value}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"versions": [version]},
    }


def test_a_deep_schema_is_answered(schemas: Schemas) -> None:
    assert schemas.gate.passes(CRD, nested(10))
    assert schemas.gate.passes(CRD, nested(400)) in (True, False)


QUANTITIES = st.one_of(
    st.from_regex(r"[0-9]{1,13}(\.[0-9]{1,4})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|e3|E-6)?", fullmatch=True),
    st.text(max_size=6),
    st.integers(),
)
TIMES = st.one_of(
    st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{6})?Z", fullmatch=True),
    st.text(max_size=6),
)
BASE64 = st.one_of(st.from_regex(r"[AQgwEIz09+/]{0,6}={0,2}", fullmatch=True), st.text(max_size=6))


def agrees(gvk: GVK, obj: Obj, schemas: Schemas) -> None:
    """Passing means: decoding changes nothing. The other way round is speed only."""
    type_ = schemas.types.for_gvk(gvk)
    assert type_
    if not schemas.gate.passes(gvk, obj):
        return
    decoded, complaints = godecode.decode(copy.deepcopy(obj), type_)
    assert (decoded, complaints) == (obj, [])


@settings(max_examples=300)
@given(quantity=QUANTITIES)
def test_a_quantity_that_passes_is_canonical(quantity: Any, schemas: Schemas) -> None:
    agrees(POD, pod(resources={"limits": {"cpu": quantity}}), schemas)


@settings(max_examples=200)
@given(time=TIMES)
def test_a_time_that_passes_is_canonical(time: str, schemas: Schemas) -> None:
    spec = {"renewTime": time}
    agrees(LEASE, {"metadata": {"creationTimestamp": time}}, schemas)
    agrees(LEASE, {"spec": spec}, schemas)


@settings(max_examples=200)
@given(text=BASE64)
def test_base64_that_passes_is_canonical(text: str, schemas: Schemas) -> None:
    agrees(GVK("", "v1", "Secret"), {"data": {"a": text}}, schemas)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    ["containers", "volumes", "hostNetwork", "nodeSelector", "priority", "securityContext", "overhead", "hostname"]
)


@settings(max_examples=300)
@given(spec=st.dictionaries(FIELDS, JSON_VALUES, max_size=2))
def test_a_spec_that_passes_is_canonical(spec: Obj, schemas: Schemas) -> None:
    agrees(POD, {"spec": spec}, schemas)
