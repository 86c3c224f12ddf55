"""Paths and queries, and what they ask for."""

from __future__ import annotations

import pytest

from vapi import errors
from vapi.endpoints import options
from vapi.endpoints.options import default_field_manager, parse_int, write_options
from vapi.endpoints.request import RequestInfo, parse_path, parse_query, streams_body, with_query
from vapi.errors import ApiError
from vapi.resources.resource import Propagation

NS = "/api/v1/namespaces/n"


def asked(method: str, target: str) -> tuple[str, ...]:
    path, _, query = target.partition("?")
    info = with_query(parse_path(method, path), parse_query(query))
    return (info.verb, info.group, info.version, info.namespace, info.resource, info.name, info.subresource)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", f"{NS}/pods", ("list", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods/", ("list", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods?watch=true", ("watch", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods?watch=1", ("watch", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods?watch=", ("watch", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods?watch=false", ("list", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods/p", ("get", "", "v1", "n", "pods", "p", "")),
        ("GET", f"{NS}/pods/p?watch=1", ("get", "", "v1", "n", "pods", "p", "")),
        ("HEAD", f"{NS}/pods/p", ("get", "", "v1", "n", "pods", "p", "")),
        ("GET", f"{NS}/pods?fieldSelector=metadata.name%3Dp", ("list", "", "v1", "n", "pods", "p", "")),
        ("GET", f"{NS}/pods?fieldSelector=metadata.name%21%3Dp", ("list", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/pods?fieldSelector=x", ("list", "", "v1", "n", "pods", "", "")),
        ("POST", f"{NS}/pods", ("create", "", "v1", "n", "pods", "", "")),
        ("PUT", f"{NS}/pods/p/status", ("update", "", "v1", "n", "pods", "p", "status")),
        ("PATCH", f"{NS}/pods/p", ("patch", "", "v1", "n", "pods", "p", "")),
        ("DELETE", f"{NS}/pods", ("deletecollection", "", "v1", "n", "pods", "", "")),
        ("DELETE", f"{NS}/pods/p", ("delete", "", "v1", "n", "pods", "p", "")),
        ("GET", f"{NS}/pods/p/log?follow=true", ("get", "", "v1", "n", "pods", "p", "log")),
        ("GET", f"{NS}/pods/p/proxy/a/b", ("get", "", "v1", "n", "pods", "p", "proxy")),
        ("GET", f"{NS}/pods/p/a/b", ("get", "", "v1", "n", "pods", "p", "a/b")),
        ("GET", NS, ("get", "", "v1", "n", "namespaces", "n", "")),
        ("PUT", f"{NS}/finalize", ("update", "", "v1", "n", "namespaces", "n", "finalize")),
        ("PUT", f"{NS}/status", ("update", "", "v1", "n", "namespaces", "n", "status")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/nodes/x", ("get", "", "v1", "", "nodes", "x", "")),
        ("GET", "/apis/apps/v1/deployments", ("list", "apps", "v1", "", "deployments", "", "")),
        (
            "GET",
            "/apis/apps/v1/namespaces/n/deployments/d/scale",
            ("get", "apps", "v1", "n", "deployments", "d", "scale"),
        ),
        ("GET", "/api/v1/watch/pods", ("watch", "", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/n/pods/p", ("watch", "", "v1", "n", "pods", "p", "")),
        ("OPTIONS", f"{NS}/pods", ("", "", "v1", "n", "pods", "", "")),
        ("GET", f"{NS}/clusterroles/system%3Aadmin", ("get", "", "v1", "n", "clusterroles", "system:admin", "")),
        ("GET", "/api//v1", ("list", "", "", "", "v1", "", "")),
    ],
)
def test_a_path_says_what_is_asked_for(method: str, target: str, expected: tuple[str, ...]) -> None:
    assert asked(method, target) == expected


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/version", "/livez/ping"])
def test_other_paths_are_asked_for_by_method(path: str) -> None:
    assert parse_path("GET", path) == RequestInfo("GET", path, "get")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", f"{NS}/services/s/proxy/x", True),
        ("GET", f"{NS}/services/s/proxy/x", False),
        ("POST", f"{NS}/pods?a=/proxy", False),
        ("POST", "/api/v1/namespaces/proxy/pods", False),
    ],
)
def test_bodies_of_proxies_are_streamed(method: str, target: str, expected: bool) -> None:
    assert streams_body(method, target) is expected


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-1", -1), ("+5", 5), ("007", 7), (str(2**63 - 1), 2**63 - 1)])
def test_numbers_are_read_as_go_reads_them(text: str, number: int) -> None:
    assert parse_int(text) == number


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "invalid syntax"), ("1.5", "invalid syntax"), ("१", "invalid syntax"), (str(2**63), "value out of range")],
)
def test_what_is_no_number_is_400(text: str, problem: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_int(text)
    assert refused.value.message.endswith(problem)


def test_a_negative_limit_is_none() -> None:
    assert options.list_options(parse_query("limit=-1")).limit == 0


def test_options_of_a_watch() -> None:
    found = options.watch_options(
        parse_query("allowWatchBookmarks=true&sendInitialEvents=false&timeoutSeconds=7&resourceVersion=5")
    )
    assert (found.allow_bookmarks, found.send_initial_events, found.timeout_s) == (True, False, 7.0)
    assert options.watch_options(parse_query("")).send_initial_events is None


@pytest.mark.parametrize(
    ("agent", "manager"),
    [
        ("kubectl/v1.37.1 (linux/amd64)", "kubectl"),
        ("", "unknown"),
        ("a\tb/1", "ab"),
        ("é" * 100, "é" * 64),
        ("/x", "unknown"),
    ],
)
def test_a_user_agent_names_a_field_manager(agent: str, manager: str) -> None:
    assert default_field_manager(agent) == manager


def test_the_default_of_field_validation_is_to_warn() -> None:
    assert write_options(parse_query(""), "CreateOptions").field_validation == "Warn"
    assert write_options(parse_query("fieldValidation="), "CreateOptions").field_validation == "Warn"
    assert write_options(parse_query("fieldValidation=Strict"), "CreateOptions").field_validation == "Strict"


def test_a_manager_that_cannot_be_printed_is_refused() -> None:
    with pytest.raises(ApiError, match=r"invalid character U\+0007 \(at position 1\)"):
        write_options(parse_query("fieldManager=a%07"), "UpdateOptions")


def test_two_wrong_options_are_told_together() -> None:
    with pytest.raises(ApiError) as refused:
        write_options(parse_query("dryRun=x&fieldValidation=y"), "PatchOptions")
    assert len((refused.value.details or {})["causes"]) == 2


def test_delete_options_come_from_the_body_or_else_from_the_query() -> None:
    query = parse_query("gracePeriodSeconds=3&propagationPolicy=Orphan&dryRun=All")
    by_query = options.delete_options(query, None)
    assert by_query.dry_run
    assert by_query.options.grace_period_s == 3
    assert by_query.options.propagation is Propagation.ORPHAN
    by_body = options.delete_options(query, {"preconditions": {"uid": "u"}})
    assert not by_body.dry_run
    assert by_body.options.grace_period_s is None
    assert by_body.options.preconditions.uid == "u"


def test_an_error_of_options_names_their_pseudo_kind() -> None:
    assert errors.options_gvk("ListOptions").group == "meta.k8s.io"
