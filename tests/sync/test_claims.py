"""Claims and volumes: bound on the host, seen in the tenant, and never made again empty."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sync import metadata as md
from sync import names
from sync.mirror_rows import CLAIM_UID
from sync.mirrors import ClassRule
from sync.translator import CLAIMS, STORAGECLASSES, VOLUMES
from tests.planes import CONFIGMAPS, PODS, pod
from tests.sync.fuse import Fuse, FusedCluster
from tests.sync.rig import rig
from tests.sync.storage_rig import ALL, Storage, claim, storage, volume_for
from vapi.gvk import Obj

ONE, TWO = {"value": "one"}, {"value": "two"}
SELECTED = ClassRule(selector=ONE)
OFF = ClassRule(enabled=False)
TWIN = "data-x-default-x-vc"
CHILD = {"name": "data-web-x-default-x-vc-0", "namespace": "host-ns", "labels": {md.MANAGED_BY: "vc"}}
MAX_WRITES = 30
"""Far more than the scenario needs; the test checks that it was enough."""


async def made(it: Storage, obj: Obj) -> Obj:
    found = await it.rig.virtual.create(CLAIMS, obj)
    await it.settle()
    return found


async def bound(it: Storage, name: str = "data", *, policy: str = "Delete") -> str:
    """A tenant's claim of class `standard`, bound; its volume."""
    await it.host_storage_class("standard", default=True)
    await made(it, claim(name))
    return await it.bind(name, policy=policy)


def phase(it: Storage, name: str = "data") -> str:
    return str(it.rig.the(CLAIMS, name)["status"]["phase"])


async def gone_there(it: Storage, name: str = TWIN) -> None:
    await it.delete_there(CLAIMS, it.rig.host_namespace, name)


def with_size(obj: Obj, size: str) -> Obj:
    return {**obj, "spec": {**obj["spec"], "resources": {"requests": {"storage": size}}}}


# --- to the host, and back ----------------------------------------------------------------------------


async def test_a_claim_goes_out_and_its_volume_comes_back() -> None:
    async with storage() as it:
        volume = await bound(it)
        here, there = it.rig.the(CLAIMS, "data"), it.rig.the_twin(CLAIMS, "data")
        assert here["spec"]["volumeName"] == volume
        assert here["spec"]["storageClassName"] == there["spec"]["storageClassName"] == "standard"
        assert here["status"] == there["status"]
        assert here["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
        shown = it.the_mirror(VOLUMES, volume)
        assert shown["status"]["phase"] == "Bound"
        assert shown["spec"]["claimRef"] == {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "default",
            "name": "data",
            "uid": here["metadata"]["uid"],
        }
        assert shown["spec"]["csi"] == {"driver": "disks.example.com", "volumeHandle": volume}
        assert shown["metadata"]["annotations"] == {
            "pv.kubernetes.io/provisioned-by": "disks.example.com",
            CLAIM_UID: there["metadata"]["uid"],
        }


async def test_nothing_owns_the_hosts_claim_and_it_says_whose_data_it_holds() -> None:
    async with storage() as it:
        await bound(it)
        metadata = it.rig.the_twin(CLAIMS, "data")["metadata"]
        assert "ownerReferences" not in metadata
        assert metadata["annotations"][md.STORE_ID] == "store-1"


async def test_a_pod_goes_out_after_its_claim() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        wanting = pod("web")
        wanting["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
        await it.rig.virtual.create(CLAIMS, claim("data"))
        await it.rig.virtual.create(PODS, wanting)
        await it.settle()
        twin, its_claim = it.rig.the_twin(PODS, "web"), it.rig.the_twin(CLAIMS, "data")
        assert twin["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == TWIN
        assert int(its_claim["metadata"]["resourceVersion"]) < int(twin["metadata"]["resourceVersion"])


async def test_a_pod_waits_for_a_claim_that_may_not_go_out_and_no_longer() -> None:
    async with storage(storage_classes=SELECTED) as it:
        await it.host_storage_class("bad", labels=TWO)
        wanting = pod("web")
        wanting["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
        await it.rig.virtual.create(CLAIMS, claim("data", storageClassName="bad"))
        await it.rig.virtual.create(PODS, wanting)
        await it.settle()
        assert it.rig.twin(PODS, "web") is None
        found = await it.rig.admin.get(STORAGECLASSES, "", "bad")
        await it.rig.admin.update(STORAGECLASSES, {**found, "metadata": {**found["metadata"], "labels": ONE}})
        await it.settle()
        assert it.rig.twin(PODS, "web") is not None


async def test_a_claim_of_an_excluded_class_is_not_sent_and_says_so() -> None:
    async with storage(storage_classes=SELECTED) as it:
        await it.host_storage_class("bad", labels=TWO)
        await made(it, claim("data", storageClassName="bad"))
        assert it.rig.twin(CLAIMS, "data") is None
        assert it.rig.events == [
            (
                "data",
                "SyncWarning",
                'did not sync persistent volume claim "data" to host because the storage class "bad" in the host '
                "does not match the selector under 'sync.fromHost.storageClasses.selector'",
            )
        ]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"storageClassName": "mine"}, "own"),
        ({"storageClassName": "none"}, "has no storage class"),
        ({}, "no storage class is set and there is no default"),
        ({"storageClassName": "", "volumeName": "pv-1"}, 'the persistent volume "pv-1" is not one of the host'),
        ({"storageClassName": "standard", "volumeAttributesClassName": "x"}, "no volume attributes class"),
    ],
    ids=["a class of the tenant's", "no such class", "no default", "a volume of the tenant's", "attributes"],
)
async def test_what_the_host_cannot_provide_stays_here_and_says_why(spec: Obj, why: str) -> None:
    async with storage() as it:
        await it.host_storage_class("standard")
        await it.rig.virtual.create(STORAGECLASSES, {"metadata": {"name": "mine"}, "provisioner": "x/y"})
        await it.host_storage_class("mine")
        await made(it, claim("data", **spec))
        assert it.rig.twin(CLAIMS, "data") is None
        assert [reason for _, reason, _ in it.rig.events] == ["SyncWarning"]
        assert why in it.rig.events[0][2]


async def test_a_claim_without_class_goes_out_once_there_is_a_default() -> None:
    async with storage() as it:
        await made(it, claim("data"))
        assert it.rig.twin(CLAIMS, "data") is None
        await it.host_storage_class("standard", default=True)
        assert it.rig.the_twin(CLAIMS, "data")["spec"]["storageClassName"] == "standard"
        assert it.rig.the(CLAIMS, "data")["spec"]["storageClassName"] == "standard"


async def test_where_classes_are_not_followed_the_host_chooses() -> None:
    async with storage(storage_classes=OFF) as it:
        await made(it, claim("data"))
        await made(it, claim("named", storageClassName="any"))
        assert "storageClassName" not in it.rig.the_twin(CLAIMS, "data")["spec"]
        assert it.rig.the_twin(CLAIMS, "named")["spec"]["storageClassName"] == "any"


async def test_what_binds_at_the_host_is_never_taken_from_the_tenant() -> None:
    forged = {"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": "n", "note": "x"}
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        await made(it, claim("data", annotations=forged))
        annotations = it.rig.the_twin(CLAIMS, "data")["metadata"]["annotations"]
        assert {k: v for k, v in annotations.items() if not md.reserved(k)} == {"note": "x"}


async def test_the_old_annotation_names_a_class_as_well() -> None:
    async with storage(storage_classes=SELECTED) as it:
        await it.host_storage_class("bad", labels=TWO)
        await it.host_storage_class("good", labels=ONE)
        beta = "volume.beta.kubernetes.io/storage-class"
        await made(it, claim("data", annotations={beta: "bad"}))
        await made(it, claim("other", annotations={beta: "good"}))
        assert it.rig.twin(CLAIMS, "data") is None
        twin = it.rig.the_twin(CLAIMS, "other")
        assert twin["spec"]["storageClassName"] == "good"
        assert beta not in twin["metadata"]["annotations"]


async def test_a_claim_copies_the_tenants_own_and_nobody_elses() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        await made(it, claim("data"))
        source = {"kind": "PersistentVolumeClaim", "name": "data"}
        await made(it, claim("copy", dataSource=source))
        assert it.rig.the_twin(CLAIMS, "copy")["spec"]["dataSource"] == {**source, "name": TWIN}
        snapshot = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
        await made(it, claim("other", dataSource=snapshot))
        await made(it, claim("far", dataSourceRef={**source, "namespace": "kube-system"}))
        assert it.rig.twin(CLAIMS, "other") is None
        assert it.rig.twin(CLAIMS, "far") is None


# --- changes ------------------------------------------------------------------------------------------


async def test_an_edit_at_the_host_is_put_back_and_one_here_goes_out() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        await made(it, claim("data", labels={"a": "b", "old": "x"}))
        there = it.rig.the_twin(CLAIMS, "data")
        there["metadata"]["labels"] |= {"a": "changed", "theirs": "y"}
        await it.rig.admin.update(CLAIMS, there)
        await it.settle()
        labels = it.rig.the_twin(CLAIMS, "data")["metadata"]["labels"]
        assert (labels["a"], labels["theirs"]) == ("b", "y")
        here = it.rig.the(CLAIMS, "data")
        here["metadata"]["labels"] = {"a": "c"}
        await it.rig.virtual.update(CLAIMS, here)
        await it.settle()
        labels = it.rig.the_twin(CLAIMS, "data")["metadata"]["labels"]
        assert labels["a"] == "c"
        assert "old" not in labels


async def test_a_claim_grows_at_the_host() -> None:
    async with storage() as it:
        await bound(it)
        await it.rig.virtual.update(CLAIMS, with_size(it.rig.the(CLAIMS, "data"), "2Gi"))
        await it.settle()
        assert it.rig.the_twin(CLAIMS, "data")["spec"]["resources"]["requests"]["storage"] == "2Gi"


async def test_a_claim_that_somebody_at_the_host_has_grown_stays_so() -> None:
    async with storage() as it:
        await bound(it)
        there = await it.rig.admin.update(CLAIMS, with_size(it.rig.the_twin(CLAIMS, "data"), "5Gi"))
        status = {**there["status"], "capacity": {"storage": "5Gi"}}
        await it.rig.admin.update(CLAIMS, {**there, "status": status}, subresource="status")
        await it.settle()
        assert it.rig.the_twin(CLAIMS, "data")["spec"]["resources"]["requests"]["storage"] == "5Gi"
        assert it.rig.the(CLAIMS, "data")["status"]["capacity"] == {"storage": "5Gi"}
        assert it.rig.events == []


async def test_conditions_of_the_tenants_own_stay_beside_the_hosts() -> None:
    async with storage() as it:
        await bound(it)
        here = it.rig.the(CLAIMS, "data")
        mine = {"type": "example.com/checked", "status": "True"}
        here["status"]["conditions"] = [mine, {"type": "Resizing", "status": "True"}]
        await it.rig.virtual.update(CLAIMS, here, subresource="status")
        await it.settle()
        assert [c["type"] for c in it.rig.the(CLAIMS, "data")["status"]["conditions"]] == [mine["type"]]


# --- loss ---------------------------------------------------------------------------------------------


async def test_an_unbound_claim_is_made_again() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        await made(it, claim("data"))
        await gone_there(it)
        assert it.rig.twin(CLAIMS, "data") is not None
        assert phase(it) == "Pending"


@pytest.mark.parametrize("down", [False, True], ids=["while we look", "while we are down"])
async def test_a_bound_claim_whose_copy_is_gone_is_lost_and_never_made_again_empty(*, down: bool) -> None:
    async with storage() as it:
        await bound(it)
        if down:
            await it.kill()
            await it.rig.admin.delete(CLAIMS, it.rig.host_namespace, TWIN)
            await it.start()
        else:
            await gone_there(it)
        assert phase(it) == "Lost"
        assert [reason for _, reason, _ in it.rig.events] == ["ClaimLost"]
        await it.restart()
        await it.advance(600)
        assert it.rig.twin(CLAIMS, "data") is None
        assert phase(it) == "Lost"
        assert [reason for _, reason, _ in it.rig.events] == ["ClaimLost"]


async def test_a_lost_claim_whose_copy_somebody_restores_is_bound_again() -> None:
    async with storage() as it:
        await bound(it)
        kept = it.rig.the_twin(CLAIMS, "data")
        await gone_there(it)
        metadata = {k: kept["metadata"][k] for k in ("name", "namespace", "labels", "annotations")}
        again = await it.rig.admin.create(CLAIMS, {"metadata": metadata, "spec": kept["spec"]})
        await it.rig.admin.update(CLAIMS, {**again, "status": kept["status"]}, subresource="status")
        await it.settle()
        assert phase(it) == "Bound"
        assert it.rig.the_twin(CLAIMS, "data")["metadata"]["uid"] == again["metadata"]["uid"]


async def test_a_copy_that_somebody_deletes_while_it_is_used_is_waited_for() -> None:
    async with storage() as it:
        await bound(it)
        there = it.rig.the_twin(CLAIMS, "data")
        there["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        await it.rig.admin.update(CLAIMS, there)
        await gone_there(it)
        assert phase(it) == "Bound"
        there = it.rig.the_twin(CLAIMS, "data")
        del there["metadata"]["finalizers"]
        await it.rig.admin.update(CLAIMS, there)
        await it.settle()
        assert phase(it) == "Lost"


async def test_a_label_taken_off_the_copy_loses_nothing() -> None:
    async with storage() as it:
        volume = await bound(it)
        there = it.rig.the_twin(CLAIMS, "data")
        del there["metadata"]["labels"][md.MANAGED_BY]
        await it.rig.admin.update(CLAIMS, there)
        await it.settle()
        assert it.rig.the_twin(CLAIMS, "data")["metadata"]["labels"][md.MANAGED_BY] == "vc"
        assert phase(it) == "Bound"
        assert it.mirror(VOLUMES, volume) is not None


async def test_data_of_a_virtual_cluster_before_are_never_touched() -> None:
    async with storage() as it:
        await bound(it)
        kept = it.rig.the_twin(CLAIMS, "data")
        await it.kill()
        it.rig.store_id = "store-2"
        await it.rig.admin.delete(CONFIGMAPS, it.rig.host_namespace, names.anchor_name("vc"))
        await it.rig.virtual.delete(CLAIMS, "default", "data")
        await it.start()
        await made(it, claim("data"))
        assert it.rig.the_twin(CLAIMS, "data")["metadata"]["uid"] == kept["metadata"]["uid"]
        assert phase(it) == "Pending"
        assert [reason for _, reason, _ in it.rig.events] == ["SyncWarning"]


# --- restarts -----------------------------------------------------------------------------------------


async def until_settled_or(it: Storage, fuse: Fuse, work: Coroutine[Any, Any, None]) -> None:
    """`work` with all that follows from it, or as far as the fuse lets it come."""

    async def all_of_it() -> None:
        await work
        await it.settle()

    tasks = [asyncio.create_task(all_of_it()), asyncio.create_task(fuse.blown.wait())]
    _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def provide(it: Storage) -> None:
    """Class, claim and volume; what is there already stays."""
    if it.rig.host.registry.cached(STORAGECLASSES, "", "standard") is None:
        await it.host_storage_class("standard", default=True)
    if it.rig.here(CLAIMS, "data") is None:
        await made(it, claim("data"))
    twin = it.rig.twin(CLAIMS, "data")
    if twin is not None and not twin["spec"].get("volumeName"):
        await it.bind("data")


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
async def test_killed_at_any_write_a_claim_is_bound_once_and_its_volume_shown(*, after: bool) -> None:
    for at in range(MAX_WRITES):
        async with rig(started=False) as r:
            fuse = Fuse(at, after=after)
            r.virtual_cluster = FusedCluster(r.tenant.client("vapi-syncer"), fuse)
            r.host_cluster = FusedCluster(r.host.client("vapi"), fuse)
            it = Storage(r, ALL)
            await until_settled_or(it, fuse, begin(it))
            await it.kill()
            r.virtual_cluster = r.host_cluster = None
            await it.start()
            await provide(it)
            await it.settle()
            assert phase(it) == "Bound"
            assert len(r.host_names(CLAIMS)) == 1
            volume = r.the(CLAIMS, "data")["spec"]["volumeName"]
            assert it.the_mirror(VOLUMES, volume)["status"]["phase"] == "Bound"
            assert it.mirror(STORAGECLASSES, "standard") is not None
            assert r.events == []
            await it.kill()
            if not fuse.blown.is_set():
                return
    raise AssertionError("more writes than expected")


async def begin(it: Storage) -> None:
    await it.start()
    await provide(it)


# --- deletion -----------------------------------------------------------------------------------------


async def test_a_deleted_claim_takes_its_copy_and_the_volume_along() -> None:
    async with storage() as it:
        volume = await bound(it)
        await it.rig.virtual.delete(CLAIMS, "default", "data")
        await it.settle()
        assert it.rig.here(CLAIMS, "data") is None
        assert it.rig.twin(CLAIMS, "data") is None
        assert it.mirror(VOLUMES, volume) is None


async def test_a_claim_in_use_stays_while_its_finalizer_does() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        using = claim("data")
        using["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        await made(it, using)
        there = it.rig.the_twin(CLAIMS, "data")
        there["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]  # the host has its own, for its pods
        await it.rig.admin.update(CLAIMS, there)
        await it.rig.virtual.delete(CLAIMS, "default", "data")
        await it.settle()
        assert it.rig.the(CLAIMS, "data")["metadata"]["deletionTimestamp"]
        there = it.rig.the_twin(CLAIMS, "data")
        assert there["metadata"]["deletionTimestamp"]
        del there["metadata"]["finalizers"]
        await it.rig.admin.update(CLAIMS, there)
        await it.settle()
        here = it.rig.the(CLAIMS, "data")
        del here["metadata"]["finalizers"]
        await it.rig.virtual.update(CLAIMS, here)
        await it.settle()
        assert it.rig.here(CLAIMS, "data") is None
        assert it.rig.twin(CLAIMS, "data") is None


# --- volumes ------------------------------------------------------------------------------------------


async def test_a_kept_volume_is_shown_released_until_the_host_gives_it_to_somebody_else() -> None:
    async with storage() as it:
        volume = await bound(it, policy="Retain")
        await it.rig.virtual.delete(CLAIMS, "default", "data")
        await it.settle()
        await it.release(volume)
        await it.restart()
        assert it.the_mirror(VOLUMES, volume)["status"]["phase"] == "Released"
        assert it.the_mirror(VOLUMES, volume)["spec"]["claimRef"]["name"] == "data"
        there = await it.rig.admin.get(VOLUMES, "", volume)
        there["spec"]["claimRef"] = {**there["spec"]["claimRef"], "namespace": "other", "uid": "u"}
        await it.rig.admin.update(VOLUMES, there)
        await it.settle()
        assert it.mirror(VOLUMES, volume) is None


async def test_volumes_of_others_are_never_seen() -> None:
    async with storage() as it:
        await bound(it)
        metadata = {"name": "x", "namespace": it.rig.host_namespace, "uid": "u"}
        elsewhere = {"name": TWIN, "namespace": "other", "uid": it.rig.the_twin(CLAIMS, "data")["metadata"]["uid"]}
        stale = {"name": TWIN, "namespace": it.rig.host_namespace, "uid": "of-one-before"}
        for number, one in enumerate((metadata, elsewhere, stale)):
            await it.rig.admin.create(VOLUMES, volume_for({"metadata": one, "spec": {}}, f"pv-{number}", "Retain"))
        await it.settle()
        assert len(list(it.rig.tenant.registry.entries(VOLUMES))) == 1


async def test_a_volume_of_what_the_hosts_controllers_made_is_shown_with_the_tenants_claim() -> None:
    async with storage() as it:
        there = await it.rig.admin.create(CLAIMS, {**claim("data-web-x-default-x-vc-0"), "metadata": CHILD})
        await it.rig.admin.create(VOLUMES, volume_for(there, "pv-1", "Delete"))
        await it.settle()
        assert it.mirror(VOLUMES, "pv-1") is None
        here = claim("data-web-0")
        here["metadata"] |= {"uid": there["metadata"]["uid"], "annotations": {}}
        await it.rig.tenant.client("vapi-syncer").copy(CLAIMS, here)
        await it.settle()
        assert it.the_mirror(VOLUMES, "pv-1")["spec"]["claimRef"]["name"] == "data-web-0"


async def test_a_volume_that_the_host_loses_is_gone_here_whatever_holds_it() -> None:
    async with storage() as it:
        volume = await bound(it)
        shown = it.the_mirror(VOLUMES, volume)
        shown["metadata"]["finalizers"] = ["kubernetes.io/pv-protection"]
        await it.rig.virtual.update(VOLUMES, shown)
        await it.delete_there(VOLUMES, "", volume)
        assert it.mirror(VOLUMES, volume) is None


async def test_a_volume_of_the_tenants_own_stays_its_own() -> None:
    async with storage() as it:
        mine = volume_for({"metadata": {"name": "x", "namespace": "default", "uid": "u"}, "spec": {}}, "pv", "Retain")
        await it.rig.virtual.create(VOLUMES, mine)
        await it.restart()
        assert it.mirror(VOLUMES, "pv") is not None


async def test_changes_of_a_volume_reach_the_tenant() -> None:
    async with storage() as it:
        volume = await bound(it)
        there = await it.rig.admin.get(VOLUMES, "", volume)
        there["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
        await it.rig.admin.update(VOLUMES, there)
        await it.settle()
        assert it.the_mirror(VOLUMES, volume)["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
