"""Selectors: what they match, and how the server words its refusals (golden/api_errors 77-81)."""

from __future__ import annotations

import pytest

from vapi import selectors
from vapi.errors import ApiError

NIL_KEY = "<nil>: Invalid value"


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a==b", {"a": "b"}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {"a": "d"}, False),
        ("a in ()", {"a": ""}, True),
        ("a in (,b)", {"a": ""}, True),
        ("a notin (b,c)", {}, True),
        ("a notin (b,c)", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("! a", {}, True),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "x"}, False),
        ("a<5", {"a": "4"}, True),
        ("a<5", {}, False),
        ("a=", {"a": ""}, True),
        ("in=notin", {"in": "notin"}, True),
        ("a=b,c,!d", {"a": "b", "c": "1"}, True),
        ("a=b,c,!d", {"a": "b", "c": "1", "d": "1"}, False),
        ("x.io/a=b,b!=c", {"x.io/a": "b"}, True),
    ],
)
def test_label_selectors_match(text: str, labels: dict[str, str], expected: bool) -> None:
    assert selectors.parse_label_selector(text).matches(labels) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "a>x",
            'unable to parse requirement: values[0]: Invalid value: "x": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ],
)
def test_a_bad_label_selector_is_refused_in_the_servers_words(text: str, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        selectors.parse_label_selector(text)
    assert (refused.value.code, refused.value.message) == (400, message)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of'),
        ("a=b-", 'unable to parse requirement: values[0][a]: Invalid value: "b-": a valid label must be'),
    ],
)
def test_keys_and_values_of_a_label_selector_are_checked(text: str, start: str) -> None:
    with pytest.raises(ApiError) as refused:
        selectors.parse_label_selector(text)
    assert refused.value.message.startswith(start)


def test_the_empty_label_selector_matches_everything_and_says_so() -> None:
    assert selectors.parse_label_selector("").empty
    assert selectors.parse_label_selector("").matches({"a": "b"})
    assert not selectors.parse_label_selector("a").empty


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        (None, {"a": "b"}, False),
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}, {"a": "c"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}, {"a": "b"}, False),
    ],
)
def test_selectors_of_objects_match(selector: dict[str, object] | None, labels: dict[str, str], expected: bool) -> None:
    assert selectors.label_selector_from_obj(selector).matches(labels) is expected


def test_a_null_selector_of_an_object_is_not_empty() -> None:
    assert not selectors.label_selector_from_obj(None).empty
    assert selectors.label_selector_from_obj({}).empty


def test_an_unknown_operator_of_an_object_is_refused() -> None:
    with pytest.raises(ApiError, match='"Foo" is not a valid label selector operator'):
        selectors.label_selector_from_obj({"matchExpressions": [{"key": "a", "operator": "Foo"}]})


POD = {"spec.nodeName": "spec.nodeName", "spec.host": "spec.nodeName", "status.phase": "status.phase"}


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("metadata.name=p", {"metadata.name": "p"}, True),
        ("metadata.name==p,metadata.namespace=n", {"metadata.name": "p", "metadata.namespace": "n"}, True),
        ("spec.nodeName=", {}, True),
        ("spec.nodeName!=", {}, False),
        ("spec.host=n", {"spec.nodeName": "n"}, True),
        ("status.phase!=Running", {"status.phase": "Failed"}, True),
        (r"metadata.name=a\,b", {"metadata.name": "a,b"}, True),
        (",metadata.name=p,", {"metadata.name": "p"}, True),
    ],
)
def test_field_selectors_match(text: str, fields: dict[str, str], expected: bool) -> None:
    assert selectors.parse_field_selector(text, POD).matches(fields) is expected


@pytest.mark.parametrize(
    ("text", "allowed", "custom", "message"),
    [
        ("data.a=1", {}, False, '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("spec.foo=1", POD, False, "field label not supported: spec.foo"),
        ("spec.foo=1", {}, True, "field label not supported: spec.foo"),
        ("foo", {}, False, "invalid selector: 'foo'; can't understand 'foo'"),
        (r"metadata.name=a\b", {}, False, r"invalid field selector: invalid escape sequence: \b"),
        ("metadata.name=a=b", {}, False, "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_a_bad_field_selector_is_refused(text: str, allowed: dict[str, str], custom: bool, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        selectors.parse_field_selector(text, allowed, custom=custom)
    assert (refused.value.code, refused.value.message) == (400, message)


def test_an_exact_field_is_found_for_the_fast_path() -> None:
    selector = selectors.parse_field_selector("metadata.name=p,metadata.namespace!=n")
    assert selector.exact("metadata.name") == "p"
    assert selector.exact("metadata.namespace") is None
    assert selectors.parse_field_selector("").empty
