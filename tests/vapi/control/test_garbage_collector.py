"""The garbage collector and the namespace controller on a real plane."""

from __future__ import annotations

from typing import Any

from tests.vapi.control.cluster import Cluster, cluster, namespace
from vapi.control import kinds
from vapi.gvk import Obj
from vapi.resources.resource import Propagation

GC = "garbage-collector-controller"


def config_map(name: str, *owners: Obj, namespace: str = "default", **metadata: Any) -> Obj:
    named = {"name": name, "namespace": namespace, **metadata}
    if owners:
        named["ownerReferences"] = list(owners)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named}


def reference(owner: Obj, **more: Any) -> Obj:
    metadata = owner["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"], **more}


async def made(it: Cluster, obj: Obj) -> Obj:
    return await it.create(kinds.CONFIG_MAPS, obj)


async def test_dependents_go_with_their_last_owner() -> None:
    async with cluster(GC) as it:
        one, two = await made(it, config_map("one")), await made(it, config_map("two"))
        await made(it, config_map("both", reference(one), reference(two)))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "one")
        await it.settle()
        both = await it.get(kinds.CONFIG_MAPS, "both")
        assert [each["name"] for each in both["metadata"]["ownerReferences"]] == ["two"]
        await it.client.delete(kinds.CONFIG_MAPS, "default", "two")
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "both")


async def test_a_dependent_of_nobody_is_deleted_at_once_and_after_a_restart() -> None:
    async with cluster(GC) as it:
        ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000001"}}
        await made(it, config_map("a", reference(ghost)))
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "a")
        owner = await made(it, config_map("owner"))
        await made(it, config_map("b", reference(owner)))
        await it.settle()
        await it.stop()
        await it.client.delete(kinds.CONFIG_MAPS, "default", "owner")
        it.start()
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "b")


async def test_an_owner_of_the_same_name_with_another_uid_is_absent() -> None:
    async with cluster(GC) as it:
        owner = await made(it, config_map("owner"))
        owner["metadata"]["uid"] = "00000000-0000-0000-0000-000000000002"
        await made(it, config_map("a", reference(owner)))
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "a")


async def test_an_owner_in_another_namespace_is_absent_and_told() -> None:
    async with cluster(GC) as it:
        await it.create(kinds.NAMESPACES, namespace("elsewhere"))
        owner = await made(it, config_map("owner", namespace="elsewhere"))
        await made(it, config_map("a", reference(owner)))
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "a")
        uid = owner["metadata"]["uid"]
        assert it.messages("OwnerRefInvalidNamespace") == [
            f"ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: {uid}] "
            'does not exist in namespace "default"'
        ]


async def test_foreground_deletion_waits_for_blocking_dependents() -> None:
    async with cluster(GC) as it:
        owner = await made(it, config_map("owner"))
        await made(it, config_map("blocks", reference(owner, blockOwnerDeletion=True), finalizers=["ex.io/hold"]))
        await made(it, config_map("free", reference(owner), finalizers=["ex.io/hold"]))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "owner", propagation=Propagation.FOREGROUND)
        await it.settle()
        assert it.has(kinds.CONFIG_MAPS, "owner")
        blocks = await it.get(kinds.CONFIG_MAPS, "blocks")
        assert "deletionTimestamp" in blocks["metadata"]
        assert "deletionTimestamp" not in (await it.get(kinds.CONFIG_MAPS, "free"))["metadata"]
        del blocks["metadata"]["finalizers"]
        await it.client.update(kinds.CONFIG_MAPS, blocks)
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "owner")
        assert "deletionTimestamp" in (await it.get(kinds.CONFIG_MAPS, "free"))["metadata"]


async def test_foreground_deletion_without_dependents_ends() -> None:
    async with cluster(GC) as it:
        await made(it, config_map("owner"))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "owner", propagation=Propagation.FOREGROUND)
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "owner")


async def test_a_dependent_with_another_owner_only_loses_the_reference_in_foreground() -> None:
    async with cluster(GC) as it:
        owner, other = await made(it, config_map("owner")), await made(it, config_map("other"))
        await made(it, config_map("a", reference(owner, blockOwnerDeletion=True), reference(other)))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "owner", propagation=Propagation.FOREGROUND)
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "owner")
        a = await it.get(kinds.CONFIG_MAPS, "a")
        assert [each["name"] for each in a["metadata"]["ownerReferences"]] == ["other"]


async def test_orphaning_strips_the_references_first() -> None:
    async with cluster(GC) as it:
        owner = await made(it, config_map("owner"))
        await made(it, config_map("a", reference(owner)))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "owner", propagation=Propagation.ORPHAN)
        await it.settle()
        assert not it.has(kinds.CONFIG_MAPS, "owner")
        assert "ownerReferences" not in (await it.get(kinds.CONFIG_MAPS, "a"))["metadata"]


async def test_a_circle_deleted_in_the_foreground_goes_as_a_whole() -> None:
    async with cluster(GC) as it:
        one = await made(it, config_map("one"))
        two = await made(it, config_map("two", reference(one, blockOwnerDeletion=True)))
        three = await made(it, config_map("three", reference(two, blockOwnerDeletion=True)))
        one["metadata"]["ownerReferences"] = [reference(three, blockOwnerDeletion=True)]
        await it.client.update(kinds.CONFIG_MAPS, one)
        await it.settle()
        assert it.has(kinds.CONFIG_MAPS, "one")
        await it.client.delete(kinds.CONFIG_MAPS, "default", "one", propagation=Propagation.FOREGROUND)
        await it.settle()
        assert it.objects(kinds.CONFIG_MAPS) == []


async def test_a_namespace_is_emptied_and_goes() -> None:
    async with cluster("namespace-controller", GC, "service-account-controller") as it:
        await it.create(kinds.NAMESPACES, namespace("team"))
        for number in range(40):
            await made(it, config_map(f"c{number}", namespace="team"))
        await it.settle()
        await it.client.delete(kinds.NAMESPACES, "", "team")
        await it.settle()
        assert not it.has(kinds.NAMESPACES, "team", "")
        assert it.objects(kinds.CONFIG_MAPS, "team") == []
        assert it.objects(kinds.SERVICE_ACCOUNTS, "team") == []


async def test_a_terminating_namespace_says_what_holds_it_pods_first() -> None:
    async with cluster("namespace-controller", GC) as it:
        await it.create(kinds.NAMESPACES, namespace("team"))
        container = {"name": "c", "image": "i"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "team"},
            "spec": {"containers": [container]},
        }
        await it.create(kinds.PODS, pod)
        await made(it, config_map("held", namespace="team", finalizers=["ex.io/hold"]))
        await it.settle()
        it.kubelet.hold = True
        await it.client.delete(kinds.NAMESPACES, "", "team")
        await it.settle()
        held = await it.get(kinds.CONFIG_MAPS, "held", "team")
        assert "deletionTimestamp" not in held["metadata"]
        it.kubelet.hold = False
        it.kubelet.look_at_all()
        await it.settle()
        team = await it.get(kinds.NAMESPACES, "team", "")
        conditions = {each["type"]: each for each in team["status"]["conditions"]}
        assert len(conditions) == 5
        remaining = conditions["NamespaceContentRemaining"]
        assert remaining["status"] == "True"
        assert remaining["message"] == "Some resources are remaining: configmaps. has 1 resource instances"
        assert (
            conditions["NamespaceFinalizersRemaining"]["message"]
            == "Some content in the namespace has finalizers remaining: ex.io/hold in 1 resource instances"
        )
        assert conditions["NamespaceDeletionContentFailure"]["reason"] == "ContentDeleted"
        held = await it.get(kinds.CONFIG_MAPS, "held", "team")
        del held["metadata"]["finalizers"]
        await it.client.update(kinds.CONFIG_MAPS, held)
        await it.settle()
        assert not it.has(kinds.NAMESPACES, "team", "")
