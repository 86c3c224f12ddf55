"""What is there beyond the desired is found, and the patch takes exactly that out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.exact import beyond

values = st.recursive(
    st.integers(0, 2),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=8,
)
objects = st.fixed_dictionaries({}, optional={"spec": st.dictionaries(st.sampled_from("abc"), values, max_size=3)})


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(objects, objects)
def test_with_the_patch_nothing_is_there_beyond_the_desired(live: Any, desired: Any) -> None:
    before = copy.deepcopy((live, desired))
    patch = beyond(("spec",), live, desired)
    assert (live, desired) == before
    after = merged(live, patch)
    assert beyond(("spec",), after, desired) == {}
    if patch:
        assert after.get("spec") == desired.get("spec")


@pytest.mark.parametrize(
    ("live", "patch"),
    [
        ({"spec": {"a": 1}}, {}),
        ({"spec": {"a": 2}}, {}),  # drift of what is desired: the apply repairs it
        ({"spec": {}}, {}),
        ({"spec": {"a": 1, "b": 2}}, {"spec": {"a": 1, "b": None}}),
        ({"spec": {"a": 1}, "other": 1}, {}),
    ],
)
def test_only_additions_count(live: Any, patch: Any) -> None:
    assert beyond(("spec",), live, {"spec": {"a": 1}}) == patch


def test_a_path_may_lead_below_what_others_own() -> None:
    live = {"spec": {"class": "x", "rules": [1, 2]}}
    assert beyond(("spec.rules",), live, {"spec": {}}) == {"spec": {"rules": None}}
    assert beyond(("spec.rules",), live, {"spec": {"rules": [1]}}) == {"spec": {"rules": [1]}}
