"""Discovery: every document follows from the rows and is what a real API server answers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.vapi.resources.golden import golden
from vapi.endpoints.discovery import Discovery
from vapi.resources.builtin import builtin_catalog
from vapi.resources.resource import Catalog, Resource


@pytest.fixture
def discovery() -> Discovery:
    return Discovery(builtin_catalog(), "10.0.0.1:6443")


def _body(discovery: Discovery, path: str) -> Any:
    document = discovery.legacy(path)
    assert document is not None
    return json.loads(document.body)


@pytest.mark.parametrize("path", ["/api", "/apis"])
def test_aggregated_discovery_is_that_of_a_real_server(discovery: Discovery, path: str) -> None:
    document = discovery.aggregated(path, "v2")
    assert document is not None
    recorded = golden("discovery_aggregated_v2_1.37.json")[path]
    assert json.loads(document.body) == recorded["body"]
    assert {"Content-Type": document.content_type, **document.headers} == recorded["headers"]


def test_the_etag_is_the_quoted_upper_case_hash_of_the_body(discovery: Discovery) -> None:
    document = discovery.aggregated("/apis", "v2")
    assert document is not None
    assert document.etag == f'"{hashlib.sha512(document.body).hexdigest().upper()}"'


def test_two_servers_with_the_same_rows_have_the_same_etag(discovery: Discovery) -> None:
    other = Discovery(builtin_catalog(), "10.9.9.9:6443").aggregated("/apis", "v2")
    assert other == discovery.aggregated("/apis", "v2")


def test_the_beta_version_differs_in_its_name_only(discovery: Discovery) -> None:
    beta, stable = discovery.aggregated("/apis", "v2beta1"), discovery.aggregated("/apis", "v2")
    assert beta is not None and stable is not None
    assert json.loads(beta.body)["apiVersion"] == "apidiscovery.k8s.io/v2beta1"
    assert json.loads(beta.body)["items"] == json.loads(stable.body)["items"]


@pytest.mark.parametrize(("path", "version"), [("/api", "v3"), ("/apis/apps", "v2"), ("/version", "v2")])
def test_other_paths_and_versions_have_no_aggregated_document(discovery: Discovery, path: str, version: str) -> None:
    assert discovery.aggregated(path, version) is None


def test_a_document_is_made_once(discovery: Discovery) -> None:
    assert discovery.aggregated("/api", "v2") is discovery.aggregated("/api", "v2")
    assert discovery.legacy("/apis/apps/v1") is discovery.legacy("/apis/apps/v1/")


def test_the_core_versions_tell_the_address_of_the_server(discovery: Discovery) -> None:
    assert _body(discovery, "/api") == {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:6443"}],
    }


def test_the_preferred_version_stands_first(discovery: Discovery) -> None:
    assert _body(discovery, "/apis/autoscaling") == {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": "autoscaling",
        "versions": [
            {"groupVersion": "autoscaling/v2", "version": "v2"},
            {"groupVersion": "autoscaling/v1", "version": "v1"},
        ],
        "preferredVersion": {"groupVersion": "autoscaling/v2", "version": "v2"},
    }


def test_the_group_list_holds_every_group_but_core_in_order(discovery: Discovery) -> None:
    body = _body(discovery, "/apis")
    names = [group["name"] for group in body["groups"]]
    assert names == [*dict.fromkeys(row.gvr.group for row in builtin_catalog().rows if row.gvr.group)]
    assert body["groups"][0] == {
        k: v for k, v in _body(discovery, f"/apis/{names[0]}").items() if k in body["groups"][0]
    }


def test_the_core_resource_list_names_the_kind_of_a_foreign_subresource(discovery: Discovery) -> None:
    body = _body(discovery, "/api/v1")
    assert {k: v for k, v in body.items() if k != "resources"} == {"kind": "APIResourceList", "groupVersion": "v1"}
    entries = {entry["name"]: entry for entry in body["resources"]}
    assert entries["pods/eviction"] == {
        "name": "pods/eviction",
        "singularName": "",
        "namespaced": True,
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
        "verbs": ["create"],
    }
    assert entries["pods"]["storageVersionHash"] == "xPOwRZ+Yhw8="
    assert "storageVersionHash" not in entries["bindings"]


def test_versions_of_one_stored_kind_have_one_storage_hash(discovery: Discovery) -> None:
    hashes = {
        _body(discovery, f"/apis/autoscaling/{version}")["resources"][0]["storageVersionHash"]
        for version in ("v1", "v2")
    }
    assert hashes == {"qwQve8ut294="}


@pytest.mark.parametrize("path", ["/", "/api/v2", "/apis/nope", "/apis/apps/v9", "/apis/apps/v1/pods", "/apis//v1"])
def test_what_is_not_served_is_not_found(discovery: Discovery, path: str) -> None:
    assert discovery.legacy(path) is None


def test_rows_added_at_run_time_come_last(discovery: Discovery) -> None:
    base = builtin_catalog().row("", "v1", "configmaps")
    added = Resource(
        gvr=type(base.gvr)("ex.io", "v1", "foos"),
        kind="Foo",
        singular="foo",
        namespaced=True,
        verbs=base.verbs,
        stored=base.stored,
        strategy=base.strategy,
    )
    later = Discovery(Catalog((*builtin_catalog().rows, added)), "10.0.0.1:6443")
    document = later.aggregated("/apis", "v2")
    assert document is not None
    assert json.loads(document.body)["items"][-1]["metadata"] == {"name": "ex.io"}
