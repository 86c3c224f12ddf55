"""PodDisruptionBudgets on a real plane: healthy pods, owners' sizes, granted evictions."""

from __future__ import annotations

from typing import Any

from tests.vapi.control.cluster import Cluster, cluster
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.gvk import GVR, Obj

ALL = ("disruption-controller", "stale-disruption-controller", "replicaset-controller", "deployment-controller")


def budget(**spec: Any) -> Obj:
    wanted = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    metadata = {"name": "pdb", "namespace": "default"}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": wanted}


def owner(kind: str, replicas: int) -> Obj:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def run(it: Cluster, replicas: int, kind: str = "Deployment", gvr: GVR = kinds.DEPLOYMENTS, **spec: Any) -> None:
    await it.create(gvr, owner(kind, replicas))
    await it.create(kinds.DISRUPTION_BUDGETS, budget(**spec))
    await it.settle()


async def status(it: Cluster) -> Obj:
    found: Obj = (await it.get(kinds.DISRUPTION_BUDGETS, "pdb"))["status"]
    return found


def counts(found: Obj) -> tuple[int, int, int, int]:
    return found["currentHealthy"], found["desiredHealthy"], found["expectedPods"], found["disruptionsAllowed"]


async def test_what_may_go_is_what_is_healthy_beyond_the_wanted() -> None:
    async with cluster(*ALL) as it:
        await run(it, 3, minAvailable=2)
        found = await status(it)
        assert counts(found) == (3, 2, 3, 1)
        assert found["observedGeneration"] == 1
        (condition,) = found["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == (
            "DisruptionAllowed",
            "True",
            "SufficientPods",
        )
        it.kubelet.ready = lambda pod: pod["metadata"]["name"] != it.objects(kinds.PODS)[0]["metadata"]["name"]
        it.kubelet.look_at_all()
        await it.settle()
        found = await status(it)
        assert counts(found) == (2, 2, 3, 0)
        assert (found["conditions"][0]["status"], found["conditions"][0]["reason"]) == ("False", "InsufficientPods")


async def test_percentages_are_of_what_the_deployment_asks_for_and_round_up() -> None:
    async with cluster(*ALL) as it:
        await run(it, 7, minAvailable="50%")
        assert counts(await status(it)) == (7, 4, 7, 3)
    async with cluster(*ALL) as it:
        await run(it, 7, kind="ReplicaSet", gvr=kinds.REPLICA_SETS, maxUnavailable="30%")
        assert counts(await status(it)) == (7, 4, 7, 3)


async def test_pods_that_nobody_scales_make_a_budget_that_allows_none() -> None:
    async with cluster(*ALL) as it:
        reference = {"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "u", "controller": True}
        metadata: Obj = {"name": "p", "namespace": "default", "labels": {"app": "web"}, "ownerReferences": [reference]}
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await it.create(kinds.PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        await it.create(kinds.DISRUPTION_BUDGETS, budget(maxUnavailable=1))
        await it.settle()
        found = await status(it)
        assert found["disruptionsAllowed"] == 0
        assert found["conditions"][0]["reason"] == "SyncFailed"
        assert found["conditions"][0]["message"] == 'found no controllers for pod "p"'


async def test_a_granted_eviction_counts_for_two_minutes_or_until_the_pod_is_gone() -> None:
    async with cluster(*ALL) as it:
        await run(it, 3, minAvailable=1)
        pdb = await it.get(kinds.DISRUPTION_BUDGETS, "pdb")
        name = it.objects(kinds.PODS)[0]["metadata"]["name"]
        pdb["status"].update(disruptedPods={name: rfc3339(it.clock.now()), "gone": rfc3339(it.clock.now())})
        await it.client.update(kinds.DISRUPTION_BUDGETS, pdb, subresource="status")
        await it.settle()
        found = await status(it)
        assert (list(found["disruptedPods"]), counts(found)) == ([name], (2, 1, 3, 1))
        await it.advance(121)
        found = await status(it)
        assert ("disruptedPods" in found, counts(found)) == (False, (3, 1, 3, 2))
        assert len(it.messages("NotDeleted")) == 1


async def test_a_pod_that_was_to_be_disrupted_and_was_not_is_cleared() -> None:
    async with cluster(*ALL) as it:
        await run(it, 1, minAvailable=1)
        pod = it.objects(kinds.PODS)[0]
        since = rfc3339(it.clock.now())
        pod["status"]["conditions"].append(
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "lastTransitionTime": since,
            }
        )
        await it.client.update(kinds.PODS, pod, subresource="status")
        await it.settle()
        await it.advance(120)
        conditions = {each["type"]: each["status"] for each in it.objects(kinds.PODS)[0]["status"]["conditions"]}
        assert conditions["DisruptionTarget"] == "False"
