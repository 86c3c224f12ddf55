"""Printers: every cell as a real API server of 1.37 printed it.

`facts/tables.json` holds objects made for this test, the cells that
kube-apiserver answered for them, and the blank row of a bookmark of each kind.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from vapi.gvk import GroupVersion
from vapi.resources.builtin import builtin_catalog
from vapi.resources.printers import CONDITIONS, PRINTERS, text
from vapi.resources.resource import Resource

_FACTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "facts" / "tables.json").read_bytes())
_CASES = [(facts, item) for facts in _FACTS for item in facts["items"]]


def _row(facts: dict[str, Any]) -> Resource:
    group_version = GroupVersion.parse(facts["groupVersion"])
    return builtin_catalog().row(group_version.group, group_version.version, facts["resource"])


@pytest.mark.parametrize(
    ("facts", "item"), _CASES, ids=[f"{f['resource']}-{i['object']['metadata']['name']}" for f, i in _CASES]
)
def test_an_object_is_printed_as_upstream_prints_it(facts: dict[str, Any], item: dict[str, Any]) -> None:
    row = _row(facts)
    stored = row.to_stored(item["object"]) if row.to_stored else item["object"]
    resource = (row.gvr.group, row.gvr.resource)
    assert PRINTERS[resource](stored, dt.datetime.fromisoformat(facts["now"])) == item["cells"]
    conditions = CONDITIONS[resource](stored) if resource in CONDITIONS else []
    assert conditions == item.get("conditions", [])


@pytest.mark.parametrize(
    "facts", [f for f in _FACTS if f["blank"]], ids=lambda f: f"{f['groupVersion']}-{f['resource']}"
)
def test_an_object_without_anything_is_printed_too(facts: dict[str, Any]) -> None:
    row = _row(facts)
    cells = PRINTERS[(row.gvr.group, row.gvr.resource)]({"metadata": {}}, dt.datetime.fromisoformat(facts["now"]))
    assert cells == facts["blank"]


_HOUR, _DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (0.9, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * _HOUR - 1, "179m"),
        (3 * _HOUR, "3h"),
        (3 * _HOUR + 61, "3h1m"),
        (8 * _HOUR, "8h"),
        (48 * _HOUR - 1, "47h"),
        (48 * _HOUR, "2d"),
        (49 * _HOUR, "2d1h"),
        (8 * _DAY, "8d"),
        (730 * _DAY - 1, "729d"),
        (730 * _DAY, "2y"),
        (735 * _DAY, "2y5d"),
        (8 * 365 * _DAY + 5 * _DAY, "8y"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, shown: str) -> None:
    assert text.human_duration(seconds) == shown


def test_a_time_that_is_none_has_no_age() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert text.since(None, now) == text.since("soon", now) == "<unknown>"


def test_a_selector_with_an_unknown_operator_is_an_error() -> None:
    assert text.selector({"matchExpressions": [{"key": "a", "operator": "Near"}]}) == "<error>"
