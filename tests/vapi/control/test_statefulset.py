"""StatefulSets on a real plane: order, identity, claims, revisions, updates."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.control.history import data_hash, template_patch
from vapi.gvk import Obj

SETS = ("statefulset-controller", "garbage-collector-controller")


def template(image: str = "nginx:1") -> Obj:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def stateful_set(replicas: int = 3, **spec: Any) -> Obj:
    wanted = {
        "replicas": replicas,
        "serviceName": "web",
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(),
        **spec,
    }
    metadata = {"name": "web", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": wanted}


def claim_template(name: str = "data") -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": name}, "spec": spec}


async def edit(it: Cluster, **spec: Any) -> None:
    obj = await it.get(kinds.STATEFUL_SETS, "web")
    obj["spec"].update(spec)
    await it.client.update(kinds.STATEFUL_SETS, obj)


async def status(it: Cluster) -> Obj:
    found: Obj = (await it.get(kinds.STATEFUL_SETS, "web"))["status"]
    return found


def pods(it: Cluster) -> dict[str, Obj]:
    return {each["metadata"]["name"]: each for each in it.objects(kinds.PODS)}


def images(it: Cluster) -> dict[str, str]:
    return {name: pod["spec"]["containers"][0]["image"] for name, pod in pods(it).items()}


def claims(it: Cluster) -> list[str]:
    return [each["metadata"]["name"] for each in it.objects(kinds.CLAIMS)]


async def test_its_pods_have_names_and_identities_that_stay() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2))
        await it.settle()
        revision = (await status(it))["currentRevision"]
        assert list(pods(it)) == ["web-0", "web-1"]
        pod = pods(it)["web-1"]
        assert pod["metadata"]["labels"] == {
            "app": "web",
            "statefulset.kubernetes.io/pod-name": "web-1",
            "apps.kubernetes.io/pod-index": "1",
            "controller-revision-hash": revision,
        }
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-1", "web")
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"
        assert await status(it) == {
            "observedGeneration": 1,
            "replicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "currentReplicas": 2,
            "updatedReplicas": 2,
            "currentRevision": revision,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        assert it.messages("SuccessfulCreate") == [
            "Create Pod web-0 in StatefulSet web successful",
            "Create Pod web-1 in StatefulSet web successful",
        ]
        before = pod["metadata"]["uid"]
        await it.client.delete(kinds.PODS, "default", "web-1")
        await it.settle()
        assert pods(it)["web-1"]["metadata"]["uid"] != before


async def test_an_ordered_set_waits_for_each_pod_up_and_down() -> None:
    async with cluster(*SETS) as it:
        it.kubelet.ready = lambda pod: pod["metadata"]["name"] != "web-1"
        await it.create(kinds.STATEFUL_SETS, stateful_set(3))
        await it.settle()
        assert list(pods(it)) == ["web-0", "web-1"]
        it.kubelet.ready = lambda _pod: True
        it.kubelet.look_at_all()
        await it.settle()
        assert list(pods(it)) == ["web-0", "web-1", "web-2"]
        it.kubelet.hold = True
        await edit(it, replicas=1)
        await it.settle()
        going = [name for name, pod in pods(it).items() if "deletionTimestamp" in pod["metadata"]]
        assert going == ["web-2"]
        it.kubelet.hold = False
        it.kubelet.look_at_all()
        await it.settle()
        assert list(pods(it)) == ["web-0"]


async def test_a_broken_pod_below_stops_scaling_down_until_it_is_mended() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(3))
        await it.settle()
        it.kubelet.ready = lambda pod: pod["metadata"]["name"] != "web-0"
        it.kubelet.look_at_all()
        await it.settle()
        await edit(it, replicas=1)
        await it.settle()
        assert list(pods(it)) == ["web-0", "web-1", "web-2"]
        it.kubelet.ready = lambda _pod: True
        it.kubelet.look_at_all()
        await it.settle()
        assert list(pods(it)) == ["web-0"]


async def test_a_parallel_set_makes_and_deletes_all_at_once() -> None:
    async with cluster(*SETS) as it:
        it.kubelet.ready = lambda _pod: False
        it.kubelet.hold = True
        await it.create(kinds.STATEFUL_SETS, stateful_set(4, podManagementPolicy="Parallel"))
        await it.settle()
        assert len(pods(it)) == 4
        await edit(it, replicas=1)
        await it.settle()
        going = [name for name, pod in pods(it).items() if "deletionTimestamp" in pod["metadata"]]
        assert going == ["web-1", "web-2", "web-3"]


async def test_ordinals_may_start_elsewhere() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2, ordinals={"start": 5}))
        await it.settle()
        assert list(pods(it)) == ["web-5", "web-6"]
        await edit(it, ordinals={"start": 6})
        await it.settle()
        assert list(pods(it)) == ["web-6", "web-7"]


async def test_an_update_goes_from_the_top_down_to_the_partition() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(3))
        await it.settle()
        first = (await status(it))["currentRevision"]
        await edit(
            it,
            template=template("nginx:2"),
            updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        )
        await it.settle()
        assert images(it) == {"web-0": "nginx:1", "web-1": "nginx:1", "web-2": "nginx:2"}
        found = await status(it)
        assert (found["currentRevision"], found["currentReplicas"], found["updatedReplicas"]) == (first, 2, 1)
        await it.client.delete(kinds.PODS, "default", "web-0")
        await it.settle()
        assert images(it)["web-0"] == "nginx:1"
        await edit(it, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        await it.settle()
        assert set(images(it).values()) == {"nginx:2"}
        found = await status(it)
        assert found["currentRevision"] == found["updateRevision"] != first


async def test_a_bad_update_takes_one_pod_and_stops() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(3))
        await it.settle()
        it.kubelet.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "broken"
        await edit(it, template=template("broken"))
        await it.settle()
        assert images(it) == {"web-0": "nginx:1", "web-1": "nginx:1", "web-2": "broken"}
        # As on Kubernetes: an ordered set does not go back over a broken pod until somebody deletes that.
        await edit(it, template=template("nginx:1"))
        await it.settle()
        assert images(it)["web-2"] == "broken"
        await it.client.delete(kinds.PODS, "default", "web-2")
        await it.settle()
        assert set(images(it).values()) == {"nginx:1"}


async def test_on_delete_leaves_pods_until_somebody_deletes_them() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2, updateStrategy={"type": "OnDelete"}))
        await it.settle()
        await edit(it, template=template("nginx:2"))
        await it.settle()
        assert set(images(it).values()) == {"nginx:1"}
        await it.client.delete(kinds.PODS, "default", "web-0")
        await it.settle()
        assert images(it) == {"web-0": "nginx:2", "web-1": "nginx:1"}


async def test_revisions_are_counted_up_reused_and_dropped() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(1, revisionHistoryLimit=2))
        await it.settle()
        for image in ("nginx:2", "nginx:3", "nginx:1"):
            await edit(it, template=template(image))
            await it.settle()
        revisions = it.objects(kinds.CONTROLLER_REVISIONS)
        numbers = {
            each["data"]["spec"]["template"]["spec"]["containers"][0]["image"]: each["revision"] for each in revisions
        }
        assert numbers == {"nginx:1": 4, "nginx:2": 2, "nginx:3": 3}
        for image in ("nginx:4", "nginx:5"):
            await edit(it, template=template(image))
            await it.settle()
        assert sorted(each["revision"] for each in it.objects(kinds.CONTROLLER_REVISIONS)) == [4, 5, 6]
        (newest,) = [each for each in it.objects(kinds.CONTROLLER_REVISIONS) if each["revision"] == 6]
        assert newest["metadata"]["name"] == (await status(it))["updateRevision"]
        assert newest["data"]["spec"]["template"]["$patch"] == "replace"


def test_a_revision_is_named_as_kubernetes_names_it() -> None:
    """Recorded on Kubernetes 1.37.1."""
    template: Obj = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [
                {
                    "image": "i:1",
                    "imagePullPolicy": "IfNotPresent",
                    "name": "c",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }
            ],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    }
    assert data_hash(template_patch({"spec": {"template": template}}), 0) == "88b8c7b96"


async def test_every_pod_has_claims_that_outlive_it() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2, volumeClaimTemplates=[claim_template()]))
        await it.settle()
        assert claims(it) == ["data-web-0", "data-web-1"]
        claim = it.objects(kinds.CLAIMS)[0]
        assert claim["metadata"]["labels"] == {"app": "web"}
        assert "ownerReferences" not in claim["metadata"]
        volume = pods(it)["web-0"]["spec"]["volumes"][0]
        assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}
        uid = claim["metadata"]["uid"]
        await edit(it, replicas=0)
        await it.settle()
        await edit(it, replicas=1)
        await it.settle()
        assert claims(it) == ["data-web-0", "data-web-1"]
        assert it.objects(kinds.CLAIMS)[0]["metadata"]["uid"] == uid
        await it.client.delete(kinds.STATEFUL_SETS, "default", "web")
        await it.settle()
        assert (pods(it), len(claims(it))) == ({}, 2)


@pytest.mark.parametrize(
    ("scaled", "deleted", "after_scaling", "after_deleting"),
    [
        ("Retain", "Delete", ["data-web-0", "data-web-1"], []),
        ("Delete", "Retain", ["data-web-0"], ["data-web-0"]),
        ("Delete", "Delete", ["data-web-0"], []),
    ],
)
async def test_claims_go_by_the_retention_policy(
    scaled: str, deleted: str, after_scaling: list[str], after_deleting: list[str]
) -> None:
    policy = {"whenScaled": scaled, "whenDeleted": deleted}
    async with cluster(*SETS) as it:
        wanted = stateful_set(2, volumeClaimTemplates=[claim_template()], persistentVolumeClaimRetentionPolicy=policy)
        await it.create(kinds.STATEFUL_SETS, wanted)
        await it.settle()
        await edit(it, replicas=1)
        await it.settle()
        assert claims(it) == after_scaling
        await it.client.delete(kinds.STATEFUL_SETS, "default", "web")
        await it.settle()
        assert claims(it) == after_deleting


async def test_a_finished_pod_is_made_anew() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(1))
        await it.settle()
        pod = pods(it)["web-0"]
        pod["status"]["phase"] = "Failed"
        await it.client.update(kinds.PODS, pod, subresource="status")
        await it.settle()
        assert pods(it)["web-0"]["metadata"]["uid"] != pod["metadata"]["uid"]


async def test_available_comes_after_min_ready_seconds() -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2, minReadySeconds=10))
        await it.settle()
        found = await status(it)
        assert (found["readyReplicas"], found["availableReplicas"]) == (1, 0)
        await it.advance(10)
        await it.advance(10)
        assert (await status(it))["availableReplicas"] == 2


async def test_orphans_of_its_name_are_adopted_and_others_left() -> None:
    async with cluster(*SETS) as it:
        for name in ("web-0", "stray"):
            metadata = {"name": name, "namespace": "default", "labels": {"app": "web"}}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template()["spec"]}
            await it.create(kinds.PODS, pod)
        await it.create(kinds.STATEFUL_SETS, stateful_set(1))
        await it.settle()
        assert "ownerReferences" not in pods(it)["stray"]["metadata"]
        assert pods(it)["web-0"]["metadata"]["ownerReferences"][0]["name"] == "web"
        assert pods(it)["web-0"]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"


@pytest.mark.parametrize("turns", [1, 5, 17, 61, 191])
async def test_it_goes_on_after_a_stop_anywhere(turns: int) -> None:
    async with cluster(*SETS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(3, volumeClaimTemplates=[claim_template()]))
        await it.turns(turns)
        await it.stop()
        it.start()
        await it.settle()
        await edit(it, template=template("nginx:2"))
        for _ in range(4):
            await it.turns(turns)
            await it.kubelet.work()
            await it.stop()
            it.start()
        await it.settle()
        assert images(it) == dict.fromkeys(("web-0", "web-1", "web-2"), "nginx:2")
        assert len(claims(it)) == 3
        assert len(it.objects(kinds.CONTROLLER_REVISIONS)) == 2
