"""Structs as Go prints them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vapi.resources.strategies import godump


def test_all_fields_are_shown_in_their_order_with_the_zeros_of_go() -> None:
    shown = godump.text(godump.dump("core.Taint", {"effect": "NoSchedule", "key": "a"}))
    assert shown == '{"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}'


def test_embedded_structs_stand_among_the_fields_of_their_owner() -> None:
    shown = godump.dump("core.EphemeralContainer", {"name": "c", "targetContainerName": "x"})
    assert shown["Name"] == "c"
    assert shown["TargetContainerName"] == "x"


def test_characters_that_go_escapes_are_escaped() -> None:
    assert godump.text({"a": "<&>"}) == '{"a":"\\u003c\\u0026\\u003e"}'


def test_a_difference_shows_three_lines_around_each_change() -> None:
    before, after = {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}
    assert godump.diff("core.Taint", before, after) == (
        '@@ -1,5 +1,5 @@\n {\n- "Key": "a",\n+ "Key": "b",\n'
        '  "Value": "",\n  "Effect": "NoSchedule",\n  "TimeAdded": null\n'
    )


def test_what_is_equal_has_no_difference() -> None:
    assert godump.diff("core.Taint", {"key": "a"}, {"key": "a", "value": ""}) == ""


@given(st.fixed_dictionaries({}, optional={key: st.text() for key in ("key", "value", "effect")}))
def test_every_text_survives(taint: dict[str, str]) -> None:
    shown = json.loads(godump.text(godump.dump("core.Taint", taint)))
    assert [shown["Key"], shown["Value"], shown["Effect"]] == [taint.get(k, "") for k in ("key", "value", "effect")]
