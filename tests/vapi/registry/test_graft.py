"""What each endpoint may change: the rest stays as stored."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vapi.gvk import Obj
from vapi.registry.graft import OBJECT_SUBRESOURCES, graft, needs_generation
from vapi.resources.builtin import builtin_catalog

CATALOG = builtin_catalog()
PODS = CATALOG.row("", "v1", "pods")
DEPLOYMENTS = CATALOG.row("apps", "v1", "deployments")
NAMESPACES = CATALOG.row("", "v1", "namespaces")
REQUESTS = CATALOG.row("certificates.k8s.io", "v1", "certificatesigningrequests")


def stored(**parts: Any) -> Obj:
    metadata = {"name": "x", "uid": "u", "resourceVersion": "7", "generation": 3, "labels": {"a": "1"}}
    return {"metadata": metadata, "spec": {"s": 1}, "status": {"t": 1}, **parts}


def sent(old: Obj, **parts: Any) -> Obj:
    new = copy.deepcopy(old)
    new["metadata"] |= {"labels": {"b": "2"}, "annotations": {"c": "3"}, "generation": 99}
    return {**new, **parts}


def test_the_main_endpoint_keeps_the_status_and_the_generation() -> None:
    old = stored()
    new = graft(DEPLOYMENTS, sent(old, spec={"s": 2}, status={"t": 2}), old, "")
    assert (new["spec"], new["status"], new["metadata"]["generation"]) == ({"s": 2}, {"t": 1}, 3)
    assert new["metadata"]["labels"] == {"b": "2"}
    bare = {key: value for key, value in old.items() if key != "status"}
    assert "status" not in graft(DEPLOYMENTS, sent(old), bare, "")


def test_the_status_endpoint_keeps_the_spec_and_labels_of_some_groups() -> None:
    old = stored()
    new = graft(DEPLOYMENTS, sent(old, spec={"s": 2}, status={"t": 2}), old, "status")
    assert (new["spec"], new["status"]) == ({"s": 1}, {"t": 2})
    assert (new["metadata"]["labels"], new["metadata"]["annotations"]) == ({"a": "1"}, {"c": "3"})
    assert graft(PODS, sent(old), old, "status")["metadata"]["labels"] == {"b": "2"}
    without = sent(old)
    del without["status"]
    assert "status" not in graft(PODS, without, old, "status")


def test_owners_are_not_set_through_the_status() -> None:
    old = stored()
    new = sent(old)
    new["metadata"]["ownerReferences"] = [{"uid": "o"}]
    assert "ownerReferences" not in graft(PODS, new, old, "status")["metadata"]


def test_finalize_writes_the_finalizers_of_the_spec_alone() -> None:
    old = stored(spec={"finalizers": ["kubernetes"], "s": 1})
    assert graft(NAMESPACES, sent(old, spec={"s": 2}), old, "finalize")["spec"] == {"s": 1}
    new = graft(NAMESPACES, sent(old, spec={"finalizers": ["ex.io/f"]}), old, "finalize")
    assert new["spec"] == {"finalizers": ["ex.io/f"], "s": 1}


def test_ephemeral_containers_leave_the_other_containers_and_the_labels() -> None:
    old = stored(spec={"containers": [{"name": "c"}]})
    wanted = {"containers": [{"name": "d"}], "ephemeralContainers": [{"name": "e"}]}
    new = graft(PODS, sent(old, spec=wanted), old, "ephemeralcontainers")
    assert new["spec"] == {"containers": [{"name": "c"}], "ephemeralContainers": [{"name": "e"}]}
    assert new["metadata"]["labels"] == {"a": "1"}


def test_resize_changes_resources_alone() -> None:
    old = stored(spec={"containers": [{"name": "c", "image": "i"}], "nodeName": "n"})
    wanted = {"containers": [{"name": "c", "image": "j", "resources": {"limits": {"cpu": "1"}}}], "nodeName": "m"}
    new = graft(PODS, sent(old, spec=wanted), old, "resize")
    assert new["spec"]["containers"] == [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]
    assert new["spec"]["nodeName"] == "n"


def test_approval_changes_conditions_alone() -> None:
    old = stored(status={"certificate": "x"})
    wanted = {"conditions": [{"type": "Approved"}], "certificate": "forged"}
    new = graft(REQUESTS, sent(old, status=wanted), old, "approval")
    assert new["status"] == {"certificate": "x", "conditions": [{"type": "Approved"}]}


@pytest.mark.parametrize("subresource", sorted(OBJECT_SUBRESOURCES | {""}))
def test_no_endpoint_edits_what_is_stored(subresource: str) -> None:
    old = stored(spec={"containers": [{"name": "c"}], "finalizers": ["kubernetes"]})
    before = copy.deepcopy(old)
    graft(PODS, sent(old, spec={"containers": [{"name": "c", "resources": {}}]}), old, subresource)
    assert old == before


@pytest.mark.parametrize(
    ("changed", "subresource", "rises"),
    [
        ({"spec": {"s": 2}}, "", True),
        ({"status": {"t": 2}}, "", False),
        ({"metadata": {"name": "x", "labels": {}}}, "", False),
        ({"spec": {"s": 2}}, "resize", True),
        ({"spec": {"s": 2}}, "binding", False),
        ({"spec": {"s": 2}}, "eviction", False),
    ],
)
def test_the_generation_follows_the_spec_but_not_writes_past_the_strategy(
    changed: Obj, subresource: str, rises: bool
) -> None:
    assert needs_generation(PODS, {**stored(), **changed}, stored(), subresource) is rises
