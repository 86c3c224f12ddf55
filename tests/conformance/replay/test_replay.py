"""Recordings are normalised, compared and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.replay import check, difference, documents, exchanges, golden, normal
from conformance.replay.check import Unit
from conformance.replay.difference import Comparison, Difference

UID = "0f3f4c5e-1d7a-4c0b-9d5e-0123456789ab"


@pytest.mark.parametrize("path", golden.files(), ids=lambda p: golden.stem(p))
def test_a_recording_does_not_differ_from_itself(path: Path) -> None:
    found = list(check.units(path, lambda data: data, golden.read(path)))
    assert found
    assert not [unit for unit in found if unit.differences]


def test_the_openapi_documents_hold_no_descriptions() -> None:
    [path] = golden.files(["openapi_v2_live"])
    assert not [v for v in _values(golden.read(path), "description") if isinstance(v, str)]


def _values(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return [v for x in value for v in _values(x, key)]
    if not isinstance(value, dict):
        return []
    return [v for k, v in value.items() if k == key] + [v for x in value.values() for v in _values(x, key)]


def test_an_unknown_file_is_named_with_those_there_are() -> None:
    with pytest.raises(golden.NoSuchFile, match="api_errors"):
        golden.files(["nothing"])


def test_uids_and_versions_are_numbered_so_that_equal_ones_stay_equal() -> None:
    objs = [
        {
            "kind": "ConfigMap",
            "metadata": {"uid": UID, "resourceVersion": "77", "creationTimestamp": "2031-05-05T01:02:03Z"},
        },
        {"kind": "ConfigMap", "metadata": {"uid": UID, "resourceVersion": "99"}},
    ]
    one, two = normal.Normaliser().body(json.dumps(objs).encode())
    assert one["metadata"]["uid"] == two["metadata"]["uid"] == "00000000-0000-4000-8000-000000000001"
    assert [o["metadata"]["resourceVersion"] for o in (one, two)] == ["1001", "1002"]


@pytest.mark.parametrize(
    ("sent", "address"), [("", normal.ANY_IP), ('"clusterIP": "10.96.3.4"', "10.96.3.4")], ids=["given", "asked for"]
)
def test_only_addresses_that_the_server_chose_do_not_count(sent: str, address: str) -> None:
    made = normal.Normaliser().body(b'{"kind":"Service","spec":{"clusterIP":"10.96.3.4"}}', sent)
    assert made["spec"]["clusterIP"] == address


def test_names_of_namespaces_and_generated_ones_are_as_in_the_recording() -> None:
    body = b'{"metadata":{"generateName":"web-","name":"web-x7k2p","namespace":"replay-a-12345"}}'
    made = normal.Normaliser({"replay-a-12345": "replay-a"}).body(body)
    assert made["metadata"] == {"generateName": "web-", "name": "web-xxxxx", "namespace": "replay-a"}


def test_what_controllers_write_does_not_count() -> None:
    body = {"kind": "Deployment", "status": {"replicas": 1, "custom": 2, "conditions": [{"type": "Progressing"}]}}
    made = normal.Normaliser().body(json.dumps(body).encode())
    assert made["status"] == {"custom": 2}


@pytest.mark.parametrize(
    ("expected", "got", "path"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": 1}, {}, "a"),
        ({}, {"a": None}, "a"),
        ([1], [1, 2], ".1"),
        ({"a": True}, {"a": 1}, "a"),
    ],
    ids=["other", "missing", "null is something", "longer", "true is not 1"],
)
def test_a_difference_says_where(expected: Any, got: Any, path: str) -> None:
    assert [d.path for d in Comparison().differences(expected, got)] == [path]


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"required": ["a", "b"]}, {"required": ["b", "a"]}),
        ({"m": 'x is invalid: [a: "1", b: "2"]'}, {"m": 'x is invalid: [b: "2", a: "1"]'}),
    ],
    ids=["sets", "errors in the order of a Go map"],
)
def test_order_that_says_nothing_does_not_count(expected: Any, got: Any) -> None:
    assert not list(Comparison().differences(expected, got))


def test_a_uid_that_was_one_must_stay_one() -> None:
    one, two = (f"00000000-0000-4000-8000-{n:012d}" for n in (1, 2))
    assert not list(Comparison().differences([one, one, two], [two, two, one]))
    assert list(Comparison().differences([one, one], [one, two]))


def test_requests_take_values_out_of_earlier_answers() -> None:
    answers = [{"metadata": {"uid": UID}, "items": [{"name": "b", "v": 3}]}]
    request = {"path": "/x/<0:metadata.uid>", "body": {"v": "<0:items.b.v>"}}
    assert exchanges.resolve(request, answers) == {"path": f"/x/{UID}", "body": {"v": "3"}}


def test_units_are_counted_against_the_list_of_what_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "replay.txt"
    path.write_text("# known\nf:1 no such kind yet\nf:2 long mended\nf:9 gone\n")
    differs = (Difference("status", 1, 2),)
    found = [
        Unit("f:0", "t"),
        Unit("f:1", "t", differs),
        Unit("f:2", "t"),
        Unit("f:3", "t", differs),
        Unit("f:4", "t", (), "why"),
    ]
    done = check.tally(found, check.read_expected(path))
    assert done.unexpected == (
        "f:2 t | does not differ, though it is listed",
        "f:3 t | status | expected 1 | got 2",
        "f:9 | there is no such unit",
    )
    assert done.summary().splitlines()[-1] == (
        "all: 1 of 5 equal (20.0 %), 1 listed, 1 differs, 1 no longer differs, 1 left out"
    )


def test_a_listed_difference_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "replay.txt"
    path.write_text("f:1\n")
    with pytest.raises(ValueError, match="no reason"):
        check.read_expected(path)


def test_long_values_are_cut_in_messages() -> None:
    assert len(difference.shown("x" * 1000)) == difference.SHOWN_CHARS + 1


def test_every_golden_file_has_a_shape() -> None:
    exchange_lists = {golden.stem(p) for p in golden.files() if documents.shape_of(p.name).observe is exchanges.observe}
    assert {"api_errors", "api_behaviour", "patch_ssa", "watch_list", "crd", "auth", "pods"} <= exchange_lists
