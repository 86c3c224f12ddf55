"""Nodes: mirrors of those that the tenant's pods run on; the host owns every field of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from sync.cluster import ClusterError, ClusterEvent, ClusterEventType
from sync.hooks import TwinLost
from sync.nodes import GONE_S, HEARTBEAT_S, UNUSED_S, Nodes
from sync.nodes_copy import CORDON, NodeRules, copy_of, edits, rules
from sync.translator import NODES
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import PODS, FakeClock, plane, pod, turns
from vapi.config_values import NodesMode
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane
from vapi.resources.strategies.mirrors import MIRROR

LOOKS = 200
"""Turns of the loop in which a mirror is made in memory."""


def node(name: str, beat: str = "2026-01-01T00:00:00Z", **labels: str) -> Obj:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": beat}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}, "annotations": {"a": "b"}},
        "spec": {"podCIDR": "10.0.0.0/24", "providerID": "cloud://1"},
        "status": {"conditions": [ready], "images": [{"names": ["i"]}], "capacity": {"cpu": "4"}},
    }


@dataclass
class Bench:
    tenant: ControlPlane
    host: ControlPlane
    clock: FakeClock
    nodes: Nodes

    def here(self, name: str) -> Obj | None:
        entry = self.tenant.registry.cached(NODES, "", name)
        return entry.obj() if entry else None

    async def there(self, obj: Obj) -> None:
        """The host's node, made or written."""
        client = self.host.client("kubelet")
        if self.host.registry.cached(NODES, "", obj["metadata"]["name"]) is None:
            await client.create(NODES, {"metadata": dict(obj["metadata"]), "spec": dict(obj["spec"])})
        current = await client.get(NODES, "", obj["metadata"]["name"])
        metadata = {**current["metadata"], "labels": obj["metadata"]["labels"]}
        current = await client.update(NODES, {**current, "metadata": metadata})
        await client.update(NODES, {**current, "status": obj["status"]}, subresource="status")
        await turns(LOOKS)

    async def run_pod(self, name: str, on: str) -> None:
        client = self.tenant.client("vapi-syncer")
        made = await client.create(PODS, pod(name))
        await self.nodes.before_bind(made, on)
        await client.bind("default", name, on, uid=made["metadata"]["uid"])
        await turns(LOOKS)


@contextlib.asynccontextmanager
async def bench(
    rules: NodeRules | None = None, host_side: type[InProcessCluster] = InProcessCluster
) -> AsyncIterator[Bench]:
    clock = FakeClock()
    async with plane(clock=clock) as tenant, plane(clock=clock) as host:
        nodes = Nodes(
            virtual=VirtualCluster(tenant.client("vapi-syncer")),
            host=host_side(host.client("vapi")),
            clock=clock,
            rules=rules or NodeRules(),
        )
        task = asyncio.create_task(nodes.run())
        try:
            yield Bench(tenant, host, clock, nodes)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def test_a_mirror_has_what_a_tenant_may_see() -> None:
    made = copy_of(node("n"), None, NodeRules())
    assert made["spec"] == {"podCIDR": "10.0.0.0/24"}
    assert made["metadata"] == {"name": "n", "labels": {"kubernetes.io/hostname": "n", MIRROR: "true"}}
    assert "images" not in made["status"]
    assert made["status"]["capacity"] == {"cpu": "4"}


async def test_only_the_nodes_that_pods_run_on_are_there() -> None:
    async with bench() as b:
        await b.there(node("used"))
        await b.there(node("other"))
        await b.run_pod("web", "used")
        assert b.here("used") is not None
        assert b.here("other") is None


async def test_all_nodes_are_there_where_that_is_asked_for() -> None:
    async with bench(NodeRules(NodesMode.ALL)) as b:
        await b.there(node("other"))
        assert b.here("other") is not None


async def test_a_node_is_there_before_the_pod_is_bound_to_it() -> None:
    async with bench() as b:
        await b.host.client("kubelet").create(NODES, node("new"))
        made = await b.tenant.client("vapi-syncer").create(PODS, pod("web"))
        await b.nodes.before_bind(made, "new")
        assert b.here("new") is not None


async def test_changes_of_the_host_come_and_edits_of_the_tenant_are_put_back() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.there(node("n", zone="z1"))
        here = b.here("n")
        assert here is not None
        assert here["metadata"]["labels"]["zone"] == "z1"
        here["metadata"]["labels"]["zone"] = "mine"
        await b.tenant.client("tester").update(NODES, here)
        await turns(LOOKS)
        again = b.here("n")
        assert again is not None
        assert again["metadata"]["labels"]["zone"] == "z1"


async def test_heartbeats_alone_are_passed_on_every_five_minutes() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.there(node("n", beat="2026-01-01T00:00:10Z"))
        here = b.here("n")
        assert here is not None
        assert here["status"]["conditions"][0]["lastHeartbeatTime"] == "2026-01-01T00:00:00Z"
        b.clock.advance(HEARTBEAT_S)
        await b.there(node("n", beat="2026-01-01T00:05:00Z"))
        here = b.here("n")
        assert here is not None
        assert here["status"]["conditions"][0]["lastHeartbeatTime"] == "2026-01-01T00:05:00Z"


async def test_a_mirror_goes_a_minute_after_its_last_pod_and_a_tenants_own_node_stays() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.tenant.client("tester").create(NODES, {"metadata": {"name": "own"}})
        await b.tenant.client("tester").delete(PODS, "default", "web", grace_period_s=0)
        await turns(LOOKS)
        assert b.here("n") is not None
        b.clock.advance(UNUSED_S + 1)
        b.nodes.tick()
        await turns(LOOKS)
        assert b.here("n") is None
        assert b.here("own") is not None


async def test_a_node_that_the_host_lost_goes() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.host.client("admin").delete(NODES, "", "n")
        await turns(LOOKS)
        assert b.here("n") is None


# --- a selector -----------------------------------------------------------------------------------------

POOL = NodeRules(NodesMode.ALL, {"pool": "a"})


async def test_with_a_selector_only_nodes_that_match_are_there() -> None:
    async with bench(POOL) as b:
        await b.there(node("mine", pool="a"))
        await b.there(node("other", pool="b"))
        assert b.here("mine") is not None
        assert b.here("other") is None


async def test_a_node_that_loses_the_label_disappears_and_one_that_gets_it_comes() -> None:
    async with bench(POOL) as b:
        await b.there(node("mine", pool="a"))
        await b.there(node("late"))
        await b.there(node("mine"))
        await b.there(node("late", pool="a"))
        assert b.here("mine") is None
        assert b.here("late") is not None


async def test_a_pod_is_never_bound_to_a_node_that_does_not_match_and_is_lost_in_the_end() -> None:
    async with bench(POOL) as b:
        await b.there(node("other", pool="b"))
        made = await b.tenant.client("tester").create(PODS, pod("web"))
        with pytest.raises(Retry):
            await b.nodes.before_bind(made, "other")
        b.clock.advance(GONE_S)
        with pytest.raises(TwinLost):
            await b.nodes.before_bind(made, "other")
        assert b.here("other") is None


async def test_a_node_that_comes_back_in_time_takes_the_pod() -> None:
    async with bench() as b:
        made = await b.tenant.client("tester").create(PODS, pod("web"))
        with pytest.raises(Retry):
            await b.nodes.before_bind(made, "n")
        await b.there(node("n"))
        b.clock.advance(GONE_S)
        await b.nodes.before_bind(made, "n")
        assert b.here("n") is not None


# --- what may not be taken for a loss --------------------------------------------------------------------


class Refusing(InProcessCluster):
    """A host that has taken away our right to list nodes."""

    async def watch(self, *_arguments: object, **_options: object) -> AsyncIterator[ClusterEvent]:
        yield ClusterEvent(ClusterEventType.REFUSED, message="forbidden")
        await asyncio.Event().wait()


async def test_mirrors_stay_where_the_host_refuses_to_list_its_nodes() -> None:
    async with plane() as tenant, plane() as host:
        virtual = VirtualCluster(tenant.client("vapi-syncer"))
        await virtual.create(NODES, copy_of(node("n"), None, NodeRules()))
        nodes = Nodes(virtual=virtual, host=Refusing(host.client("vapi")), clock=FakeClock(), rules=NodeRules())
        task = asyncio.create_task(nodes.run())
        await turns(LOOKS)
        task.cancel()
        assert virtual.cached(NODES, "", "n") is not None


class Unreadable(Refusing):
    """A host that gives us no right to nodes at all."""

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj:
        if gvr == NODES:
            raise ClusterError(403, "Forbidden", "nodes is forbidden")
        return await super().get(gvr, namespace, name)


async def test_a_node_that_may_not_be_read_is_invented_for_the_pod_that_runs_there() -> None:
    async with bench(None, Unreadable) as b:
        made = await b.tenant.client("tester").create(PODS, pod("web"))
        await b.nodes.before_bind(made, "n")
        here = b.here("n")
        assert here is not None
        assert here["status"]["conditions"][0]["status"] == "True"
        assert here["metadata"]["labels"]["kubernetes.io/hostname"] == "n"
        b.clock.advance(UNUSED_S + 1)
        b.nodes.tick()
        await turns(LOOKS)
        assert b.here("n") is None


async def test_a_node_whose_right_was_taken_away_stays_as_it_was() -> None:
    async with bench(None, Unreadable) as b:
        client = b.tenant.client("tester")
        mirror = copy_of(node("n", zone="z"), None, NodeRules())
        await client.create(NODES, mirror)
        await b.nodes.before_bind(await client.create(PODS, pod("web")), "n")
        await turns(LOOKS)
        here = b.here("n")
        assert here is not None
        assert here["metadata"]["labels"]["zone"] == "z"


async def test_virtual_nodes_are_never_invented() -> None:
    async with bench(NodeRules(NodesMode.VIRTUAL), Unreadable) as b:
        made = await b.tenant.client("tester").create(PODS, pod("web"))
        with pytest.raises(ClusterError):
            await b.nodes.before_bind(made, "n")


async def test_a_heartbeat_does_not_take_away_a_node_whose_last_pod_has_just_gone() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.tenant.client("tester").delete(PODS, "default", "web", grace_period_s=0)
        await b.there(node("n", beat="2026-01-01T00:00:10Z"))
        assert b.here("n") is not None


async def test_a_node_that_was_made_anew_with_another_pod_network_is_mirrored_anew() -> None:
    async with bench() as b:
        await b.there(node("n"))
        await b.run_pod("web", "n")
        await b.host.client("admin").delete(NODES, "", "n")
        again = node("n")
        again["spec"]["podCIDR"] = "10.0.9.0/24"
        await b.there(again)
        here = b.here("n")
        assert here is not None
        assert here["spec"]["podCIDR"] == "10.0.9.0/24"


# --- virtual nodes --------------------------------------------------------------------------------------


async def test_a_virtual_node_keeps_what_the_tenant_sets_and_no_taint_of_its_making() -> None:
    async with bench(NodeRules(NodesMode.VIRTUAL)) as b:
        await b.there(node("n"))
        here = b.here("n")
        assert here is not None
        assert "taints" not in here["spec"]
        here["metadata"]["labels"]["mine"] = "1"
        here["spec"]["unschedulable"] = True
        here["spec"]["taints"] = [{"key": "t", "effect": "NoSchedule"}]
        await b.tenant.client("tester").update(NODES, here)
        await b.there(node("n", zone="z"))
        here = b.here("n")
        assert here is not None
        assert (here["metadata"]["labels"]["mine"], here["metadata"]["labels"]["zone"]) == ("1", "z")
        assert here["spec"]["unschedulable"] is True
        assert [t["key"] for t in here["spec"]["taints"]] == ["t", CORDON]
        there = b.host.registry.cached(NODES, "", "n")
        assert there is not None
        assert not there.obj()["spec"].get("unschedulable")


async def test_a_virtual_node_that_the_tenant_deletes_is_there_again_as_the_host_has_it() -> None:
    async with bench(NodeRules(NodesMode.VIRTUAL)) as b:
        await b.there(node("n"))
        await b.tenant.client("tester").delete(NODES, "", "n")
        await turns(LOOKS)
        assert b.here("n") is not None


async def test_nothing_is_written_when_nothing_changes() -> None:
    for mode in (NodesMode.ALL, NodesMode.INVENTED, NodesMode.VIRTUAL):
        async with bench(NodeRules(mode)) as b:
            await b.there(node("n"))
            await b.run_pod("web", "n")
            before = b.here("n")
            await b.there(node("n"))
            assert b.here("n") == before


async def test_on_a_host_of_its_own_the_tenant_cordons_taints_and_labels_the_hosts_nodes() -> None:
    async with bench(rules(NodesMode.AUTO, selector={}, tolerations=(), every_node=True)) as b:
        await b.there(node("n"))
        here = b.here("n")
        assert here is not None
        here["metadata"]["labels"]["zone"] = "mine"
        here["spec"] |= {"unschedulable": True, "taints": [{"key": "a", "effect": "NoExecute"}]}
        await b.tenant.client("tester").update(NODES, here)
        await turns(LOOKS)
        there = await b.host.client("kubelet").get(NODES, "", "n")
        assert there["metadata"]["labels"] == {"kubernetes.io/hostname": "n", "zone": "mine"}
        assert there["spec"]["unschedulable"]
        assert {"key": "a", "effect": "NoExecute"} in there["spec"]["taints"]
        again = b.here("n")
        assert again is not None
        assert again["metadata"]["labels"]["zone"] == "mine"
        del again["metadata"]["labels"]["zone"]
        again["spec"] = {"podCIDR": "10.0.0.0/24"}
        await b.tenant.client("tester").update(NODES, again)
        await turns(LOOKS)
        there = await b.host.client("kubelet").get(NODES, "", "n")
        assert there["metadata"]["labels"] == {"kubernetes.io/hostname": "n"}
        assert "unschedulable" not in there["spec"]
        assert [t for t in there["spec"].get("taints", ()) if t["key"] == "a"] == []


def test_what_the_tenant_writes_leaves_hidden_taints_and_those_of_conditions_to_the_host() -> None:
    asked = NodeRules(NodesMode.ALL, tolerations=({"key": "hidden", "operator": "Exists"},), editable=True)
    hidden, condition = ({"key": key, "effect": "NoSchedule"} for key in ("hidden", "node.kubernetes.io/not-ready"))
    mine = {"key": "mine", "effect": "NoSchedule"}
    host = node("n")
    host["spec"]["taints"] = [hidden, condition]
    current = copy_of(host, None, asked)
    assert edits(current, host, asked) == {}
    current["spec"]["taints"] = [mine]
    assert edits(current, host, asked) == {"spec": {"taints": [hidden, condition, mine]}}
