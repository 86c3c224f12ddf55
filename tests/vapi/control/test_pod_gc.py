"""Pods that no kubelet takes away, and storage that is in use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds, pod_gc
from vapi.gvk import Obj

GC = "pod-garbage-collector-controller"
PROTECTION = ("persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller")
CLAIM_FINALIZER = "kubernetes.io/pvc-protection"


def pod(name: str, *, finalizers: list[str] | None = None, **spec: Any) -> Obj:
    metadata: Obj = {"name": name, "namespace": "default"}
    if finalizers:
        metadata["finalizers"] = finalizers
    wanted = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": wanted}


def node(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


async def test_a_node_that_stays_away_takes_its_pods_with_it() -> None:
    async with cluster(GC) as it:
        await it.create(kinds.NODES, node("node-1"))
        await it.create(kinds.PODS, pod("p", finalizers=["example.com/hold"]))
        await it.settle()
        await it.client.delete(kinds.NODES, "", "node-1")
        await it.advance(39)
        assert (await it.get(kinds.PODS, "p"))["status"]["phase"] == "Running"
        await it.advance(1)
        found = await it.get(kinds.PODS, "p")
        assert (found["status"]["phase"], "deletionTimestamp" in found["metadata"]) == ("Failed", True)
        conditions = {each["type"]: each for each in found["status"]["conditions"]}
        assert conditions["DisruptionTarget"]["reason"] == "DeletionByPodGC"


async def test_a_node_that_comes_back_keeps_them() -> None:
    async with cluster(GC) as it:
        await it.create(kinds.NODES, node("node-1"))
        await it.create(kinds.PODS, pod("p"))
        await it.settle()
        await it.client.delete(kinds.NODES, "", "node-1")
        await it.advance(30)
        await it.create(kinds.NODES, node("node-1"))
        await it.advance(60)
        assert it.has(kinds.PODS, "p")


async def test_a_pod_deleted_before_it_was_bound_fails_so_that_it_can_be_counted() -> None:
    async with cluster(GC) as it:
        await it.create(kinds.PODS, pod("p", finalizers=["example.com/hold"]))
        await it.client.delete(kinds.PODS, "default", "p")
        await it.settle(kubelet=False)
        assert (await it.get(kinds.PODS, "p"))["status"]["phase"] == "Failed"


async def test_of_ended_pods_the_oldest_beyond_the_limit_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_gc, "MOST_ENDED", 2)
    async with cluster(GC) as it:
        await it.create(kinds.NODES, node("node-1"))
        for name in "abc":
            await it.create(kinds.PODS, pod(name))
            await it.settle()
            it.clock.advance(1)
            ended = await it.get(kinds.PODS, name)
            ended["status"]["phase"] = "Succeeded"
            await it.client.update(kinds.PODS, ended, subresource="status")
        await it.settle()
        await it.advance(20)
        await it.advance(40)
        assert [each["metadata"]["name"] for each in it.objects(kinds.PODS)] == ["b", "c"]


def claim(name: str = "data") -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


async def finalizers(it: Cluster) -> list[str]:
    found: list[str] = (await it.get(kinds.CLAIMS, "data"))["metadata"].get("finalizers", [])
    return found


async def test_a_claim_in_use_stays_until_its_pod_is_gone() -> None:
    async with cluster(*PROTECTION) as it:
        await it.create(kinds.CLAIMS, claim())
        await it.settle()
        assert await finalizers(it) == [CLAIM_FINALIZER]
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        await it.create(kinds.PODS, pod("p", volumes=[volume]))
        await it.settle()
        await it.client.delete(kinds.CLAIMS, "default", "data")
        await it.settle()
        assert it.has(kinds.CLAIMS, "data")
        await it.client.delete(kinds.PODS, "default", "p")
        await it.settle()
        assert not it.has(kinds.CLAIMS, "data")


async def test_a_claim_of_a_pod_that_is_nowhere_goes_at_once() -> None:
    async with cluster(*PROTECTION) as it:
        await it.create(kinds.CLAIMS, claim())
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
        await it.create(kinds.PODS, pod("p", volumes=[volume]))
        await it.settle(kubelet=False)
        await it.client.delete(kinds.CLAIMS, "default", "data")
        await it.settle(kubelet=False)
        assert not it.has(kinds.CLAIMS, "data")


async def test_a_bound_volume_stays_until_it_is_released() -> None:
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    async with cluster(*PROTECTION) as it:
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": spec}
        await it.create(kinds.VOLUMES, volume)
        await it.settle()
        found = await it.get(kinds.VOLUMES, "pv", "")
        found["status"]["phase"] = "Bound"
        await it.client.update(kinds.VOLUMES, found, subresource="status")
        await it.client.delete(kinds.VOLUMES, "", "pv")
        await it.settle()
        found = await it.get(kinds.VOLUMES, "pv", "")
        found["status"]["phase"] = "Released"
        await it.client.update(kinds.VOLUMES, found, subresource="status")
        await it.settle()
        assert not it.has(kinds.VOLUMES, "pv", "")
