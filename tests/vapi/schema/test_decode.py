"""Decoding at its edges: duplicates, depth, odd bytes, YAML, custom resources; nothing but ApiError gets out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vapi.schema.tools.decode_cases import deep
from vapi import encoding
from vapi.errors import ApiError
from vapi.gvk import GVK
from vapi.schema import jsontext
from vapi.schema.decode import (
    JSON,
    PROTOBUF,
    YAML,
    Decoded,
    FieldValidation,
    decode_body,
    decode_custom_body,
    may_have_duplicates,
    settle,
)
from vapi.schema.schemas import Schemas

CONFIGMAP = GVK("", "v1", "ConfigMap")
POD = GVK("", "v1", "Pod")
CRD = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
FOO = GVK("ex.io", "v1", "Foo")
MEDIA_TYPES = (JSON, YAML, PROTOBUF)


def decode(
    body: bytes | str,
    schemas: Schemas,
    *,
    media_type: str = JSON,
    expected: GVK = CONFIGMAP,
    validation: FieldValidation = FieldValidation.WARN,
) -> Decoded:
    data = body.encode() if isinstance(body, str) else body
    return decode_body(data, media_type, expected=expected, field_validation=validation, schemas=schemas)


def refusal(body: bytes | str, schemas: Schemas, **options: Any) -> str:
    with pytest.raises(ApiError) as refused:
        decode(body, schemas, **options)
    assert refused.value.code == 400
    return refused.value.message


def test_parameters_of_the_content_type_are_ignored_and_none_is_json(schemas: Schemas) -> None:
    for media_type in ("", "application/json; charset=utf-8", "Application/JSON"):
        assert decode('{"metadata":{"name":"x"}}', schemas, media_type=media_type).obj["metadata"] == {"name": "x"}


def test_another_media_type_is_a_415(schemas: Schemas) -> None:
    with pytest.raises(ApiError) as refused:
        decode("x", schemas, media_type="text/plain")
    assert (refused.value.code, refused.value.message) == (
        415,
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )


def test_ignore_says_nothing_and_takes_the_last(schemas: Schemas) -> None:
    body = '{"metadata":{"name":"x","y":1},"data":{"a":"1","a":"2"}}'
    found = decode(body, schemas, validation=FieldValidation.IGNORE)
    assert (found.obj["data"], found.warnings) == ({"a": "2"}, ())


def test_an_accepted_other_kind_keeps_its_name(schemas: Schemas) -> None:
    eviction, old = GVK("policy", "v1", "Eviction"), GVK("policy", "v1beta1", "Eviction")
    body = b'{"apiVersion":"policy/v1beta1","kind":"Eviction","metadata":{"name":"x"}}'
    found = decode_body(
        body,
        JSON,
        expected=eviction,
        accepted=(old,),
        field_validation=FieldValidation.STRICT,
        schemas=schemas,
    )
    assert found.obj["apiVersion"] == "policy/v1beta1"


@pytest.mark.parametrize("depth", [600, 1100, 10_000, 200_000])
@pytest.mark.parametrize("media_type", [JSON, YAML])
def test_deep_bodies_are_answered(depth: int, media_type: str, schemas: Schemas) -> None:
    for body in (deep(depth), f'{{"metadata":{deep(depth)}}}', "[" * depth, "- " * depth):
        assert refusal(body, schemas, media_type=media_type, validation=FieldValidation.STRICT)


def test_a_deep_custom_resource_definition_is_answered(schemas: Schemas) -> None:
    schema = '{"properties":{"a":' * 300 + "{}" + "}}" * 300
    body = '{"metadata":{"name":"x"},"spec":{"versions":[{"name":"v1","schema":{"openAPIV3Schema":' + schema + "}}]}}"
    try:
        decode(body, schemas, expected=CRD)
    except ApiError as error:
        assert error.code == 400


@pytest.mark.parametrize(
    "body",
    [
        '{"metadata":{"name":"x"},"data":{"a":1' + "0" * 5000 + "}}",
        '{"metadata":{"name":"x","generation":1' + "0" * 5000 + "}}",
        '{"metadata":{"name":"x","generation":1e999999}}',
        '{"metadata":{"name":"x","generation":-0}}',
        '{"kind":"Pod","spec":{"containers":[{"resources":{"limits":{"cpu":"1e999999999"}}}]}}',
        '{"kind":"Pod","spec":{"containers":[{"resources":{"limits":{"cpu":' + "9" * 9999 + "}}}]}}",
        '{"data":{"a":NaN}}',
        '{"data":{"a":-Infinity}}',
    ],
    ids=lambda body: body[:50],
)
def test_odd_numbers_are_refused(body: str, schemas: Schemas) -> None:
    assert refusal(body, schemas, expected=POD if "Pod" in body else CONFIGMAP)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"data":{"a":"\\ud800"}}', "�"),
        (b'{"data":{"a":"\\ud83d\\ude00"}}', "\U0001f600"),
        (b'{"data":{"a":"\xff"}}', "�"),
        (b'{"data":{"a":"\\u0000"}}', "\0"),
    ],
)
def test_odd_characters_become_what_go_makes_of_them(body: bytes, value: str, schemas: Schemas) -> None:
    found = decode(body, schemas)
    assert found.obj["data"] == {"a": value}
    assert encoding.dumps(found.obj)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a" :2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":[{"c":1,"c":1}]}}',
        b'{"a" :1,"a":2,"b":{"x":"\\":"}}',
        b'{"x":"\\u0022:","a":1,"a":2}',
        b'{"x":"\\u003afoo","a":1,"a":2}',
    ],
)
def test_a_duplicate_is_never_missed(body: bytes) -> None:
    assert may_have_duplicates(body, encoding.loads(body))


@pytest.mark.parametrize("body", [b'{"a":"b\\":c"}', b'{"a":":b","c":[1,2]}', b'{"a": {"b": "\\\\\\":"}}', b"[]"])
def test_ordinary_bodies_are_seen_to_have_none(body: bytes) -> None:
    assert not may_have_duplicates(body, encoding.loads(body))


KEYS = st.sampled_from(["a", "b", '"', ":", '":', "\\", "é", ""])
PIECES = st.recursive(
    st.sampled_from(["1", '"x"', '":"', '"\\":"', '"\\u0022:"']),
    lambda inner: st.lists(st.tuples(KEYS, st.sampled_from([":", " :", ": ", "\n:"]), inner), max_size=3).map(
        lambda members: "{" + ",".join(json.dumps(k) + colon + v for k, colon, v in members) + "}"
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(text=PIECES)
def test_the_count_of_keys_finds_what_a_parser_with_hooks_finds(text: str) -> None:
    repeated: list[str] = []

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.append("x")
        return found

    json.loads(text, object_pairs_hook=hook)
    if repeated:
        assert may_have_duplicates(text.encode(), encoding.loads(text))


@settings(max_examples=300)
@given(data=st.binary(max_size=60), media_type=st.sampled_from(MEDIA_TYPES))
def test_any_bytes_give_an_object_or_an_api_error(data: bytes, media_type: str, schemas: Schemas) -> None:
    try:
        found = decode(data, schemas, media_type=media_type)
        assert encoding.dumps(found.obj)
    except ApiError as error:
        assert encoding.dumps(error.status())


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "containers", "name", "data", "kind", "limits", "x", "status", "labels"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(tree=TREES, media_type=st.sampled_from([JSON, YAML]), expected=st.sampled_from([CONFIGMAP, POD, CRD]))
def test_any_document_gives_an_object_or_an_api_error(
    tree: Any, media_type: str, expected: GVK, schemas: Schemas
) -> None:
    try:
        found = decode(json.dumps(tree), schemas, media_type=media_type, expected=expected)
    except ApiError as error:
        assert encoding.dumps(error.status())
    else:
        assert schemas.gate.passes(expected, found.obj)


@settings(max_examples=200)
@given(text=st.text(alphabet='{}[]",:0123e+-.tfnul \\"ax\n', max_size=20))
def test_what_python_takes_for_json_and_what_not_is_worded(text: str) -> None:
    try:
        jsontext.plain(jsontext.parse(text.encode()))
    except jsontext.JsonSyntaxError as error:
        assert str(error)


def test_a_custom_resource_keeps_nulls_and_names_duplicates_first(schemas: Schemas) -> None:
    body = (
        '{"apiVersion":"ex.io/v1","kind":"Foo","metadata":{"name":"s","foo":1},'
        '"spec":{"replicas":1,"replicas":2,"x":null}}'
    )
    found = decode_custom_body(body.encode(), JSON, expected=FOO, schemas=schemas)
    assert found.obj["spec"] == {"replicas": 2, "x": None}
    assert found.obj["metadata"] == {"name": "s"}
    complaints = (*found.complaints, 'unknown field "spec.foo"')
    with pytest.raises(ApiError) as refused:
        settle(complaints, found.yaml_lines, FOO, FieldValidation.STRICT)
    assert refused.value.message == (
        'Foo in version "v1" cannot be handled as a Foo: strict decoding error: duplicate field "spec.replicas", '
        'unknown field "metadata.foo", unknown field "spec.foo"'
    )
    assert settle(complaints, found.yaml_lines, FOO, FieldValidation.WARN) == complaints


def test_a_custom_resource_with_a_number_beyond_float64_is_refused(schemas: Schemas) -> None:
    with pytest.raises(ApiError) as refused:
        decode_custom_body(b'{"metadata":{"name":"x"},"spec":1e999999}', JSON, expected=FOO, schemas=schemas)
    assert "cannot unmarshal number 1e999999 into Go value of type float64" in refused.value.message


def test_a_custom_resource_of_another_version_is_refused(schemas: Schemas) -> None:
    body = b'{"apiVersion":"ex.io/v2","kind":"Foo","metadata":{"name":"x"}}'
    with pytest.raises(ApiError) as refused:
        decode_custom_body(body, JSON, expected=FOO, schemas=schemas)
    assert refused.value.message == (
        "the API version in the data (ex.io/v2) does not match the expected API version (ex.io/v1)"
    )


def test_custom_resources_take_no_protobuf(schemas: Schemas) -> None:
    with pytest.raises(ApiError) as refused:
        decode_custom_body(b"k8s\0", PROTOBUF, expected=FOO, schemas=schemas)
    assert refused.value.code == 415


@settings(max_examples=200)
@given(tree=TREES, media_type=st.sampled_from([JSON, YAML]))
def test_any_custom_document_gives_an_object_or_an_api_error(tree: Any, media_type: str, schemas: Schemas) -> None:
    try:
        found = decode_custom_body(json.dumps(tree).encode(), media_type, expected=FOO, schemas=schemas)
        assert encoding.dumps(found.obj)
    except ApiError as error:
        assert error.code == 400
