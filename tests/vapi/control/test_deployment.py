"""Deployments on a real plane: rollouts, scaling, pausing, undoing, failing, and starting again in the middle."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.gvk import Obj
from vapi.resources.resource import Propagation

WORKLOADS = ("replicaset-controller", "deployment-controller", "garbage-collector-controller")


def deployment(name: str = "web", *, replicas: int = 3, image: str = "nginx:1", **spec: Any) -> Obj:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    wanted = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    defaults = {
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**defaults, **wanted, **spec},
    }


async def edit(it: Cluster, **spec: Any) -> None:
    web = await it.get(kinds.DEPLOYMENTS, "web")
    web["spec"].update(spec)
    await it.client.update(kinds.DEPLOYMENTS, web)


async def set_image(it: Cluster, image: str) -> None:
    web = await it.get(kinds.DEPLOYMENTS, "web")
    web["spec"]["template"]["spec"]["containers"][0]["image"] = image
    await it.client.update(kinds.DEPLOYMENTS, web)


def condition(obj: Obj, condition_type: str) -> Obj:
    found: Obj = next(c for c in obj["status"]["conditions"] if c["type"] == condition_type)
    return found


def sizes(it: Cluster) -> dict[str, int]:
    """Image → replicas asked for."""
    return {
        each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"].get("replicas", 1)
        for each in it.objects(kinds.REPLICA_SETS)
    }


def images(it: Cluster) -> list[str]:
    return sorted(each["spec"]["containers"][0]["image"] for each in it.objects(kinds.PODS))


async def test_a_first_rollout_is_told_in_one_write_before_its_pods_are_ready() -> None:
    async with cluster(*WORKLOADS) as it:
        told: list[Obj] = []
        it.client.on_change(kinds.DEPLOYMENTS, lambda change: told.append(change.entry.obj()))
        it.kubelet.ready = lambda _pod: False
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle(kubelet=False)
        _, first, *later = told
        assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        assert condition(first, "Progressing")["reason"] == "NewReplicaSetCreated"
        assert condition(first, "Available")["status"] == "False"
        assert first["status"]["observedGeneration"] == 1
        assert [each["status"].get("replicas") for each in later] == [3]


async def test_a_deployment_gets_its_pods_and_says_so() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        web = await it.get(kinds.DEPLOYMENTS, "web")
        (replica_set,) = it.objects(kinds.REPLICA_SETS)
        name = replica_set["metadata"]["name"]
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert name == f"web-{digest}"
        assert len(digest) == 10
        assert len(it.objects(kinds.PODS)) == 3
        assert all(pod["metadata"]["name"].startswith(f"{name}-") for pod in it.objects(kinds.PODS))
        assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        status = {key: value for key, value in web["status"].items() if key != "conditions"}
        assert status == {
            "observedGeneration": 1,
            "replicas": 3,
            "updatedReplicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "terminatingReplicas": 0,
        }
        assert condition(web, "Available")["message"] == "Deployment has minimum availability."
        progressing = condition(web, "Progressing")
        assert progressing["reason"] == "NewReplicaSetAvailable"
        assert progressing["message"] == f'ReplicaSet "{name}" has successfully progressed.'
        assert it.messages("ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 3"]
        assert sorted(it.messages("SuccessfulCreate")) == sorted(
            f"Created pod: {pod['metadata']['name']}" for pod in it.objects(kinds.PODS)
        )


async def test_a_new_image_rolls_out_and_undo_brings_the_old_set_back() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        old_template = it.objects(kinds.REPLICA_SETS)[0]["spec"]["template"]
        await set_image(it, "nginx:2")
        await it.settle()
        assert images(it) == ["nginx:2"] * 3
        assert sizes(it) == {"nginx:1": 0, "nginx:2": 3}
        del old_template["metadata"]["labels"]["pod-template-hash"]
        web = await it.get(kinds.DEPLOYMENTS, "web")
        web["spec"]["template"] = old_template
        await it.client.update(kinds.DEPLOYMENTS, web)
        await it.settle()
        assert images(it) == ["nginx:1"] * 3
        first = next(each for each in it.objects(kinds.REPLICA_SETS) if each["spec"].get("replicas"))
        annotations = first["metadata"]["annotations"]
        assert annotations["deployment.kubernetes.io/revision"] == "3"
        assert annotations["deployment.kubernetes.io/revision-history"] == "1"
        web = await it.get(kinds.DEPLOYMENTS, "web")
        assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


async def test_pods_that_never_get_ready_hold_the_rollout_within_its_limits() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(replicas=10))
        await it.settle()
        it.kubelet.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "broken"
        await set_image(it, "broken")
        await it.settle()
        assert sizes(it) == {"nginx:1": 8, "broken": 5}
        web = await it.get(kinds.DEPLOYMENTS, "web")
        assert condition(web, "Progressing")["reason"] == "ReplicaSetUpdated"
        assert condition(web, "Available")["status"] == "True"
        await it.advance(602)
        web = await it.get(kinds.DEPLOYMENTS, "web")
        progressing = condition(web, "Progressing")
        assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
        assert progressing["message"].endswith(" has timed out progressing.")


async def test_recreate_waits_for_the_last_old_pod() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
        await it.settle()
        it.kubelet.hold = True
        await set_image(it, "nginx:2")
        await it.settle()
        assert images(it) == ["nginx:1"] * 3
        assert sizes(it) == {"nginx:1": 0}
        it.kubelet.hold = False
        it.kubelet.look_at_all()
        await it.settle()
        assert images(it) == ["nginx:2"] * 3


async def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        await edit(it, paused=True)
        await set_image(it, "nginx:2")
        await edit(it, replicas=5)
        await it.settle()
        assert images(it) == ["nginx:1"] * 5
        web = await it.get(kinds.DEPLOYMENTS, "web")
        assert condition(web, "Progressing")["reason"] == "DeploymentPaused"
        await edit(it, paused=False)
        await it.settle()
        assert images(it) == ["nginx:2"] * 5


async def test_only_so_many_old_sets_are_kept() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(revisionHistoryLimit=1))
        for number in range(2, 6):
            await it.settle()
            await set_image(it, f"nginx:{number}")
        await it.settle()
        assert set(sizes(it)) == {"nginx:4", "nginx:5"}


async def test_deleting_a_deployment_deletes_its_sets_and_pods() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        await it.client.delete(kinds.DEPLOYMENTS, "default", "web")
        await it.settle()
        assert it.objects(kinds.REPLICA_SETS) == []
        assert it.objects(kinds.PODS) == []


async def test_min_ready_seconds_delay_availability() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(minReadySeconds=30))
        await it.settle()
        status = (await it.get(kinds.DEPLOYMENTS, "web"))["status"]
        assert (status["readyReplicas"], status.get("availableReplicas", 0)) == (3, 0)
        await it.advance(30)
        assert (await it.get(kinds.DEPLOYMENTS, "web"))["status"]["availableReplicas"] == 3


@pytest.mark.parametrize("turns", [1, 3, 7, 15, 31, 63, 127, 255])
async def test_controllers_that_stop_anywhere_in_a_rollout_go_on_without_duplicates(turns: int) -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(replicas=6))
        await it.turns(turns)
        await it.stop()
        it.start()
        await it.settle()
        await set_image(it, "nginx:2")
        for _ in range(4):
            await it.turns(turns)
            await it.kubelet.work()
            await it.stop()
            it.start()
        await it.settle()
        assert images(it) == ["nginx:2"] * 6
        assert sizes(it) == {"nginx:1": 0, "nginx:2": 6}
        names = [each["metadata"]["name"] for each in it.objects(kinds.REPLICA_SETS)]
        assert len(names) == 2


async def test_a_taken_name_makes_another_hash() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        (first,) = it.objects(kinds.REPLICA_SETS)
        await it.client.delete(kinds.DEPLOYMENTS, "default", "web")
        await it.settle()
        metadata = {"name": first["metadata"]["name"], "namespace": "default"}
        spec = {**first["spec"], "replicas": 0, "selector": {"matchLabels": {"other": "x"}}}
        spec["template"]["metadata"]["labels"] = {"other": "x"}
        await it.create(kinds.REPLICA_SETS, {**first, "metadata": metadata, "spec": spec, "status": {}})
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        web = await it.get(kinds.DEPLOYMENTS, "web")
        assert web["status"]["collisionCount"] == 1
        assert web["status"]["availableReplicas"] == 3
        assert len(it.objects(kinds.REPLICA_SETS)) == 2


async def test_a_deleted_deployment_leaves_its_pods_to_the_next_one_when_orphaned() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        before = {pod["metadata"]["uid"] for pod in it.objects(kinds.PODS)}
        await it.client.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.ORPHAN)
        await it.settle()
        assert "ownerReferences" not in it.objects(kinds.REPLICA_SETS)[0]["metadata"]
        await it.create(kinds.DEPLOYMENTS, deployment())
        await it.settle()
        assert {pod["metadata"]["uid"] for pod in it.objects(kinds.PODS)} == before
        assert len(it.objects(kinds.REPLICA_SETS)) == 1


async def test_scaling_amid_a_stuck_rollout_is_proportional() -> None:
    async with cluster(*WORKLOADS) as it:
        await it.create(kinds.DEPLOYMENTS, deployment(replicas=10))
        await it.settle()
        it.kubelet.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "broken"
        await set_image(it, "broken")
        await it.settle()
        assert sizes(it) == {"nginx:1": 8, "broken": 5}
        await edit(it, replicas=20)
        await it.settle()
        found = sizes(it)
        assert found["nginx:1"] + found["broken"] == 25
        assert found["nginx:1"] > found["broken"] > 5
