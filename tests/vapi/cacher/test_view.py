"""The current objects in key order, and copies that stay as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.cacher.objects import configmap, entry
from vapi.cacher.entry import Entry
from vapi.cacher.view import View, prefix_end

ENTRIES = {name: entry(configmap(name), 1) for name in ("a", "ab", "b", "c-1", "c.1", "z")}


@given(st.lists(st.tuples(st.sampled_from(sorted(ENTRIES)), st.booleans())))
def test_it_is_always_sorted_and_agrees_with_a_dict(steps: list[tuple[str, bool]]) -> None:
    view = View()
    model: dict[str, Entry] = {}
    for name, put in steps:
        made = ENTRIES[name]
        if put:
            assert view.put(made) is model.get(made.key)
            model[made.key] = made
        else:
            assert view.remove(made.key) is model.pop(made.key, None)
        assert [found.key for found in view.entries()] == sorted(model)
        assert len(view) == len(model)


def test_a_copy_does_not_follow_later_changes() -> None:
    view = View()
    view.load([ENTRIES["a"], ENTRIES["b"]])
    copied = view.entries()
    view.remove(ENTRIES["a"].key)
    view.put(ENTRIES["z"])
    assert [found.name for found in copied] == ["a", "b"]


def test_a_prefix_is_a_whole_namespace_and_a_start_is_inclusive() -> None:
    view = View()
    other = entry(configmap("x", namespace="default-2"), 1)
    for made in (*ENTRIES.values(), other):
        view.put(made)
    prefix = ENTRIES["a"].key.removesuffix("a")
    assert {found.namespace for found in view.entries(prefix)} == {"default"}
    assert [found.name for found in view.entries(prefix, prefix + "c-1")] == ["c-1", "c.1", "z"]
    assert view.entries(prefix, prefix + "zz") == []


def test_the_end_of_a_prefix_is_the_first_key_behind_it() -> None:
    assert prefix_end("/a/") == "/a0"
    assert "/a/~" < prefix_end("/a/") <= "/a0"
