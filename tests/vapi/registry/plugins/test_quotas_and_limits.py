"""LimitRanger and ResourceQuota against recorded answers, and quotas under many writers at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from storage.memory import MemoryStore
from tests.planes import CONFIGMAPS, NAMESPACES, PODS, SERVICES, FakeClock, configmap, schemas
from tests.vapi.schema.golden import recorded
from vapi.auth.admission import builtin_plugins
from vapi.auth.rbac import Rbac
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.caller import Caller, system_caller
from vapi.registry.client import Client
from vapi.registry.plugins.resource_quota import BATCH, QUOTAS, Quotas

ADMISSION = recorded("admission_1.37.json")
LIMITS = GVR("", "v1", "limitranges")
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
QUOTA_HARD = ADMISSION[0]["request"]["body"]["spec"]["hard"]
LIMIT_RANGE = ADMISSION[12]["request"]["body"]


@contextlib.asynccontextmanager
async def guarded(quotas: Quotas | None = None) -> AsyncIterator[ControlPlane]:
    """A plane with all plugins. `quotas`: where charges are written; None: where they belong."""
    clock = FakeClock()
    async with running_plane(
        MemoryStore(),
        clock=clock,
        schemas=schemas(),
        plugins=lambda registry: builtin_plugins(
            registry, Rbac(), quotas=quotas or Client(registry, "kube-apiserver"), clock=clock
        ),
    ) as plane:
        client = plane.client("test")
        await client.create(NAMESPACES, {"metadata": {"name": "default"}})
        await client.create(GVR("", "v1", "serviceaccounts"), {"metadata": {"name": "default", "namespace": "default"}})
        yield plane


async def counted(plane: ControlPlane, hard: dict[str, str], name: str = "q", **used: str) -> None:
    """A quota that the controller has counted."""
    client = plane.client("test")
    made = await client.create(QUOTAS, {"metadata": {"name": name, "namespace": "default"}, "spec": {"hard": hard}})
    made["status"] = {"hard": hard, "used": dict.fromkeys(hard, "0") | used}
    await client.update(QUOTAS, made, subresource="status")


def used(plane: ControlPlane, name: str = "q") -> dict[str, str]:
    entry = plane.registry.cached(QUOTAS, "default", name)
    assert entry is not None
    found: dict[str, str] = entry.obj()["status"]["used"]
    return found


async def refusal(plane: ControlPlane, gvr: GVR, obj: Obj, caller: Caller | None = None) -> str:
    row = plane.catalog.of(gvr)
    with pytest.raises(ApiError) as error:
        await plane.registry.create(caller or system_caller("test"), row, "default", obj)
    assert (error.value.code, error.value.reason) == (403, "Forbidden")
    return error.value.message


def in_default(index: int) -> tuple[Obj, str]:
    """A recorded request, and what the server said to it."""
    body, response = ADMISSION[index]["request"]["body"], ADMISSION[index]["response"]
    return {**body, "metadata": {**body["metadata"], "namespace": "default"}}, response.get("message", "")


def pod(name: str, **resources: Any) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]},
    }


# --- quotas ---------------------------------------------------------------------------------------------


async def test_quotas_refuse_in_the_words_of_kubernetes_and_charge_what_they_let_through() -> None:
    async with guarded() as plane:
        client = plane.client("test")
        await counted(plane, QUOTA_HARD, **{"count/configmaps": "1"})
        await client.create(CONFIGMAPS, configmap("a"))
        assert used(plane)["count/configmaps"] == "2"
        for index, gvr in ((3, CONFIGMAPS), (5, PODS), (6, PODS), (9, SERVICES)):
            body, message = in_default(index)
            assert await refusal(plane, gvr, body) == message
        body, _ = in_default(7)
        await client.create(PODS, body)
        assert used(plane) == ADMISSION[10]["response"]["status"]["used"]
        body, message = in_default(8)
        assert await refusal(plane, PODS, body) == message


async def test_a_dry_run_is_judged_and_not_charged() -> None:
    async with guarded() as plane:
        await counted(plane, {"count/configmaps": "1"})
        dry = Caller(system_caller("test").user, field_manager="x", dry_run=True)
        row = plane.catalog.of(CONFIGMAPS)
        await plane.registry.create(dry, row, "default", configmap("a"))
        assert used(plane) == {"count/configmaps": "0"}
        await plane.client("test").create(CONFIGMAPS, configmap("b"))
        message = await refusal(plane, CONFIGMAPS, configmap("c"), dry)
        assert message.endswith("requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1")


async def test_of_many_at_once_no_more_than_the_quota_come_through() -> None:
    async with guarded() as plane:
        await counted(plane, {"count/configmaps": "7", "configmaps": "9"})
        await counted(plane, {"configmaps": "6"}, name="r")
        client = plane.client("test")
        answers = await asyncio.gather(
            *(client.create(CONFIGMAPS, configmap(f"c{n}")) for n in range(30)), return_exceptions=True
        )
        assert sum(not isinstance(a, BaseException) for a in answers) == 6
        assert all(isinstance(a, ApiError) and a.code == 403 for a in answers if isinstance(a, BaseException))
        assert used(plane, "r") == {"configmaps": "6"}


async def test_a_request_that_goes_away_takes_nobody_with_it() -> None:
    async with guarded() as plane:
        await counted(plane, {"configmaps": "9"})
        client = plane.client("test")
        tasks = [asyncio.create_task(client.create(CONFIGMAPS, configmap(f"c{n}"))) for n in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(a, asyncio.CancelledError) for a in answers) == 1
        assert sum(isinstance(a, dict) for a in answers) == 3


async def test_a_charge_that_meets_another_writer_is_tried_again() -> None:
    async with guarded() as plane:
        await counted(plane, {"configmaps": "5"})
        client = plane.client("test")

        async def label(n: int) -> None:
            await client.patch(
                QUOTAS,
                "default",
                "q",
                b'{"metadata":{"labels":{"n":"%d"}}}' % n,
                content_type="application/merge-patch+json",
            )

        await asyncio.gather(
            *(label(n) for n in range(3)), *(client.create(CONFIGMAPS, configmap(f"c{n}")) for n in range(3))
        )
        assert used(plane) == {"configmaps": "3"}


async def test_what_is_not_counted_yet_is_refused() -> None:
    async with guarded() as plane:
        made = await plane.client("test").create(
            QUOTAS, {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"configmaps": "1"}}}
        )
        made["status"] = {"hard": {"configmaps": "1", "pods": "1"}, "used": {"pods": "0"}}
        await plane.client("test").update(QUOTAS, made, subresource="status")
        message = await refusal(plane, CONFIGMAPS, configmap("a"))
        assert message == 'configmaps "a" is forbidden: status unknown for quota: q, resources: configmaps'


async def test_a_service_that_grows_is_charged_and_one_that_shrinks_is_not_refused() -> None:
    async with guarded() as plane:
        client = plane.client("test")
        service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
        made = await client.create(SERVICES, service)
        await counted(plane, {"services.nodeports": "0", "services": "0"}, services="1")
        grown = {**made, "spec": {**made["spec"], "type": "NodePort"}}
        with pytest.raises(ApiError, match=r"exceeded quota: q, requested: services\.nodeports=1, used"):
            await client.update(SERVICES, grown)
        made["metadata"]["labels"] = {"a": "b"}
        await client.update(SERVICES, made)


async def test_scopes_choose_which_pods_a_quota_is_about() -> None:
    async with guarded() as plane:
        client = plane.client("test")
        made = await client.create(
            QUOTAS,
            {
                "metadata": {"name": "q", "namespace": "default"},
                "spec": {"hard": {"pods": "0"}, "scopes": ["BestEffort"]},
            },
        )
        made["status"] = {"hard": {"pods": "0"}, "used": {"pods": "0"}}
        await client.update(QUOTAS, made, subresource="status")
        assert (await refusal(plane, PODS, pod("best"))).endswith(
            "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
        )
        await client.create(PODS, pod("burst", requests={"cpu": "1"}))
        await client.create(CONFIGMAPS, configmap("a"))


async def test_any_kind_can_be_counted() -> None:
    async with guarded() as plane:
        await counted(plane, {"count/deployments.apps": "0"})
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        made = {
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
        }
        assert "exceeded quota: q, requested: count/deployments.apps=1" in await refusal(plane, DEPLOYMENTS, made)


# --- limits ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def limited(*items: Obj) -> AsyncIterator[ControlPlane]:
    async with guarded() as plane:
        spec = {"limits": list(items)} if items else LIMIT_RANGE["spec"]
        await plane.client("test").create(LIMITS, {"metadata": {"name": "l", "namespace": "default"}, "spec": spec})
        yield plane


@pytest.mark.parametrize(("index", "gvr"), [(14, PODS), (15, PODS), (16, PODS), (17, PODS), (18, CLAIMS), (19, CLAIMS)])
async def test_limits_refuse_in_the_words_of_kubernetes(index: int, gvr: GVR) -> None:
    async with limited() as plane:
        body, message = in_default(index)
        assert await refusal(plane, gvr, body) == message


async def test_containers_are_given_the_defaults_and_the_pod_says_so() -> None:
    async with limited() as plane:
        body, _ = in_default(13)
        there = await plane.client("test").create(PODS, body)
        golden = ADMISSION[13]["response"]
        assert there["spec"]["containers"][0]["resources"] == golden["spec"]["containers"][0]["resources"]
        assert there["metadata"]["annotations"] == golden["metadata"]["annotations"]
        assert there["status"]["qosClass"] == golden["status"]["qosClass"]


async def test_what_a_container_asks_for_stays_and_init_containers_have_defaults_too() -> None:
    async with limited(
        {"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1"}}
    ) as plane:
        body = pod("p", requests={"cpu": "500m"})
        body["spec"]["initContainers"] = [{"name": "first", "image": "i"}]
        there = await plane.client("test").create(PODS, body)
        assert there["spec"]["containers"][0]["resources"] == {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"cpu": "2", "memory": "1Gi"},
        }
        assert there["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c; "
            "cpu, memory request for init container first; cpu, memory limit for init container first"
        )


@pytest.mark.parametrize(
    ("item", "resources", "text"),
    [
        ({"max": {"memory": "1Gi"}, "type": "Pod"}, {}, "maximum memory usage per Pod is 1Gi.  No limit is specified"),
        (
            {"min": {"memory": "1Gi"}, "type": "Pod"},
            {},
            "minimum memory usage per Pod is 1Gi.  No request is specified",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "1500m"}, "type": "Container"},
            {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}},
            "cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}, "type": "Container"},
            {"requests": {"cpu": "1"}},
            "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
        ),
    ],
)
async def test_what_is_not_said_is_beyond_a_bound_as_well(item: Obj, resources: Obj, text: str) -> None:
    async with limited(item) as plane:
        assert await refusal(plane, PODS, pod("p", **resources)) == f'pods "p" is forbidden: {text}'


class BrokenQuotas:
    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        raise RuntimeError("a bug")


async def test_a_bug_in_charging_is_an_error_of_the_request_and_of_none_after_it() -> None:
    async with guarded(BrokenQuotas()) as plane:
        await counted(plane, {"configmaps": "2"})
        row = plane.catalog.of(CONFIGMAPS)
        for name in ("a", "b"):
            with pytest.raises(ApiError) as error:
                await plane.registry.create(system_caller("test"), row, "default", configmap(name))
            assert error.value.code == 500


async def test_more_requests_than_are_judged_in_one_step_are_all_charged() -> None:
    async with guarded() as plane:
        await counted(plane, {"configmaps": str(BATCH * 2)})
        row = plane.catalog.of(CONFIGMAPS)
        answers = await asyncio.gather(
            *(
                plane.registry.create(system_caller("test"), row, "default", configmap(f"c{number}"))
                for number in range(BATCH * 3)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(answer, BaseException) for answer in answers) == BATCH * 2
        assert used(plane) == {"configmaps": str(BATCH * 2)}
