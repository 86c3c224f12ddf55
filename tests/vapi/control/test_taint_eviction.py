"""Pods leave nodes with NoExecute taints that they do not tolerate."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.control.node_fit import Taint
from vapi.control.taint_eviction import REASON, TaintEvictionController, tolerated_for_s
from vapi.gvk import Obj

OUT = Taint("out", "", "NoExecute")
SLOW = Taint("slow", "1", "NoExecute")
FOR_EVER: Obj = {"key": "out", "operator": "Exists"}
FOR_A_MINUTE: Obj = {**FOR_EVER, "effect": "NoExecute", "tolerationSeconds": 60}


@pytest.mark.parametrize(
    ("taints", "tolerations", "expected"),
    [
        ((), (), None),
        ((OUT,), (), 0),
        ((OUT,), (FOR_EVER,), None),
        ((OUT,), ({**FOR_EVER, "tolerationSeconds": 30},), 30),
        ((OUT,), ({**FOR_EVER, "tolerationSeconds": -1},), 0),
        ((OUT,), (FOR_EVER, {**FOR_EVER, "tolerationSeconds": 30}), 30),
        ((OUT, SLOW), (FOR_EVER,), 0),
        ((OUT, SLOW), (FOR_EVER, {"key": "slow", "value": "1", "tolerationSeconds": 9}), 9),
        ((SLOW,), ({"key": "slow", "value": "2"},), 0),
    ],
    ids=["no taint", "none", "for ever", "a while", "negative", "the shortest", "one of two", "both", "another value"],
)
def test_how_long_a_pod_may_stay(taints: tuple[Taint, ...], tolerations: tuple[Obj, ...], expected: Any) -> None:
    assert tolerated_for_s(taints, tolerations) == expected


def running(name: str, *tolerations: Obj) -> Obj:
    spec: Obj = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "tolerations": list(tolerations)}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def taint(it: Cluster, *taints: Obj) -> None:
    node = await it.get(kinds.NODES, "n", "")
    node["spec"] = {"taints": list(taints)}
    await it.client.update(kinds.NODES, node)
    await it.settle()


NOW = {"key": "out", "effect": "NoExecute"}


async def test_pods_that_do_not_tolerate_the_taint_are_deleted_and_it_is_said_why() -> None:
    async with cluster(more=[TaintEvictionController]) as it:
        it.kubelet.hold = True
        await it.create(kinds.NODES, {"metadata": {"name": "n"}})
        await it.create(kinds.PODS, running("goes"))
        await it.create(kinds.PODS, running("stays", FOR_EVER))
        await taint(it, NOW)
        going = await it.get(kinds.PODS, "goes")
        assert "deletionTimestamp" in going["metadata"]
        conditions = {c["type"]: c["reason"] for c in going["status"]["conditions"] if "reason" in c}
        assert conditions["DisruptionTarget"] == "DeletionByTaintManager"
        assert "deletionTimestamp" not in (await it.get(kinds.PODS, "stays"))["metadata"]
        assert it.messages(REASON) == ["Marking for deletion Pod default/goes"]


async def test_a_pod_that_tolerates_it_for_a_while_goes_when_that_is_over() -> None:
    async with cluster(more=[TaintEvictionController]) as it:
        await it.create(kinds.NODES, {"metadata": {"name": "n"}})
        await it.create(kinds.PODS, running("p", FOR_A_MINUTE))
        await taint(it, NOW)
        await it.advance(59)
        assert it.has(kinds.PODS, "p")
        await it.advance(1)
        assert not it.has(kinds.PODS, "p")


async def test_a_taint_that_is_taken_off_in_time_spares_the_pod() -> None:
    async with cluster(more=[TaintEvictionController]) as it:
        await it.create(kinds.NODES, {"metadata": {"name": "n"}})
        await it.create(kinds.PODS, running("p", FOR_A_MINUTE))
        await taint(it, NOW)
        await it.advance(30)
        await taint(it)
        await it.advance(60)
        assert it.has(kinds.PODS, "p")
        assert it.messages(REASON) == ["Cancelling deletion of Pod default/p"]


async def test_a_pod_that_comes_to_a_tainted_node_and_one_after_a_restart_leave_too() -> None:
    async with cluster(more=[TaintEvictionController]) as it:
        await it.create(kinds.NODES, {"metadata": {"name": "n"}, "spec": {"taints": [NOW]}})
        await it.settle()
        await it.create(kinds.PODS, running("late"))
        await it.settle()
        assert not it.has(kinds.PODS, "late")
        await it.stop()
        await it.create(kinds.PODS, running("meanwhile"))
        it.start()
        await it.settle()
        assert not it.has(kinds.PODS, "meanwhile")


async def test_a_taint_that_only_keeps_new_pods_out_evicts_nobody() -> None:
    async with cluster(more=[TaintEvictionController]) as it:
        await it.create(kinds.NODES, {"metadata": {"name": "n"}})
        await it.create(kinds.PODS, running("p"))
        await taint(it, {"key": "out", "effect": "NoSchedule"})
        assert it.has(kinds.PODS, "p")
