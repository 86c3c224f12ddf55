"""Beside somebody's kube-controller-manager: which of our controllers run, and what it needs of the Nodes we keep."""

from __future__ import annotations

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.clock import parse_rfc3339
from vapi.control import kinds
from vapi.control.controllers import CONTROLLERS, chosen
from vapi.control.node_leases import LEASES, NAMESPACE, NodeLeases
from vapi.gvk import Obj

GC = "garbage-collector-controller"


def test_all_controllers_run_without_one_but_those_whose_work_is_done_elsewhere() -> None:
    assert chosen(external=False) == tuple(CONTROLLERS)
    assert set(CONTROLLERS) - set(chosen(external=False, without=["daemonset-controller"])) == {"daemonset-controller"}
    with pytest.raises(KeyError, match="daemonsets"):
        chosen(external=False, without=["daemonsets"])


def test_beside_an_external_one_run_only_those_that_it_has_not() -> None:
    assert chosen(external=True) == ("expiry-controller",)


def node(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


async def renewed_s_ago(it: Cluster, name: str) -> float:
    spec = (await it.get(LEASES, name, NAMESPACE))["spec"]
    return (it.clock.now() - parse_rfc3339(spec["renewTime"])).total_seconds()


async def test_every_node_has_a_lease_that_is_never_older_than_ten_seconds() -> None:
    async with cluster("expiry-controller", more=[NodeLeases]) as it:
        await it.create(kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        uid = (await it.create(kinds.NODES, node("a")))["metadata"]["uid"]
        await it.settle()
        lease = await it.get(LEASES, "a", NAMESPACE)
        assert lease["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid}]
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("a", 40)
        for seconds, ago in ((9, 9), (1, 0), (10, 0), (25, 0), (4, 4)):
            await it.advance(seconds)
            assert await renewed_s_ago(it, "a") == ago


async def test_the_lease_of_a_node_of_the_same_name_becomes_that_of_the_new_one() -> None:
    async with cluster("expiry-controller", more=[NodeLeases]) as it:
        await it.create(kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await it.create(kinds.NODES, node("a"))
        await it.settle()
        await it.client.delete(kinds.NODES, "", "a")
        uid = (await it.create(kinds.NODES, node("a")))["metadata"]["uid"]
        await it.settle()
        lease = await it.get(LEASES, "a", NAMESPACE)
        assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [uid]


async def test_a_node_that_is_gone_has_its_lease_renewed_no_more() -> None:
    async with cluster(GC, more=[NodeLeases]) as it:
        await it.create(kinds.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await it.create(kinds.NODES, node("a"))
        await it.settle()
        await it.client.delete(kinds.NODES, "", "a")
        await it.advance(30)
        assert not it.has(LEASES, "a", NAMESPACE)
