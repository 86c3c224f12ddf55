"""Field sets: the algebra is that of plain sets of paths, and the wire form is the set."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.registry import fieldpath
from vapi.registry.fieldpath import FieldSet, Path

_ELEMENTS = st.sampled_from(["f:a", "f:b", "f:c", 'k:{"name":"x"}', 'k:{"port":80}', 'v:"s"', "v:1"])
_PATHS = st.lists(st.lists(_ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)


def _set(paths: list[Path]) -> FieldSet:
    return fieldpath.from_paths(paths)


def _model(fields: FieldSet) -> set[Path]:
    return set(fieldpath.paths(fields))


@given(_PATHS)
def test_a_set_has_the_paths_it_was_made_of(paths: list[Path]) -> None:
    fields = _set(paths)
    assert _model(fields) == set(paths)
    assert all(fieldpath.contains(fields, path) for path in paths)
    assert not fieldpath.contains(fields, ())


@given(_PATHS)
def test_decoding_what_was_encoded_gives_the_same_set(paths: list[Path]) -> None:
    fields = _set(paths)
    assert fieldpath.decode(json.loads(json.dumps(fields))) == fields


@given(_PATHS, _PATHS)
def test_union_difference_and_intersection_are_those_of_sets_of_paths(left: list[Path], right: list[Path]) -> None:
    ours, theirs = _set(left), _set(right)
    before = json.dumps([ours, theirs])
    assert _model(fieldpath.union(ours, theirs)) == set(left) | set(right)
    assert _model(fieldpath.difference(ours, theirs)) == set(left) - set(right)
    assert _model(fieldpath.intersection(ours, theirs)) == set(left) & set(right)
    assert fieldpath.union(ours, theirs) == _set(left + right)
    assert fieldpath.difference(ours, theirs) == _set(sorted(set(left) - set(right)))
    assert fieldpath.intersection(ours, theirs) == _set(sorted(set(left) & set(right)))
    assert json.dumps([ours, theirs]) == before


@given(_PATHS, _PATHS)
def test_without_takes_what_lies_below_too(left: list[Path], right: list[Path]) -> None:
    kept = {path for path in left if not any(path[: len(other)] == other for other in right)}
    assert fieldpath.without(_set(left), _set(right)) == _set(sorted(kept))


def test_a_difference_that_takes_nothing_is_the_set_itself() -> None:
    fields = _set([("f:a", "f:b"), ("f:c",)])
    assert fieldpath.difference(fields, _set([("f:a",), ("f:d",)])) is fields


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ({'k:{"b": 1, "a":"x"}': {}}, {'k:{"a":"x","b":1}': {}}),
        ({"f:a": {".": {}}}, {"f:a": {}}),
        ({"f:a": None}, {"f:a": {}}),
        ({"x:unknown": {}, "f:a": {}}, {"f:a": {}}),
        ({"v: 1.0": {}}, {"v:1": {}}),
        ({"i:007": {}}, {"i:7": {}}),
    ],
)
def test_a_clients_set_is_made_canonical(sent: Any, canonical: FieldSet) -> None:
    assert fieldpath.decode(sent) == canonical


@pytest.mark.parametrize("sent", [[], "x", {"f": {}}, {"name": {}}, {"k:{": {}}, {"k:[]": {}}, {"f:a": 1}, {"i:x": {}}])
def test_a_set_that_kubernetes_cannot_read_is_refused(sent: Any) -> None:
    with pytest.raises(ValueError):
        fieldpath.decode(sent)


def test_strings_in_elements_are_escaped_as_go_does() -> None:
    assert fieldpath.value_element("<a&b>") == 'v:"\\u003ca\\u0026b\\u003e"'
    assert fieldpath.key_element([("name", "c"), ("port", 80.0)]) == 'k:{"name":"c","port":80}'


def test_paths_are_described_as_in_conflicts() -> None:
    path = ("f:spec", 'k:{"name":"c","port":80}', 'v:"x"', "f:image", "i:3")
    assert fieldpath.describe(path) == '.spec[name="c",port=80][="x"].image[3]'


def test_members_of_a_level_come_before_what_lies_deeper() -> None:
    fields = _set([("f:a", "f:x"), ("f:b",), ('k:{"p":9}',), ('k:{"p":10}',)])
    assert list(fieldpath.paths(fields)) == [("f:b",), ('k:{"p":9}',), ('k:{"p":10}',), ("f:a", "f:x")]
