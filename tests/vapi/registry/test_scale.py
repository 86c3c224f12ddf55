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
from vapi.registry.scale import Scales
from vapi.registry.virtual import Call
from vapi.resources.resource import Verb

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


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
