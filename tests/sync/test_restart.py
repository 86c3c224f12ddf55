"""The syncer may be killed before or after any of its writes: the next one ends where an unbroken one would have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sync import metadata as md
from sync import names
from sync.translator import PRIORITYCLASSES
from sync.translators.ingresses import INGRESSES
from sync.translators.networkpolicies import NETWORKPOLICIES
from sync.translators.poddisruptionbudgets import BUDGETS
from tests.planes import CONFIGMAPS, PODS, SECRETS, configmap, pod
from tests.sync.fuse import Fuse, FusedCluster
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.cacher.entry import Change, ChangeType
from vapi.gvk import Obj

MAX_WRITES = 30
"""Far more than any scenario needs; the test checks that it was enough."""


def referring(name: str) -> Obj:
    obj = pod(name)
    obj["spec"]["volumes"] = [{"name": "a", "configMap": {"name": "a"}}, {"name": "b", "secret": {"secretName": "b"}}]
    return obj


async def create(r: Rig) -> None:
    await r.virtual.create(CONFIGMAPS, configmap("a", x="1"))
    await r.virtual.create(SECRETS, {"metadata": {"name": "b", "namespace": "default"}, "data": {"x": "YQ=="}})
    await r.virtual.create(PODS, referring("web"))


async def created(r: Rig) -> None:
    """One twin, marked, and what it names."""
    twin, here = r.the_twin(PODS, "web"), r.the(PODS, "web")
    assert r.host_names(PODS) == [r.host_name("web")]
    assert twin["metadata"]["annotations"][md.OBJECT_UID] == here["metadata"]["uid"]
    mark = md.make_mark(here["metadata"]["uid"], twin["metadata"]["uid"])
    assert here["metadata"]["annotations"][md.HOST_UID] == mark
    assert r.the_twin(CONFIGMAPS, "a")["data"] == {"x": "1"}
    assert r.the_twin(SECRETS, "b")["data"] == {"x": "YQ=="}
    assert r.events == []


async def create_on_a_quick_host(r: Rig) -> None:
    """Its scheduler binds while the mark is still to be written."""
    bindings: set[asyncio.Task[Obj]] = set()

    def bind(change: Change) -> None:
        if change.type is ChangeType.ADDED:
            made = change.entry
            bindings.add(asyncio.create_task(r.admin.bind(HOST_NAMESPACE, made.name, "node-1", uid=made.uid)))

    r.admin.on_change(PODS, bind)
    await create(r)


async def created_and_bound(r: Rig) -> None:
    await created(r)
    assert r.the(PODS, "web")["spec"]["nodeName"] == "node-1"


async def run(r: Rig) -> None:
    there = r.twin(PODS, "web")
    assert there is not None
    if not there["spec"].get("nodeName"):
        await r.admin.bind(HOST_NAMESPACE, r.host_name("web"), "node-1", uid=there["metadata"]["uid"])
    there = r.the_twin(PODS, "web")
    await r.admin.update(PODS, {**there, "status": {"phase": "Running"}}, subresource="status")


async def running(r: Rig) -> None:
    await created(r)
    here = r.the(PODS, "web")
    assert (here["spec"]["nodeName"], here["status"]["phase"]) == ("node-1", "Running")


async def delete(r: Rig) -> None:
    await r.virtual.delete(PODS, "default", "web", grace_period_s=5)


async def deleting(r: Rig) -> None:
    assert r.the_twin(PODS, "web")["metadata"]["deletionGracePeriodSeconds"] == 5
    await r.kubelet_is_done("web")
    assert r.here(PODS, "web") is None
    assert r.host_names(PODS) == []


async def evict(r: Rig) -> None:
    await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=0)


async def evicted(r: Rig) -> None:
    assert r.here(PODS, "web") is None
    assert r.host_names(PODS) == []


async def remove_by_force(r: Rig) -> None:
    await r.virtual.delete(PODS, "default", "web", grace_period_s=0)
    await r.virtual.delete(CONFIGMAPS, "default", "a")


async def removed_by_force(r: Rig) -> None:
    assert r.twin(PODS, "web") is None or "deletionTimestamp" in r.the_twin(PODS, "web")["metadata"]
    await r.kubelet_is_done("web")
    assert r.host_names(PODS) == []
    assert r.twin(CONFIGMAPS, "a") is None


async def write_policies(r: Rig) -> None:
    metadata = {"name": "p", "namespace": "default"}
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    await r.virtual.create(SECRETS, {"metadata": {"name": "b", "namespace": "default"}, "data": {"x": "YQ=="}})
    tls = [{"secretName": "b"}]
    await r.virtual.create(INGRESSES, {"metadata": metadata, "spec": {"defaultBackend": backend, "tls": tls}})
    await r.virtual.create(NETWORKPOLICIES, {"metadata": metadata, "spec": {"podSelector": {}, "ingress": [{}]}})
    await r.virtual.create(BUDGETS, {"metadata": metadata, "spec": {"minAvailable": 1, "selector": {}}})
    await r.virtual.create(PRIORITYCLASSES, {"metadata": {"name": "p"}, "value": 1000})


async def policies_stand(r: Rig) -> None:
    assert r.the_twin(INGRESSES, "p")["spec"]["tls"] == [{"secretName": r.host_name("b")}]
    assert r.twin(SECRETS, "b") is not None
    assert r.the_twin(NETWORKPOLICIES, "p")["spec"]["ingress"] == [{}]
    assert r.the_twin(BUDGETS, "p")["spec"]["minAvailable"] == 1
    assert class_value(r) == 1000
    assert r.events == []


def class_value(r: Rig) -> int | None:
    entry = r.host.registry.cached(PRIORITYCLASSES, "", names.host_cluster_name("p", HOST_NAMESPACE, r.name))
    return entry.obj()["value"] if entry is not None else None


async def change_policies(r: Rig) -> None:
    """On both sides: what the tenant changes goes out, what the host changes is taken back."""
    merge = "application/merge-patch+json"
    more = b'{"spec":{"egress":[{}],"policyTypes":["Ingress","Egress"]}}'
    await r.admin.patch(NETWORKPOLICIES, HOST_NAMESPACE, r.host_name("p"), more, content_type=merge)
    await r.admin.delete(BUDGETS, HOST_NAMESPACE, r.host_name("p"))
    await r.virtual.patch(INGRESSES, "default", "p", b'{"spec":{"tls":null}}', content_type=merge)
    await r.virtual.delete(PRIORITYCLASSES, "", "p")
    await r.virtual.create(PRIORITYCLASSES, {"metadata": {"name": "p"}, "value": 2000})


async def policies_changed(r: Rig) -> None:
    assert "tls" not in r.the_twin(INGRESSES, "p")["spec"]
    assert "egress" not in r.the_twin(NETWORKPOLICIES, "p")["spec"]
    assert r.the_twin(NETWORKPOLICIES, "p")["spec"]["policyTypes"] == ["Ingress"]
    assert r.the_twin(BUDGETS, "p")["spec"]["minAvailable"] == 1
    assert class_value(r) == 2000


Step = Callable[[Rig], Awaitable[None]]

SCENARIOS: dict[str, tuple[list[Step], Step, Step]] = {
    "create": ([], create, created),
    "create on a quick host": ([], create_on_a_quick_host, created_and_bound),
    "run": ([create], run, running),
    "delete": ([create, run], delete, deleting),
    "evict": ([create, run], evict, evicted),
    "policies": ([], write_policies, policies_stand),
    "policies changed": ([write_policies], change_policies, policies_changed),
    "remove by force": ([create, run], remove_by_force, removed_by_force),
}
"""(what was before, what happens, what must be in the end)."""


async def first(task: asyncio.Task[None], fuse: Fuse) -> None:
    """Until `task` is done or the fuse has blown."""
    blown = asyncio.create_task(fuse.blown.wait())
    await asyncio.wait([task, blown], return_when=asyncio.FIRST_COMPLETED)
    blown.cancel()


async def killed_at(scenario: str, at: int, *, after: bool) -> bool:
    """Whether the scenario has a write number `at`."""
    before, happen, check = SCENARIOS[scenario]
    async with rig() as r:
        for step in before:
            await step(r)
            await r.settle()
        await r.kill()
        fuse = Fuse(at, after=after)
        r.virtual_cluster = FusedCluster(r.tenant.client("vapi-syncer"), fuse)
        r.host_cluster = FusedCluster(r.host.client("vapi"), fuse)
        starting = asyncio.create_task(r.start())
        await first(starting, fuse)
        await happen(r)
        if not fuse.blown.is_set():
            await starting
            settling = asyncio.create_task(r.settle())
            await first(settling, fuse)
            settling.cancel()
        starting.cancel()
        blown = fuse.blown.is_set()
        await r.kill()
        r.virtual_cluster = r.host_cluster = None
        await r.start()
        await check(r)
        return blown


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_killed_at_any_write(scenario: str, after: bool) -> None:
    at = 0
    while await killed_at(scenario, at, after=after):
        at += 1
        assert at < MAX_WRITES
    assert at > 0
