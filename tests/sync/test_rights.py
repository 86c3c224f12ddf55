"""Rights that the host does not give: one feature less each, one line about it, and no name of ours for the tenant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sync import rights
from sync.anchor import SERVICEACCOUNTS
from sync.cluster import Cluster, ClusterError, ClusterEvent, ClusterEventType
from sync.events import Events
from sync.nodes import Nodes
from sync.nodes_copy import NodeRules
from sync.translator import EVENTS, NODES, SERVICES, Context
from sync.tunnels import Tunnels
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import PODS, FakeClock, pod, turns
from tests.sync.fuse import Refusing
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import GVR, Obj

USER = 'User "system:serviceaccount:team-a:team-a"'
IN_NAMESPACE = f'pods "p" is forbidden: {USER} cannot get resource "pods/log" in API group "" in the namespace "team-a"'
OF_CLUSTER = f'nodes is forbidden: {USER} cannot list resource "nodes" in API group "" at the cluster scope: RBAC: x'
NO_RIGHT = "the virtual cluster has no right to"


@pytest.mark.parametrize(
    ("message", "missing", "told"),
    [
        (IN_NAMESPACE, ("get", "pods/log"), f'pods "p" is forbidden: {NO_RIGHT} get pods/log on its host'),
        (OF_CLUSTER, ("list", "nodes"), f"nodes is forbidden: {NO_RIGHT} list nodes on its host"),
        ('pods "p" is forbidden: exceeded quota: q', ("", ""), 'pods "p" is forbidden: exceeded quota: q'),
    ],
    ids=["in a namespace", "of the cluster", "no question of rights"],
)
def test_a_missing_right_is_known_by_its_words(message: str, missing: tuple[str, str], told: str) -> None:
    assert rights.missing(message) == missing
    assert rights.for_tenant(message) == told


class Strict(InProcessCluster):
    """A host without the right to `verb` one kind, as RBAC words it."""

    verb = "create"
    refused = PODS

    def _check(self, verb: str, gvr: GVR) -> None:
        if (verb, gvr) == (self.verb, self.refused):
            what = f'{USER} cannot {verb} resource "{gvr.resource}" in API group "" in the namespace "{HOST_NAMESPACE}"'
            raise ClusterError(403, "Forbidden", f"{gvr.resource} is forbidden: {what}")

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        self._check("create", gvr)
        return await super().create(gvr, obj)

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj:
        self._check("get", gvr)
        return await super().get(gvr, namespace, name)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelname == "WARNING"]


async def test_a_right_to_write_that_is_missing_is_told_in_one_line_and_to_each_object(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rig(started=False) as r:
        r.host_cluster = Strict(r.host.client("vapi"))
        await r.start()
        for name in ("a", "b"):
            await r.virtual.create(PODS, pod(name))
        await r.settle()
        await r.advance(31)
        assert lines(caplog) == ["the host refuses a right"]
        assert {e for e in r.events if e[1] == "SyncError"} == {
            (name, "SyncError", f"pods is forbidden: {NO_RIGHT} create pods on its host") for name in ("a", "b")
        }


async def test_objects_of_a_kind_that_may_not_even_be_listed_are_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async with rig(started=False) as r:
        r.host_cluster = Refusing(r.host.client("vapi"), SERVICES)
        await r.start()
        made = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "None"}}
        await r.virtual.create(SERVICES, made)
        await r.settle()
        await r.advance(31)
        assert r.events == [("web", "SyncError", f"{NO_RIGHT} services on its host")]
        assert lines(caplog) == ["host refuses a kind, it is not synced"]


async def test_an_account_of_pods_that_may_not_be_looked_at_is_taken_to_be_there() -> None:
    async with rig(started=False) as r:
        r.settings["service_account"] = "vc-workload"
        host = Strict(r.host.client("vapi"))
        host.verb, host.refused = "get", SERVICEACCOUNTS
        r.host_cluster = host
        await r.start()
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        assert r.the_twin(PODS, "web")["spec"]["serviceAccountName"] == "vc-workload"


class Insisting(InProcessCluster):
    """A host that refuses to list one kind, each time it is asked."""

    async def watch(self, *_arguments: object, **_options: object) -> AsyncIterator[ClusterEvent]:
        for _ in range(3):
            yield ClusterEvent(ClusterEventType.REFUSED, message="forbidden")
        await asyncio.Event().wait()


@pytest.mark.parametrize("kind", [EVENTS, NODES], ids=["events", "nodes"])
async def test_what_may_not_be_watched_is_told_once(kind: GVR, caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as r:
        host: Cluster = Insisting(r.host.client("vapi"))
        task = asyncio.create_task(_follower(r, kind, host))
        await turns(20)
        task.cancel()
        assert len(lines(caplog)) == 1


async def _follower(r: Rig, kind: GVR, host: Cluster) -> None:
    virtual = VirtualCluster(r.tenant.client("vapi-syncer"))
    if kind == NODES:
        await Nodes(virtual=virtual, host=host, clock=FakeClock(), rules=NodeRules()).run()
    else:
        await Events(virtual=virtual, host=host, host_namespace=HOST_NAMESPACE, informers=dict).run()


async def test_what_the_host_answers_instead_of_a_container_names_nothing_of_the_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        tunnels = Tunnels(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            host=InProcessCluster(r.host.client("vapi")),
            context=lambda: Context(cluster=r.name, host_namespace=HOST_NAMESPACE),
        )
        say = (await tunnels.pod("default", "web", "log", "")).say
        there = r.host_name("web")
        assert say(f'container "c" in pod "{there}" is waiting to start: ImagePullBackOff') == (
            'container "c" in pod "web" is waiting to start: ImagePullBackOff'
        )
        assert say(f"container c not found in pod {there}_{HOST_NAMESPACE}\n") == (
            "container c not found in pod web_default\n"
        )
        refusal = f'pods "{there}" is forbidden: {USER} cannot get resource "pods/log" in API group "" in the namespace'
        for _ in range(2):
            assert (
                say(f'{refusal} "{HOST_NAMESPACE}"') == f'pods "web" is forbidden: {NO_RIGHT} get pods/log on its host'
            )
        assert lines(caplog) == ["the host refuses a right"]
