"""The scale subresource: read, put and patched, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests import planes
from vapi import encoding
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.plane import ControlPlane
from vapi.registry.caller import Caller, PatchRequest, system_caller
from vapi.registry.scale import Scales, selector_text
from vapi.registry.virtual import Call
from vapi.resources.resource import Verb

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
REPLICAS = {"spec": {"replicas": 5}}


@pytest_asyncio.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with planes.plane() as running:
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        deployment = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}
        await running.client("test").create(planes.DEPLOYMENTS, deployment)
        yield running


async def scale(plane: ControlPlane, verb: Verb, body: Obj | None = None, patch: PatchRequest | None = None) -> Obj:
    """The Scale after the call; a test that expects warnings uses `patched`."""
    caller = system_caller("test")
    obj = await _call(plane, caller, verb, body, patch)
    assert caller.warnings == []
    return obj


async def _call(plane: ControlPlane, caller: Caller, verb: Verb, body: Obj | None, patch: PatchRequest | None) -> Obj:
    row = plane.catalog.of(planes.DEPLOYMENTS)
    call = Call(caller, row, "scale", verb, "default", "web", body, patch)
    return (await Scales(plane.registry, plane.fields, planes.FakeClock()).handle(call)).obj


def patch(content_type: str, body: object, validation: str = "Warn") -> PatchRequest:
    return PatchRequest(content_type, encoding.dumps(body), field_validation=validation)


async def test_a_scale_shows_the_replicas_and_the_selector_as_text(plane: ControlPlane) -> None:
    obj = await scale(plane, Verb.GET)
    assert (obj["apiVersion"], obj["kind"], obj["spec"]) == ("autoscaling/v1", "Scale", {"replicas": 2})
    assert obj["status"] == {"replicas": 0, "selector": "app=web"}


@pytest.mark.parametrize(
    "request_",
    [patch(MERGE, {"spec": {"replicas": 5}}), patch(JSON, [{"op": "replace", "path": "/spec/replicas", "value": 5}])],
    ids=["merge", "json"],
)
async def test_a_patched_scale_scales_without_a_warning(plane: ControlPlane, request_: PatchRequest) -> None:
    assert (await scale(plane, Verb.PATCH, patch=request_))["spec"] == {"replicas": 5}
    deployment = await plane.client("test").get(planes.DEPLOYMENTS, "default", "web")
    assert deployment["spec"]["replicas"] == 5


async def test_an_unknown_field_of_a_scale_warns(plane: ControlPlane) -> None:
    caller = system_caller("test")
    await _call(plane, caller, Verb.PATCH, None, patch(MERGE, {"spec": {"replicas": 5, "nope": 1}}))
    assert caller.warnings == ['unknown field "spec.nope"']


async def test_a_put_scale_of_another_revision_is_a_conflict(plane: ControlPlane) -> None:
    obj = await scale(plane, Verb.GET)
    obj["metadata"]["resourceVersion"] = "1"
    with pytest.raises(ApiError) as raised:
        await scale(plane, Verb.UPDATE, body=obj)
    assert raised.value.code == 409


async def test_negative_replicas_are_refused(plane: ControlPlane) -> None:
    with pytest.raises(ApiError) as raised:
        await scale(plane, Verb.PATCH, patch=patch(MERGE, {"spec": {"replicas": -1}}))
    assert (raised.value.code, "greater than or equal to 0" in raised.value.message) == (422, True)


# --- ownership (golden patch_ssa 6-8, 62-69) ------------------------------------------------------------


def applied(replicas: int | None) -> Obj:
    template = {"metadata": {"labels": {"app": "owned"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec: Obj = {"selector": {"matchLabels": {"app": "owned"}}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def caller(manager: str) -> Caller:
    named = system_caller("test")
    named.field_manager = manager
    return named


async def apply(plane: ControlPlane, replicas: int | None) -> Obj:
    request_ = PatchRequest(APPLY, encoding.dumps(applied(replicas)))
    row = plane.catalog.of(planes.DEPLOYMENTS)
    return (await plane.registry.patch(caller("m1"), row, "default", "web", request_)).entry.obj()


async def owners(plane: ControlPlane) -> list[tuple[str, str, str, bool]]:
    """(manager, operation, subresource, has a time) of all who own replicas."""
    obj = await plane.client("test").get(planes.DEPLOYMENTS, "default", "web")
    return [
        (entry["manager"], entry["operation"], entry.get("subresource", ""), "time" in entry)
        for entry in obj["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    ]


@pytest_asyncio.fixture
async def empty() -> AsyncIterator[ControlPlane]:
    async with planes.plane() as running:
        yield running


@pytest.mark.parametrize(
    ("request_", "operation"),
    [
        (patch(MERGE, {"spec": {"replicas": 5}}), "Update"),
        (
            patch(APPLY, {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}} | REPLICAS),
            "Apply",
        ),
    ],
    ids=["merge", "apply"],
)
async def test_replicas_that_somebody_owns_go_to_who_scales(
    empty: ControlPlane, request_: PatchRequest, operation: str
) -> None:
    created = await apply(empty, 1)
    assert created["metadata"]["namespace"] == "default"
    forced = PatchRequest(request_.content_type, request_.body, force=operation == "Apply")
    await _call(empty, caller("hpa"), Verb.PATCH, None, forced)
    assert await owners(empty) == [("hpa", operation, "scale", False)]
    with pytest.raises(ApiError) as raised:
        await apply(empty, 1)
    by = 'conflict with "hpa" with subresource "scale"' + (" using apps/v1" if operation == "Update" else "")
    assert raised.value.message == f"Apply failed with 1 conflict: {by}: .spec.replicas"
    await apply(empty, 5)
    assert {owner[0] for owner in await owners(empty)} == {"hpa", "m1"}


async def test_replicas_that_nobody_owns_stay_free(empty: ControlPlane) -> None:
    await apply(empty, None)
    scale_ = await _call(empty, caller("hpa"), Verb.GET, None, None)
    scale_["spec"] = {"replicas": 5}
    await _call(empty, caller("hpa"), Verb.UPDATE, scale_, None)
    assert await owners(empty) == []
    assert (await apply(empty, 3))["spec"]["replicas"] == 3


async def test_a_scale_of_another_uid_is_a_conflict_of_the_subresource(plane: ControlPlane) -> None:
    obj = await scale(plane, Verb.GET)
    obj["metadata"]["uid"] = "x"
    with pytest.raises(ApiError) as raised:
        await scale(plane, Verb.UPDATE, body=obj)
    assert raised.value.message.startswith('Operation cannot be fulfilled on deployments/scale.apps "web": Precond')


async def test_a_scale_of_zero_has_an_empty_spec(plane: ControlPlane) -> None:
    assert (await scale(plane, Verb.PATCH, patch=patch(MERGE, {"spec": {"replicas": 0}})))["spec"] == {}
    assert (await scale(plane, Verb.GET))["spec"] == {}


def test_a_selector_is_written_as_in_a_query() -> None:
    selector = {
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["z", "y"]},
            {"key": "c", "operator": "NotIn", "values": ["x"]},
            {"key": "d", "operator": "Exists"},
            {"key": "e", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "a in (y,z),b=1,c notin (x),d,!e"
