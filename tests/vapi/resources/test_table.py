"""Tables and metadata-only answers, as bytes: shapes, columns, and what stands beside the cells."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from tests.vapi.resources.golden import golden
from vapi.resources import table
from vapi.resources.builtin import builtin_catalog
from vapi.resources.columns import builtin_columns
from vapi.resources.printers import PRINTERS
from vapi.resources.table import IncludeObject

_NOW = dt.datetime(2026, 1, 1, 0, 0, 7, tzinfo=dt.UTC)
_MAP: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "9"},
    "data": {"k": "v"},
}
_META = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": _MAP["metadata"]}


def _printer(group: str, version: str, resource: str) -> table.Printer:
    printer = table.printer_of(builtin_catalog().row(group, version, resource))
    assert printer is not None
    return printer


CONFIG_MAPS = _printer("", "v1", "configmaps")


def test_columns_are_those_of_a_real_server() -> None:
    recorded = golden("table_columns_1.37.json")
    ours = {kind: json.loads(columns) for kind, columns in builtin_columns().items()}
    assert ours.pop("autoscaling/v1/scales")
    assert ours == recorded


def test_what_can_be_listed_has_a_table_and_nothing_else_has() -> None:
    for row in builtin_catalog().rows:
        assert (table.printer_of(row) is not None) == ("list" in row.verbs), row.gvr


def test_every_printer_fills_its_columns() -> None:
    for kind, columns in builtin_columns().items():
        api_version, _, resource = kind.rpartition("/")
        group = api_version.rpartition("/")[0]
        cells = PRINTERS[(group, resource)]({"metadata": {}}, _NOW)
        extra = 1 if resource == "ipaddresses" else 0  # upstream prints an age there without a column
        assert len(cells) == len(json.loads(columns)) + extra, kind


@pytest.mark.parametrize(
    ("include", "shown"),
    [(IncludeObject.NONE, None), (IncludeObject.METADATA, _META), (IncludeObject.OBJECT, _MAP)],
)
def test_a_row_shows_as_much_of_the_object_as_was_asked_for(include: IncludeObject, shown: object) -> None:
    row = json.loads(table.render_row(CONFIG_MAPS, _MAP, now=_NOW, include=include))
    assert row == {"cells": ["a", 1, "7s"], "object": shown}


def test_a_table_in_pieces_is_one_document() -> None:
    list_meta = {"resourceVersion": "12", "continue": "t", "remainingItemCount": 4}
    pieces = list(table.render_table(CONFIG_MAPS, [_MAP, _MAP], list_meta, now=_NOW))
    assert len(pieces) == 4
    whole = json.loads(b"".join(pieces))
    assert {**whole, "columnDefinitions": ..., "rows": len(whole["rows"])} == {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": ...,
        "rows": 2,
    }


def test_an_empty_table_has_columns_and_no_rows() -> None:
    whole = json.loads(b"".join(table.render_table(CONFIG_MAPS, [], {"resourceVersion": "1"}, now=_NOW)))
    assert [column["name"] for column in whole["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert whole["rows"] == []


def test_only_the_first_event_of_a_watch_carries_columns() -> None:
    first = json.loads(table.event_table(CONFIG_MAPS, _MAP, now=_NOW, first=True))
    later = json.loads(table.event_table(CONFIG_MAPS, _MAP, now=_NOW, first=False))
    assert first["columnDefinitions"] and later["columnDefinitions"] is None
    assert first["metadata"] == later["metadata"] == {"resourceVersion": "9"}
    assert first["rows"] == later["rows"]


def test_a_bookmark_is_a_blank_row_with_its_annotation() -> None:
    metadata = {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}
    event = json.loads(table.event_table(CONFIG_MAPS, {"metadata": metadata}, now=_NOW, first=False))
    assert event["rows"] == [{"cells": ["", 0, "<unknown>"], "object": {**_META, "metadata": metadata}}]


def test_the_old_version_of_tables_is_answered_in_kind() -> None:
    event = json.loads(table.event_table(CONFIG_MAPS, _MAP, now=_NOW, first=True, version="v1beta1"))
    assert event["apiVersion"] == event["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"


def test_the_row_of_a_finished_pod_says_so() -> None:
    pod = {"metadata": {"name": "p", "resourceVersion": "1"}, "status": {"phase": "Succeeded"}}
    row = json.loads(table.render_row(_printer("", "v1", "pods"), pod, now=_NOW))
    assert row["conditions"][0]["reason"] == "Succeeded"


def test_a_converted_kind_prints_the_stored_object_and_shows_the_version_asked_for() -> None:
    stored = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "resourceVersion": "4"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "message": "m",
    }
    events = _printer("events.k8s.io", "v1", "events")
    row = json.loads(table.render_row(events, stored, now=_NOW, include=IncludeObject.OBJECT))
    assert row["cells"][3] == "pod/p"
    assert row["object"]["apiVersion"] == "events.k8s.io/v1" and row["object"]["note"] == "m"


def test_a_scale_has_a_table_of_its_own() -> None:
    scale = {"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {"replicas": 1}, "status": {"replicas": 2}}
    event = json.loads(table.event_table(table.scale_printer(), scale, now=_NOW, first=True))
    assert event["rows"][0]["cells"] == ["d", 1, 2, "<unknown>"]


def test_a_list_of_metadata_is_joined_like_a_table() -> None:
    head = table.partial_list_head({"resourceVersion": "3"})
    whole = json.loads(head + table.partial_metadata(_MAP) + b"," + table.partial_metadata(_MAP) + table.TAIL)
    assert whole["kind"] == "PartialObjectMetadataList"
    assert whole["items"] == [_META, _META]
