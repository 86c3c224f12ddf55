"""Binding and eviction: what they write, what stops them, and in which words."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests import planes
from tests.planes import PODS, FakeClock
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.plane import ControlPlane
from vapi.registry.caller import system_caller
from vapi.registry.pod_calls import BLOCKED, BUDGETS, PodCalls, set_condition
from vapi.registry.virtual import Call
from vapi.resources.resource import Verb

SYNC_FAILED = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "m"} | {
    "lastTransitionTime": "2026-01-01T00:00:00Z"
}


@dataclass
class World:
    plane: ControlPlane
    clock: FakeClock

    async def pod(self, name: str = "p", *, node: str = "n", ready: bool = True, phase: str = "Running") -> Obj:
        body = planes.pod(name, app="web")
        if node:
            body["spec"]["nodeName"] = node
        client = self.plane.client("test")
        made = await client.create(PODS, body)
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        made["status"] = {"phase": phase, "conditions": conditions}
        return await client.update(PODS, made, subresource="status")

    async def budget(self, name: str = "b", *, observed: int = 1, spec: Obj | None = None, **status: Any) -> None:
        client = self.plane.client("test")
        body = {"metadata": {"name": name, "namespace": "default"}}
        selector = {"selector": {"matchLabels": {"app": "web"}}}
        made = await client.create(BUDGETS, {**body, "spec": {"minAvailable": 1, **selector, **(spec or {})}})
        numbers = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
        made["status"] = {**numbers, "observedGeneration": observed, **status}
        await client.update(BUDGETS, made, subresource="status")

    async def call(self, subresource: str, body: Obj, name: str = "p") -> Obj:
        row = self.plane.catalog.of(PODS)
        handlers = PodCalls(self.plane.registry, self.clock).handlers()
        call = Call(system_caller("test"), row, subresource, Verb.CREATE, "default", name, body=body)
        reply = await handlers["", "pods", subresource](call)
        assert reply.code == reply.obj["code"] == 201
        return reply.obj

    async def evict(self, name: str = "p", **options: Any) -> Obj:
        body: Obj = {"metadata": {"name": name}}
        if options:
            body["deleteOptions"] = options
        return await self.call("eviction", body, name)

    async def refused(self, subresource: str, body: Obj) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.call(subresource, body)
        return caught.value

    async def stored(self, name: str = "p") -> Obj:
        return await self.plane.client("test").get(PODS, "default", name)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    async with planes.plane(clock=clock) as running:
        yield World(running, clock)


def binding(node: str = "n1", kind: str = "Node", **metadata: Any) -> Obj:
    return {"metadata": {"name": "p", **metadata}, "target": {"kind": kind, "name": node}}


# --- binding ------------------------------------------------------------------------------------------


async def test_a_binding_brings_labels_and_ends_a_nomination(world: World) -> None:
    made = await world.plane.client("test").create(PODS, {**planes.pod("p")})
    made["status"] = {**made["status"], "nominatedNodeName": "n2"}
    await world.plane.client("test").update(PODS, made, subresource="status")
    await world.call("binding", binding(labels={"topology.kubernetes.io/zone": "a"}))
    pod = await world.stored()
    assert pod["metadata"]["labels"]["topology.kubernetes.io/zone"] == "a"
    assert "nominatedNodeName" not in pod["status"]


async def test_a_binding_places_the_pod_and_counts_for_nothing_else(world: World) -> None:
    before = await world.plane.client("test").create(PODS, planes.pod("p"))
    await world.call("binding", binding(annotations={"a": "1"}))
    pod = await world.stored()
    assert (pod["spec"]["nodeName"], pod["metadata"]["annotations"]) == ("n1", {"a": "1"})
    assert pod["metadata"]["generation"] == before["metadata"]["generation"]
    assert pod["metadata"]["managedFields"] == before["metadata"]["managedFields"]
    scheduled = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (scheduled["status"], scheduled["lastTransitionTime"]) == ("True", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("body", "code", "why"),
    [
        (binding(kind="Pod"), 500, 'target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"'),
        (binding(node=""), 500, "target.name: Required value"),
        ({"metadata": {"name": "other"}}, 400, "name in URL does not match name in Binding object"),
        (binding(uid="x"), 409, "Precondition failed: UID in precondition: x"),
    ],
    ids=["kind", "name", "another pod", "another uid"],
)
async def test_a_binding_that_does_not_fit_is_refused(world: World, body: Obj, code: int, why: str) -> None:
    await world.plane.client("test").create(PODS, planes.pod("p"))
    error = await world.refused("binding", body)
    assert (error.code, why in error.message) == (code, True), error.message
    assert "nodeName" not in (await world.stored())["spec"]


async def test_a_pod_is_bound_once(world: World) -> None:
    await world.pod()
    error = await world.refused("binding", binding())
    expected = 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    assert (error.code, error.message) == (409, expected)


def test_the_time_of_a_condition_moves_with_its_status() -> None:
    pod: Obj = {"status": {"conditions": [{"type": "X", "status": "True", "lastTransitionTime": "then"}]}}
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    set_condition(pod, {"type": "X", "status": "True", "reason": "R"}, now)
    assert pod["status"]["conditions"] == [{"type": "X", "status": "True", "reason": "R", "lastTransitionTime": "then"}]
    set_condition(pod, {"type": "X", "status": "False"}, now)
    assert pod["status"]["conditions"] == [
        {"type": "X", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]


# --- eviction -----------------------------------------------------------------------------------------


async def test_an_evicted_pod_says_so_and_goes_with_its_grace(world: World) -> None:
    before = await world.pod()
    await world.evict()
    pod = await world.stored()
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["status"]["conditions"][-1] == {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    assert pod["metadata"]["managedFields"] == before["metadata"]["managedFields"]


async def test_a_budget_is_charged_by_one_and_then_says_no(world: World) -> None:
    await world.pod()
    await world.pod("q")
    await world.budget(disruptionsAllowed=1)
    await world.evict()
    budget = await world.plane.client("test").get(BUDGETS, "default", "b")
    assert budget["status"]["disruptionsAllowed"] == 0
    assert budget["status"]["disruptedPods"] == {"p": "2026-01-01T00:00:00Z"}
    with pytest.raises(ApiError) as caught:
        await world.evict("q")
    assert (caught.value.code, caught.value.reason, caught.value.message) == (429, "TooManyRequests", BLOCKED)
    assert caught.value.details == {
        "causes": [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
            }
        ]
    }
    assert "deletionTimestamp" not in (await world.stored("q"))["metadata"]


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        ({"observed": 0}, 429, "The disruption budget b is still being processed by the server."),
        (
            {"conditions": [SYNC_FAILED]},
            429,
            "The disruption budget b does not allow evicting pods currently because it failed sync: m",
        ),
    ],
    ids=["unobserved", "failed"],
)
async def test_a_budget_tells_why_it_says_no(world: World, status: Obj, code: int, why: str) -> None:
    await world.pod()
    await world.budget(**status)
    error = await world.refused("eviction", {"metadata": {"name": "p"}})
    causes = (error.details or {}).get("causes") or [{"message": error.message}]
    assert (error.code, why in causes[0]["message"]) == (code, True), error


async def test_two_budgets_are_not_supported(world: World) -> None:
    await world.pod()
    await world.budget()
    await world.budget("c")
    error = await world.refused("eviction", {"metadata": {"name": "p"}})
    assert (error.code, error.message[:46]) == (500, "This pod has more than one PodDisruptionBudget")


@pytest.mark.parametrize(
    ("policy", "healthy", "goes"),
    [(None, 0, False), (None, 1, True), ("IfHealthyBudget", 1, True), ("AlwaysAllow", 0, True)],
)
async def test_a_pod_that_is_not_ready_may_go_uncounted(
    world: World, policy: str | None, healthy: int, goes: bool
) -> None:
    await world.pod(ready=False)
    await world.budget(spec={"unhealthyPodEvictionPolicy": policy} if policy else None, currentHealthy=healthy)
    if goes:
        await world.evict()
        assert "disruptedPods" not in (await world.plane.client("test").get(BUDGETS, "default", "b"))["status"]
    else:
        assert (await world.refused("eviction", {"metadata": {"name": "p"}})).code == 429


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
async def test_a_pod_that_does_not_run_is_evicted_unasked(world: World, phase: str) -> None:
    await world.pod(phase=phase)
    await world.budget()
    await world.evict()


async def test_a_dry_run_asks_and_changes_nothing(world: World) -> None:
    before = await world.pod()
    await world.budget(disruptionsAllowed=1)
    await world.evict(dryRun=["All"])
    assert await world.stored() == before
    assert (await world.plane.client("test").get(BUDGETS, "default", "b"))["status"]["disruptionsAllowed"] == 1


async def test_an_eviction_has_preconditions_and_the_name_of_its_pod(world: World) -> None:
    await world.pod()
    stale = {"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": "other"}}}
    assert (await world.refused("eviction", stale)).message.startswith('Operation cannot be fulfilled on Pod "p"')
    old = {"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"resourceVersion": "1"}}}
    assert (await world.refused("eviction", old)).code == 409
    other = await world.refused("eviction", {"metadata": {"name": "other"}})
    assert (other.code, other.message) == (400, "name in URL does not match name in Eviction object")
    version = (await world.stored())["metadata"]["resourceVersion"]
    await world.evict(preconditions={"resourceVersion": version})
    assert "deletionTimestamp" in (await world.stored())["metadata"]
