"""Mirrors of classes: what the host has and the selector lets through, and never anything of the tenant's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sync import metadata as md
from sync.cluster import ClusterEvent, ClusterEventType
from sync.mirror_rows import CLASSES, mirror_of
from sync.mirrors import ClassRule
from sync.translator import INGRESSCLASSES, PRIORITYCLASSES, RUNTIMECLASSES, STORAGECLASSES
from sync.virtual import InProcessCluster
from tests.planes import FakeClock, plane
from tests.sync.storage_rig import Storage, storage
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj
from vapi.resources.strategies.mirrors import MIRROR

ONE, TWO = {"value": "one"}, {"value": "two"}
SELECTED = ClassRule(selector=ONE)
OFF = ClassRule(enabled=False)
DEFAULT = "storageclass.kubernetes.io/is-default-class"

EXAMPLES: dict[GVR, dict[str, Any]] = {
    STORAGECLASSES: {"provisioner": "disks.example.com", "parameters": {"type": "ssd"}},
    INGRESSCLASSES: {"spec": {"controller": "example.com/ingress"}},
    RUNTIMECLASSES: {"handler": "runsc", "overhead": {"podFixed": {"cpu": "100m"}}},
    PRIORITYCLASSES: {"value": 7, "description": "first"},
}


def group_of(gvr: GVR) -> str:
    return next(row.group for row in CLASSES if row.resource == gvr)


def uid(obj: Obj) -> str:
    return str(obj["metadata"]["uid"])


async def relabel(it: Storage, gvr: GVR, name: str, labels: Obj) -> None:
    """At the host."""
    found = await it.rig.admin.get(gvr, "", name)
    await it.rig.admin.update(gvr, {**found, "metadata": {**found["metadata"], "labels": labels}})
    await it.settle()


# --- which are seen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gvr", EXAMPLES, ids=lambda gvr: gvr.resource)
async def test_of_the_hosts_classes_the_selected_ones_appear_and_no_others(gvr: GVR) -> None:
    async with storage(None, **{group_of(gvr): SELECTED}) as it:
        shown = await it.host_class(gvr, "gold", labels=ONE, **EXAMPLES[gvr])
        await it.host_class(gvr, "hidden", labels=TWO, **EXAMPLES[gvr])
        mirror = it.the_mirror(gvr, "gold")
        assert mirror["metadata"]["labels"] == {**ONE, MIRROR: uid(shown)}
        assert uid(mirror) == uid(shown)
        assert mirror["metadata"]["creationTimestamp"] == shown["metadata"]["creationTimestamp"]
        assert {field: mirror[field] for field in EXAMPLES[gvr]} == EXAMPLES[gvr]
        assert it.mirror(gvr, "hidden") is None


@pytest.mark.parametrize("gvr", EXAMPLES, ids=lambda gvr: gvr.resource)
async def test_a_class_that_loses_the_label_is_gone_and_comes_back_with_it(gvr: GVR) -> None:
    async with storage(None, **{group_of(gvr): SELECTED}) as it:
        await it.host_class(gvr, "gold", labels=ONE, **EXAMPLES[gvr])
        await relabel(it, gvr, "gold", TWO)
        assert it.mirror(gvr, "gold") is None
        await relabel(it, gvr, "gold", ONE)
        assert it.mirror(gvr, "gold") is not None


async def test_a_changed_description_reaches_the_tenant() -> None:
    async with storage() as it:
        made = await it.host_class(PRIORITYCLASSES, "gold", **EXAMPLES[PRIORITYCLASSES])
        await it.rig.admin.update(PRIORITYCLASSES, {**made, "description": "second"})
        await it.settle()
        assert it.the_mirror(PRIORITYCLASSES, "gold")["description"] == "second"
        made = await it.rig.admin.get(PRIORITYCLASSES, "", "gold")
        await it.rig.admin.update(PRIORITYCLASSES, {k: v for k, v in made.items() if k != "description"})
        await it.settle()
        assert "description" not in it.the_mirror(PRIORITYCLASSES, "gold")


async def test_a_class_made_anew_at_the_host_is_another_one() -> None:
    async with storage() as it:
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        first = it.the_mirror(RUNTIMECLASSES, "fast")
        await it.kill()
        await it.rig.admin.delete(RUNTIMECLASSES, "", "fast")
        second = await it.rig.admin.create(RUNTIMECLASSES, {"metadata": {"name": "fast"}, "handler": "runsc"})
        await it.start()
        mirror = it.the_mirror(RUNTIMECLASSES, "fast")
        assert mirror["handler"] == "runsc"
        assert mirror["metadata"]["labels"][MIRROR] == uid(second)
        assert uid(mirror) != uid(first)


async def test_what_the_host_lost_while_nobody_looked_is_gone() -> None:
    async with storage() as it:
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        await it.kill()
        await it.rig.admin.delete(RUNTIMECLASSES, "", "fast")
        await it.start()
        assert it.mirror(RUNTIMECLASSES, "fast") is None


async def test_mirrors_of_a_kind_that_was_switched_off_are_gone() -> None:
    async with storage() as it:
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        await it.rig.virtual.create(RUNTIMECLASSES, {"metadata": {"name": "mine"}, "handler": "runc"})
        await it.kill()
        it.rules = {**it.rules, "runtime_classes": OFF}
        await it.start()
        assert it.mirror(RUNTIMECLASSES, "fast") is None
        assert it.mirror(RUNTIMECLASSES, "mine") is not None


async def test_every_cluster_has_its_own_system_priority_classes() -> None:
    async with storage() as it:
        await it.host_class(PRIORITYCLASSES, "system-node-critical", value=2_000_001_000)
        assert it.mirror(PRIORITYCLASSES, "system-node-critical") is None
        assert it.events == []


async def test_what_a_virtual_cluster_made_at_the_host_is_not_the_hosts() -> None:
    async with storage() as it:
        await it.host_class(PRIORITYCLASSES, "vapi-gold-x-ns-x-other", labels={md.MANAGED_BY: "ns-x-other"}, value=7)
        await it.rig.virtual.create(PRIORITYCLASSES, {"metadata": {"name": "mine"}, "value": 5})
        await it.settle()
        assert [e.name for e in it.rig.tenant.registry.entries(PRIORITYCLASSES)] == ["mine"]


# --- whose they are -----------------------------------------------------------------------------------


async def test_what_somebody_deletes_or_changes_all_the_same_is_put_back() -> None:
    async with storage() as it:
        made = await it.host_class(PRIORITYCLASSES, "gold", **EXAMPLES[PRIORITYCLASSES])
        await it.rig.virtual.delete(PRIORITYCLASSES, "", "gold")
        await it.settle()
        mirror = it.the_mirror(PRIORITYCLASSES, "gold")
        await it.rig.virtual.update(PRIORITYCLASSES, {**mirror, "description": "mine now"})
        await it.settle()
        assert it.the_mirror(PRIORITYCLASSES, "gold")["description"] == made["description"]


async def test_an_object_of_the_tenants_own_stays_and_is_told_of_the_other_once() -> None:
    async with storage() as it:
        mine = await it.rig.virtual.create(RUNTIMECLASSES, {"metadata": {"name": "fast"}, "handler": "mine"})
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        assert it.the_mirror(RUNTIMECLASSES, "fast") == mine
        assert [(name, reason) for name, reason, _ in it.events] == [("fast", "SyncWarning")]
        assert "own" in it.mirrors.withheld_class(RUNTIMECLASSES, "fast")
        await relabel(it, RUNTIMECLASSES, "fast", ONE)
        assert len(it.events) == 1


async def test_the_hosts_class_appears_once_the_tenants_own_makes_room() -> None:
    async with storage() as it:
        await it.rig.virtual.create(RUNTIMECLASSES, {"metadata": {"name": "fast"}, "handler": "mine"})
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        await it.rig.virtual.delete(RUNTIMECLASSES, "", "fast")
        await it.settle()
        assert it.the_mirror(RUNTIMECLASSES, "fast")["handler"] == "runc"


# --- defaults -----------------------------------------------------------------------------------------


async def test_the_hosts_default_class_is_the_tenants_unless_it_has_one_of_its_own() -> None:
    async with storage() as it:
        await it.host_storage_class("standard", default=True)
        assert it.the_mirror(STORAGECLASSES, "standard")["metadata"]["annotations"] == {DEFAULT: "true"}
        assert it.mirrors.default_storage_class() == "standard"
        mine = {"metadata": {"name": "mine", "annotations": {DEFAULT: "true"}}, "provisioner": "x/y"}
        await it.rig.virtual.create(STORAGECLASSES, mine)
        await it.settle()
        assert "annotations" not in it.the_mirror(STORAGECLASSES, "standard")["metadata"]
        await it.rig.virtual.delete(STORAGECLASSES, "", "mine")
        await it.settle()
        assert it.mirrors.default_storage_class() == "standard"


async def test_no_priority_class_of_the_host_is_the_tenants_default() -> None:
    async with storage() as it:
        await it.host_class(PRIORITYCLASSES, "gold", value=7, globalDefault=True)
        assert it.the_mirror(PRIORITYCLASSES, "gold").get("globalDefault", False) is False
        assert it.mirrors.priority_class("gold") == "gold"
        assert it.mirrors.priority_class("silver") == ""


def test_annotations_of_the_hosts_people_stay_there_unless_the_operator_names_them() -> None:
    row = next(row for row in CLASSES if row.resource == STORAGECLASSES)
    annotations = {"team": "infra", "note": "x", md.LAST_APPLIED: "{}", "vapi.dev/x": "y"}
    host = {"metadata": {"name": "a", "uid": "u", "annotations": annotations}, "provisioner": "p"}
    patterns = md.KeyPatterns(annotations=("no*", "vapi.dev/*"))
    mirror = mirror_of(row, host, patterns, may_default=True)
    assert mirror["metadata"]["annotations"] == {"note": "x"}


def test_secrets_and_parameters_of_the_host_are_not_shown() -> None:
    rows = {row.resource: row for row in CLASSES}
    parameters = {"type": "ssd", "csi.storage.k8s.io/provisioner-secret-name": "keys"}
    disks = {"metadata": {"name": "a", "uid": "u"}, "provisioner": "p", "parameters": parameters}
    assert mirror_of(rows[STORAGECLASSES], disks, md.KeyPatterns(), may_default=True)["parameters"] == {"type": "ssd"}
    spec = {"controller": "c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace", "namespace": "ns"}}
    ingress = {"metadata": {"name": "a", "uid": "u"}, "spec": spec}
    assert mirror_of(rows[INGRESSCLASSES], ingress, md.KeyPatterns(), may_default=True)["spec"] == {"controller": "c"}


# --- what may be named --------------------------------------------------------------------------------


async def test_a_class_that_may_not_be_named_says_why() -> None:
    async with storage(storage_classes=SELECTED) as it:
        await it.host_storage_class("good", labels=ONE)
        await it.host_storage_class("bad", labels=TWO)
        why = it.mirrors.withheld_class
        assert why(STORAGECLASSES, "good") == ""
        assert why(STORAGECLASSES, "bad") == (
            'the storage class "bad" in the host does not match the selector under '
            "'sync.fromHost.storageClasses.selector'"
        )
        assert why(STORAGECLASSES, "none") == 'the host has no storage class "none"'
        assert why(STORAGECLASSES, "") == "no storage class is set and there is no default storage class"


async def test_where_classes_are_not_followed_names_pass_but_those_of_runtimes() -> None:
    async with storage(storage_classes=OFF, runtime_classes=OFF) as it:
        assert it.mirrors.withheld_class(STORAGECLASSES, "any") == ""
        assert it.mirrors.withheld_class(STORAGECLASSES, "") == ""
        assert (
            it.mirrors.withheld_class(RUNTIMECLASSES, "any")
            == "this virtual cluster has no runtime classes of the host"
        )


class Refusing(InProcessCluster):
    """A host that refuses some kinds, as long as `refused` says so."""

    refused: frozenset[str] = frozenset()

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        while gvr.resource in self.refused:
            yield ClusterEvent(ClusterEventType.REFUSED, message="no right")
            await asyncio.sleep(0)
        async for event in super().watch(gvr, namespace, label_selector=label_selector, metadata_only=metadata_only):
            yield event


async def test_a_kind_that_the_host_refuses_is_told_once_and_followed_once_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with plane(clock=FakeClock()) as elsewhere:
        host = Refusing(elsewhere.client("vapi"))
        host.refused = frozenset({"runtimeclasses"})
        await elsewhere.client("admin").create(RUNTIMECLASSES, {"metadata": {"name": "fast"}, "handler": "runc"})
        async with storage(host) as it:
            told = [r for r in caplog.records if "refuses" in r.message]
            assert [vars(r)["resource"] for r in told] == ["runtimeclasses"]
            assert it.mirrors.withheld_class(RUNTIMECLASSES, "fast")
            host.refused = frozenset()
            await it.settle()
            assert it.mirror(RUNTIMECLASSES, "fast") is not None
            assert it.mirrors.withheld_class(RUNTIMECLASSES, "fast") == ""


class Silent(InProcessCluster):
    """A host whose first list never ends."""

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        await asyncio.Event().wait()
        yield ClusterEvent(ClusterEventType.SYNCED)


async def test_before_the_first_list_nothing_is_decided() -> None:
    async with storage() as it:
        await it.host_class(RUNTIMECLASSES, "fast", handler="runc")
        await it.kill()
        it.host = Silent(it.rig.host.client("vapi"))
        await it.start()
        with pytest.raises(Retry):
            it.mirrors.withheld_class(RUNTIMECLASSES, "fast")
        assert it.mirror(RUNTIMECLASSES, "fast") is not None
