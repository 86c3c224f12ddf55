"""ReplicaSets and ReplicationControllers on a real plane: claiming, failing, scaling."""

from __future__ import annotations

from typing import Any

from tests.vapi.control.cluster import Cluster, cluster
from vapi import errors
from vapi.control import kinds
from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation

RS = "replicaset-controller"
RC = "replicationcontroller-controller"


def template(app: str = "web") -> Obj:
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def replica_set(name: str = "web", replicas: int = 3, **spec: Any) -> Obj:
    wanted = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": wanted}


def replication_controller() -> Obj:
    spec = {"replicas": 2, "selector": {"app": "web"}, "template": template()}
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": metadata, "spec": spec}


def pod(name: str, app: str = "web") -> Obj:
    made = {"name": name, "namespace": "default", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": template()["spec"]}


async def scale(it: Cluster, replicas: int, gvr: GVR = kinds.REPLICA_SETS) -> None:
    obj = await it.get(gvr, "web")
    obj["spec"]["replicas"] = replicas
    await it.client.update(gvr, obj)
    await it.settle()


async def test_it_keeps_the_number_whatever_happens_to_its_pods() -> None:
    async with cluster(RS) as it:
        await it.create(kinds.REPLICA_SETS, replica_set())
        await it.settle()
        victim = it.objects(kinds.PODS)[0]["metadata"]["name"]
        await it.client.delete(kinds.PODS, "default", victim)
        await it.settle()
        assert len(it.objects(kinds.PODS)) == 3
        await scale(it, 7)
        assert len(it.objects(kinds.PODS)) == 7
        await scale(it, 1)
        assert len(it.objects(kinds.PODS)) == 1
        status = (await it.get(kinds.REPLICA_SETS, "web"))["status"]
        assert status == {
            "replicas": 1,
            "fullyLabeledReplicas": 1,
            "readyReplicas": 1,
            "availableReplicas": 1,
            "terminatingReplicas": 0,
            "observedGeneration": 3,
        }
        assert len(it.messages("SuccessfulDelete")) == 6


async def test_terminating_pods_are_counted_apart_and_replaced_at_once() -> None:
    async with cluster(RS) as it:
        await it.create(kinds.REPLICA_SETS, replica_set())
        await it.settle()
        it.kubelet.hold = True
        await it.client.delete(kinds.PODS, "default", it.objects(kinds.PODS)[0]["metadata"]["name"])
        await it.settle()
        status = (await it.get(kinds.REPLICA_SETS, "web"))["status"]
        assert (status["replicas"], status["terminatingReplicas"]) == (3, 1)


async def test_a_matching_pod_of_nobody_is_adopted_and_one_that_stops_matching_released() -> None:
    async with cluster(RS) as it:
        await it.create(kinds.PODS, pod("early"))
        await it.create(kinds.REPLICA_SETS, replica_set())
        await it.settle()
        assert len(it.objects(kinds.PODS)) == 3
        early = await it.get(kinds.PODS, "early")
        assert early["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"
        early["metadata"]["labels"] = {"app": "other"}
        await it.client.update(kinds.PODS, early)
        await it.settle()
        early = await it.get(kinds.PODS, "early")
        assert "ownerReferences" not in early["metadata"]
        assert len(it.objects(kinds.PODS)) == 4
        await it.create(kinds.PODS, pod("late"))
        await it.settle()
        assert len(it.objects(kinds.PODS)) == 4


class Quota:
    """Refuses further pods, as long as it is tight."""

    def __init__(self) -> None:
        self.tight = True
        self.asked = 0

    def validate(self, _request: AdmissionRequest) -> None:
        self.asked += 1
        if self.tight:
            raise errors.forbidden(
                kinds.PODS, "", "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
            )


async def test_pods_that_are_refused_make_a_condition_and_are_tried_one_at_a_time() -> None:
    quota = Quota()
    pods = frozenset({("", "pods")})
    plugin = AdmissionPlugin("Quota", frozenset({Operation.CREATE}), pods, validate=quota.validate)
    async with cluster(RS, plugins=[plugin]) as it:
        await it.create(kinds.REPLICA_SETS, replica_set(replicas=50))
        await it.settle()
        assert quota.asked < 15
        status = (await it.get(kinds.REPLICA_SETS, "web"))["status"]
        (condition,) = status["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == (
            "ReplicaFailure",
            "True",
            "FailedCreate",
        )
        refusal = "pods is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
        assert condition["message"] == refusal
        (message,) = set(it.messages("FailedCreate"))
        assert message == f"Error creating: {refusal}"
        quota.tight = False
        await it.advance(60)
        status = (await it.get(kinds.REPLICA_SETS, "web"))["status"]
        assert status["replicas"] == 50
        assert "conditions" not in status


async def test_a_replication_controller_does_the_same() -> None:
    async with cluster(RC) as it:
        await it.create(kinds.REPLICATION_CONTROLLERS, replication_controller())
        await it.settle()
        assert len(it.objects(kinds.PODS)) == 2
        owner = it.objects(kinds.PODS)[0]["metadata"]["ownerReferences"][0]
        assert (owner["apiVersion"], owner["kind"]) == ("v1", "ReplicationController")
        await scale(it, 0, kinds.REPLICATION_CONTROLLERS)
        assert it.objects(kinds.PODS) == []
        status = (await it.get(kinds.REPLICATION_CONTROLLERS, "web"))["status"]
        assert status == {"replicas": 0, "observedGeneration": 2}


async def test_a_hundred_pods_are_ready_in_one_settle() -> None:
    async with cluster(RS) as it:
        await it.create(kinds.REPLICA_SETS, replica_set(replicas=100))
        await it.settle()
        assert (await it.get(kinds.REPLICA_SETS, "web"))["status"]["readyReplicas"] == 100
