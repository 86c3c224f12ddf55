"""Protobuf bodies: every recorded object comes back the same, and broken ones are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.schema.golden import GOLDEN, recorded
from tests.vapi.schema.protobuf_encoder import delimited, envelope, varint, whole
from vapi.errors import ApiError
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.schema.decode import PROTOBUF, Decoded, FieldValidation, decode_body
from vapi.schema.defaults import default_and_complete
from vapi.schema.protobuf import PREFIX, ProtobufError, decode_message, open_envelope
from vapi.schema.schemas import Schemas

PAIRS = [pair for pair in recorded("defaults_1.37.json") if pair["status"] == 201] if GOLDEN.exists() else []
CONFIGMAP = GVK("", "v1", "ConfigMap")
CRD = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


def kind_of(obj: Obj) -> GVK:
    group_version = GroupVersion.parse(obj["apiVersion"])
    return GVK(group_version.group, group_version.version, obj["kind"])


def decoded(data: bytes, expected: GVK, schemas: Schemas) -> Decoded:
    return decode_body(data, PROTOBUF, expected=expected, field_validation=FieldValidation.STRICT, schemas=schemas)


def encoded(obj: Obj, schemas: Schemas) -> bytes:
    type_ = schemas.types.for_gvk(kind_of(obj))
    assert type_
    return envelope(obj, type_)


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{i}-{p['out']['kind']}" for i, p in enumerate(PAIRS)])
def test_an_object_comes_through_protobuf_as_it_was(pair: dict[str, Any], schemas: Schemas) -> None:
    obj = pair["out"]
    gvk = kind_of(obj)
    result = decoded(encoded(obj, schemas), gvk, schemas).obj
    for one in (result, obj):  # kind and apiVersion of claim templates are not on the wire
        default_and_complete(gvk, one, schemas=schemas)
    assert result == obj


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{i}-{p['in']['kind']}" for i, p in enumerate(PAIRS)])
def test_what_a_client_sends_is_canonical_after_decoding(pair: dict[str, Any], schemas: Schemas) -> None:
    gvk = kind_of(pair["in"])
    sent = decoded(encoded(pair["in"], schemas), gvk, schemas).obj
    assert schemas.gate.passes(gvk, sent)
    default_and_complete(gvk, sent, schemas=schemas)
    assert schemas.gate.is_complete(gvk, sent)


def test_every_special_form_of_a_json_schema_survives(schemas: Schemas) -> None:
    props = {
        "type": "object",
        "default": {"a": [1, None]},
        "enum": [1, "x", None],
        "maximum": 1.5,
        "minimum": 2,
        "items": {"type": "string"},
        "additionalProperties": False,
        "properties": {"a": {"additionalProperties": {"type": "integer"}, "items": [{"type": "string"}]}},
        "dependencies": {"a": ["b"], "c": {"type": "object"}},
        "x-kubernetes-int-or-string": True,
    }
    version = {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": props}}
    obj = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x"},
        "spec": {"group": "g", "names": {"plural": "p", "kind": "K"}, "scope": "Cluster", "versions": [version]},
    }
    result = decoded(encoded(obj, schemas), CRD, schemas).obj
    assert result["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == props


def test_times_bytes_and_extra_values(schemas: Schemas) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"renewTime": "1969-12-31T23:59:59.000001Z", "leaseTransitions": -1},
    }
    assert decoded(encoded(lease, schemas), kind_of(lease), schemas).obj == lease
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"extra": {"a": ["b", "c"], "d": []}, "user": "u"},
    }
    found = decoded(encoded(review, schemas), kind_of(review), schemas).obj
    assert found["spec"] == review["spec"]


def test_options_of_a_delete_come_in_any_group(schemas: Schemas) -> None:
    options = {"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "dryRun": ["All"]}
    found = decoded(encoded(options, schemas), GVK("apps", "v1", "DeleteOptions"), schemas).obj
    assert found == options


def test_an_empty_type_meta_is_taken_from_the_request(schemas: Schemas) -> None:
    type_ = schemas.types.for_gvk(CONFIGMAP)
    assert type_
    body = envelope({"metadata": {"name": "x"}}, type_, api_version="", kind="")
    assert decoded(body, CONFIGMAP, schemas).obj == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
    }


def test_another_kind_is_refused(schemas: Schemas) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    with pytest.raises(ApiError) as refused:
        decoded(encoded(secret, schemas), CONFIGMAP, schemas)
    assert refused.value.message == (
        'Secret in version "v1" cannot be handled as a ConfigMap: '
        "converting (v1.Secret) to (core.ConfigMap): unknown conversion"
    )


def test_what_is_no_envelope_is_refused(schemas: Schemas) -> None:
    with pytest.raises(ApiError) as refused:
        decoded(b"xx", CONFIGMAP, schemas)
    assert refused.value.message == (
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be "
        "a protobuf message, expected prefix [107 56 115 0] (7878)"
    )


@pytest.mark.parametrize(
    "raw",
    [
        delimited(1, b"x")[:-1],
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b",
        whole(1, 5),
        delimited(2, delimited(1, b"\xff") + whole(2, 1)),
        varint(2**70),
    ],
    ids=["short", "endless", "group", "wire", "value", "key"],
)
def test_a_broken_message_is_refused(raw: bytes, schemas: Schemas) -> None:
    type_ = schemas.types.for_gvk(CONFIGMAP)
    assert type_
    with pytest.raises(ProtobufError):
        decode_message(raw, type_)


def test_unknown_numbers_are_skipped(schemas: Schemas) -> None:
    type_ = schemas.types.for_gvk(CONFIGMAP)
    assert type_
    raw = whole(99, 1) + varint(98 << 3 | 5) + b"abcd" + delimited(97, b"x") + varint(96 << 3 | 1) + b"12345678"
    assert decode_message(raw, type_) == {}


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(raw: bytes, schemas: Schemas) -> None:
    for gvk in (CONFIGMAP, GVK("", "v1", "Pod"), CRD):
        try:
            decoded(PREFIX + delimited(2, raw), gvk, schemas)
            open_envelope(PREFIX + raw)
        except (ApiError, ProtobufError):
            pass
