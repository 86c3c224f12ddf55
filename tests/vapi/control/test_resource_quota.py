"""What ResourceQuotas say is used."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.gvk import Obj
from vapi.resources import quota_usage

QUOTA = "resourcequota-controller"


def quota(hard: dict[str, str], **spec: Any) -> Obj:
    metadata = {"name": "q", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard, **spec}}


def container(name: str = "c", **resources: Any) -> Obj:
    return {"name": name, "image": "i", "resources": resources}


def pod(name: str, *containers: Obj, **spec: Any) -> Obj:
    wanted = {"containers": list(containers) or [container()], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": wanted}


async def used(it: Cluster) -> dict[str, str]:
    await it.advance(0.2)
    status = (await it.get(kinds.RESOURCE_QUOTAS, "q"))["status"]
    found: dict[str, str] = status["used"]
    return found


async def test_pods_count_while_they_run_and_add_up() -> None:
    async with cluster(QUOTA) as it:
        await it.create(
            kinds.RESOURCE_QUOTAS, quota({"pods": "5", "requests.cpu": "2", "limits.memory": "4Gi", "memory": "1Gi"})
        )
        await it.settle()
        assert await used(it) == {"pods": "0", "requests.cpu": "0", "limits.memory": "0", "memory": "0"}
        asks: Obj = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
        for name in "ab":
            await it.create(kinds.PODS, pod(name, container("c", **asks)))
        assert await used(it) == {"pods": "2", "requests.cpu": "500m", "limits.memory": "2Gi", "memory": "1Gi"}
        ended = await it.get(kinds.PODS, "a")
        ended["status"]["phase"] = "Succeeded"
        await it.client.update(kinds.PODS, ended, subresource="status")
        assert (await used(it))["pods"] == "1"
        await it.client.delete(kinds.PODS, "default", "b")
        await it.settle()
        assert await used(it) == {"pods": "0", "requests.cpu": "0", "limits.memory": "0", "memory": "0"}


async def test_objects_services_and_claims_are_counted() -> None:
    hard = {
        "count/configmaps": "3",
        "secrets": "3",
        "services": "5",
        "services.nodeports": "5",
        "persistentvolumeclaims": "4",
        "requests.storage": "5Gi",
        "fast.storageclass.storage.k8s.io/requests.storage": "5Gi",
        "count/deployments.apps": "1",
        "count/unknown.example.com": "1",
    }
    async with cluster(QUOTA) as it:
        await it.create(kinds.RESOURCE_QUOTAS, quota(hard))
        metadata = {"name": "x", "namespace": "default"}
        await it.create(kinds.CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        ports = [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]
        await it.create(
            kinds.SERVICES,
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "NodePort", "ports": ports}},
        )
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1536Mi"}}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        await it.create(kinds.CLAIMS, claim)
        await it.create(
            kinds.CLAIMS,
            {**claim, "metadata": {**metadata, "name": "y"}, "spec": {**spec, "storageClassName": "fast"}},
        )
        await it.settle()
        assert await used(it) == {
            "count/configmaps": "1",
            "secrets": "0",
            "services": "1",
            "services.nodeports": "2",
            "persistentvolumeclaims": "2",
            "requests.storage": "3Gi",
            "fast.storageclass.storage.k8s.io/requests.storage": "1536Mi",
            "count/deployments.apps": "0",
        }


async def test_scopes_choose_the_pods() -> None:
    async with cluster(QUOTA) as it:
        await it.create(kinds.RESOURCE_QUOTAS, quota({"pods": "5"}, scopes=["Terminating"]))
        await it.create(kinds.PODS, pod("a", activeDeadlineSeconds=10))
        await it.create(kinds.PODS, pod("b"))
        await it.settle()
        assert await used(it) == {"pods": "1"}


def amounts(spec: Obj) -> dict[str, int]:
    found = quota_usage.pod_usage({"metadata": {}, "spec": spec})
    return {name: nanos // 10**6 for name, (nanos, _) in found.amounts if name.startswith("requests.")}


def cpu(value: str, **more: Any) -> Obj:
    return {"name": "c", "resources": {"requests": {"cpu": value}}, **more}


@pytest.mark.parametrize(
    ("spec", "milli"),
    [
        ({"containers": [cpu("1"), cpu("500m")]}, 1500),
        ({"containers": [cpu("1")], "initContainers": [cpu("3")]}, 3000),
        ({"containers": [cpu("1")], "initContainers": [cpu("2", restartPolicy="Always")]}, 3000),
        ({"containers": [cpu("1")], "initContainers": [cpu("2", restartPolicy="Always"), cpu("3")]}, 5000),
        ({"containers": [cpu("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [cpu("1")], "resources": {"requests": {"cpu": "4"}}}, 4000),
    ],
)
def test_what_a_pod_asks_for(spec: Obj, milli: int) -> None:
    assert amounts(spec) == {"requests.cpu": milli}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}, True),
        ({"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}, False),
        ({"scopeName": "PriorityClass", "operator": "Exists"}, True),
        ({"scopeName": "BestEffort", "operator": "Exists"}, True),
        ({"scopeName": "NotBestEffort", "operator": "Exists"}, False),
        ({"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"}, False),
    ],
)
def test_scope_selectors(scope: Obj, expected: bool) -> None:
    usage = quota_usage.pod_usage({"metadata": {}, "spec": {"containers": [], "priorityClassName": "high"}})
    assert quota_usage.in_scopes({"spec": {"scopeSelector": {"matchExpressions": [scope]}}}, usage) == expected


async def test_what_was_charged_for_nothing_is_handed_back_after_a_while_and_not_at_once() -> None:
    async with cluster(QUOTA) as it:
        await it.create(kinds.RESOURCE_QUOTAS, quota({"pods": "5"}))
        assert await used(it) == {"pods": "0"}
        charged = await it.get(kinds.RESOURCE_QUOTAS, "q")
        charged["status"]["used"]["pods"] = "3"
        await it.client.update(kinds.RESOURCE_QUOTAS, charged, subresource="status")
        assert await used(it) == {"pods": "3"}
        await it.advance(2.0)
        assert await used(it) == {"pods": "0"}
