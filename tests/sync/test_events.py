"""Events of the host, in the tenant's names and only about the present twin of a tenant's object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sync.events import Events, tenant_event
from sync.ownership import make_twin
from sync.translator import EVENTS
from sync.virtual import InProcessCluster, VirtualCluster
from sync.wording import SOMEBODY
from tests.planes import NAMESPACES, PODS, SERVICES, pod, turns
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import Obj

SPEC = {"type": "ExternalName", "externalName": "example.com"}


def event(name: str, about: Obj, **fields: Any) -> Obj:
    metadata = about["metadata"]
    involved = {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": involved,
        "reason": "Started",
        "type": "Normal",
        "count": 3,
        **fields,
    }


@contextlib.asynccontextmanager
async def following(*, places_itself: bool = False) -> AsyncIterator[Rig]:
    async with rig() as r:
        assert r.syncer is not None
        syncer = r.syncer
        events = Events(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            host=InProcessCluster(r.host.client("vapi")),
            host_namespace=HOST_NAMESPACE,
            informers=lambda: syncer.informers,
            places_itself=places_itself,
        )
        task = asyncio.create_task(events.run())
        await turns(20)
        try:
            yield r
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def told(r: Rig) -> list[Obj]:
    return [e.obj() for e in r.tenant.registry.entries(EVENTS, "default")]


async def test_an_event_about_a_twin_is_told_about_the_tenants_pod() -> None:
    async with following() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        twin = r.the_twin(PODS, "web")
        text = f"Pod {HOST_NAMESPACE}/{twin['metadata']['name']} ({twin['metadata']['uid']}) started"
        await r.admin.create(EVENTS, event(f"{twin['metadata']['name']}.17ab", twin, message=text))
        await turns(50)
        (copy,) = told(r)
        here = r.the(PODS, "web")
        assert copy["metadata"]["name"] == "web.17ab"
        assert copy["involvedObject"]["name"] == "web"
        assert copy["involvedObject"]["uid"] == here["metadata"]["uid"]
        assert copy["message"] == f"Pod default/web ({here['metadata']['uid']}) started"
        assert (copy["reason"], copy["type"], copy["count"]) == ("Started", "Normal", 3)


async def test_a_repeated_event_is_the_same_event() -> None:
    async with following() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        made = await r.admin.create(EVENTS, event("e.1", r.the_twin(PODS, "web")))
        await turns(50)
        await r.admin.update(EVENTS, {**made, "count": 4})
        await turns(50)
        assert [e["count"] for e in told(r)] == [4]


@pytest.mark.parametrize("change", [{"uid": "of-a-predecessor"}, {"name": "of-nobody"}, {"kind": "ConfigMap"}])
async def test_what_is_not_about_the_present_twin_is_dropped(change: dict[str, str]) -> None:
    async with following() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        other = event("e.1", r.the_twin(PODS, "web"))
        other["involvedObject"].update(change)
        await r.admin.create(EVENTS, other)
        await turns(50)
        assert told(r) == []


async def test_an_event_for_a_namespace_that_is_going_is_dropped_and_the_next_is_told() -> None:
    async with following() as r:
        await r.virtual.create(NAMESPACES, {"metadata": {"name": "going"}})
        await r.virtual.create(PODS, pod("old", "going"))
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.virtual.delete(NAMESPACES, "", "going")
        await r.admin.create(EVENTS, event("old.1", r.the_twin(PODS, "old", "going")))
        await r.admin.create(EVENTS, event("web.1", r.the_twin(PODS, "web")))
        await turns(50)
        assert [e["metadata"]["name"] for e in told(r)] == ["web.1"]


def test_a_field_path_stays_and_the_names_of_the_host_do_not() -> None:
    twin = make_twin(
        {
            "kind": "Pod",
            "metadata": {
                "name": "web-x-default-x-vc",
                "namespace": "host-ns",
                "uid": "h1",
                "resourceVersion": "1",
                "annotations": {
                    "vapi.dev/object-name": "web",
                    "vapi.dev/object-namespace": "default",
                    "vapi.dev/object-uid": "v1",
                },
            },
        }
    )
    about = {"metadata": {"name": twin.name, "namespace": "host-ns", "uid": "h1"}}
    one = event("web-x-default-x-vc.1", about, message="web-x-default-x-vc_host-ns(h1): back-off")
    one["involvedObject"]["fieldPath"] = "spec.containers{c}"
    copy = tenant_event(one, twin, "host-ns")
    assert copy["message"] == "web_default(v1): back-off"
    assert copy["involvedObject"]["fieldPath"] == "spec.containers{c}"


async def test_what_a_pod_names_is_told_under_the_tenants_names() -> None:
    async with following() as r:
        naming = pod("web")
        naming["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "settings"}}]
        naming["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "a" * 60}}]
        await r.virtual.create(PODS, naming)
        await r.settle()
        twin = r.the_twin(PODS, "web")
        names = r.host_name("settings"), r.host_name("a" * 60)
        text = f'configmap "{names[0]}" not found, secret "{names[1]}" not found, used by db-x-default-x-other'
        await r.admin.create(EVENTS, event(f"{twin['metadata']['name']}.17ab", twin, message=text))
        await turns(50)
        (copy,) = told(r)
        assert copy["message"] == f'configmap "settings" not found, secret "{"a" * 60}" not found, used by {SOMEBODY}'


async def test_events_of_every_synced_kind_are_told() -> None:
    async with following() as r:
        await r.virtual.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": SPEC})
        await r.settle()
        twin = r.the_twin(SERVICES, "web")
        about = event(f"{twin['metadata']['name']}.17ab", twin, message="Ensuring load balancer")
        about["involvedObject"]["kind"] = "Service"
        await r.admin.create(EVENTS, about)
        about["metadata"] = {"name": "other", "namespace": HOST_NAMESPACE}
        about["involvedObject"]["apiVersion"] = "serving.knative.dev/v1"  # a Service of another sort
        await r.admin.create(EVENTS, about)
        await turns(50)
        (copy,) = told(r)
        assert (copy["involvedObject"]["kind"], copy["involvedObject"]["name"]) == ("Service", "web")


async def test_with_virtual_nodes_the_hosts_scheduler_is_heard_only_of_pods_that_are_placed() -> None:
    async with following(places_itself=True) as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        twin = r.the_twin(PODS, "web")
        name = twin["metadata"]["name"]
        await r.admin.create(EVENTS, event(f"{name}.1", twin, reason="FailedScheduling"))
        await r.admin.create(EVENTS, event(f"{name}.2", twin, reason="Scheduled"))
        await turns(50)
        assert told(r) == []
        await r.run_pod("web")
        await r.admin.create(EVENTS, event(f"{name}.3", twin, reason="FailedScheduling"))
        await turns(50)
        assert [e["reason"] for e in told(r)] == ["FailedScheduling"]
