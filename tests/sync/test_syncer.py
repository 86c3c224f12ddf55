"""The engine between two clusters: ownership, drift, conflicts, outages."""

from __future__ import annotations

import asyncio

import pytest

from sync import metadata as md
from sync.anchor import AnchorMismatch
from sync.translator import ENDPOINTS, ENDPOINTSLICES
from tests.planes import CONFIGMAPS, NAMESPACES, PODS, SERVICES, configmap, pod
from tests.sync.fuse import FusedCluster, Outage, Refusing
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import Obj


def naming(name: str, config: str) -> Obj:
    obj = pod(name)
    obj["spec"]["volumes"] = [{"name": "v", "configMap": {"name": config}}]
    return obj


async def with_settings(r: Rig) -> None:
    await r.virtual.create(CONFIGMAPS, configmap("settings", colour="red", size="1"))
    await r.virtual.create(PODS, naming("web", "settings"))
    await r.settle()


# --- one owner per field --------------------------------------------------------------------------------


async def test_a_change_by_the_tenant_goes_out_and_what_it_removes_goes_away() -> None:
    async with rig() as r:
        await with_settings(r)
        here = r.the(CONFIGMAPS, "settings")
        here["data"] = {"colour": "blue"}
        await r.virtual.update(CONFIGMAPS, here)
        await r.settle()
        assert r.the_twin(CONFIGMAPS, "settings")["data"] == {"colour": "blue"}


@pytest.mark.parametrize("down", [False, True], ids=["running", "while down"])
async def test_an_edit_on_the_host_is_put_back(down: bool) -> None:
    async with rig() as r:
        await with_settings(r)
        if down:
            await r.kill()
        there = r.the_twin(CONFIGMAPS, "settings")
        there["data"] = {"colour": "edited", "more": "theirs"}
        await r.admin.update(CONFIGMAPS, there)
        await (r.start() if down else r.settle())
        assert r.the_twin(CONFIGMAPS, "settings")["data"] == {"colour": "red", "size": "1"}
        assert r.the(CONFIGMAPS, "settings")["data"] == {"colour": "red", "size": "1"}


async def test_what_is_added_to_a_service_on_the_host_is_taken_out() -> None:
    async with rig() as r:
        metadata = {"name": "web", "namespace": "default"}
        spec = {"ports": [{"name": "http", "port": 80}], "selector": {"app": "web"}}
        await r.virtual.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        await r.settle()
        before, there = r.the_twin(SERVICES, "web")["spec"], r.the_twin(SERVICES, "web")
        there["spec"]["selector"] |= {"tier": "theirs"}
        there["spec"]["ports"] += [{"name": "more", "port": 81}]
        there["spec"]["externalIPs"] = ["192.0.2.1"]
        await r.admin.update(SERVICES, there)
        await r.settle()
        assert r.the_twin(SERVICES, "web")["spec"] == before


async def test_the_tenants_object_is_never_touched() -> None:
    async with rig() as r:
        await r.virtual.create(CONFIGMAPS, configmap("settings", colour="red"))
        before = r.the(CONFIGMAPS, "settings")
        await r.virtual.create(PODS, naming("web", "settings"))
        await r.settle()
        await r.admin.delete(CONFIGMAPS, HOST_NAMESPACE, r.host_name("settings"))
        await r.settle()
        assert r.the(CONFIGMAPS, "settings") == before


@pytest.mark.parametrize("down", [False, True], ids=["running", "while down"])
async def test_configuration_deleted_on_the_host_is_made_again(down: bool) -> None:
    async with rig() as r:
        await with_settings(r)
        if down:
            await r.kill()
        await r.admin.delete(CONFIGMAPS, HOST_NAMESPACE, r.host_name("settings"))
        await (r.start() if down else r.settle())
        assert r.the_twin(CONFIGMAPS, "settings")["data"] == {"colour": "red", "size": "1"}


async def test_deleted_by_the_tenant_while_down_is_deleted_on_the_host() -> None:
    async with rig() as r:
        await with_settings(r)
        await r.kill()
        await r.virtual.delete(CONFIGMAPS, "default", "settings")
        await r.virtual.delete(PODS, "default", "web")
        await r.start()
        assert r.host_names(PODS) == []
        assert r.twin(CONFIGMAPS, "settings") is None


async def test_an_immutable_object_made_anew_replaces_its_twin() -> None:
    async with rig() as r:
        await r.virtual.create(CONFIGMAPS, {**configmap("settings", a="1"), "immutable": True})
        await r.virtual.create(PODS, naming("web", "settings"))
        await r.settle()
        first = r.the_twin(CONFIGMAPS, "settings")["metadata"]["uid"]
        await r.virtual.delete(CONFIGMAPS, "default", "settings")
        await r.virtual.create(CONFIGMAPS, {**configmap("settings", a="2"), "immutable": True})
        await r.settle()
        await r.advance(2)
        twin = r.the_twin(CONFIGMAPS, "settings")
        assert (twin["data"], twin["metadata"]["uid"] != first) == ({"a": "2"}, True)


# --- whose object ---------------------------------------------------------------------------------------


async def test_a_foreign_object_on_the_name_is_left_alone_and_told_of() -> None:
    async with rig() as r:
        foreign = pod(r.host_name("web"), HOST_NAMESPACE)
        await r.admin.create(PODS, foreign)
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        before = r.the_twin(PODS, "web")
        assert before["metadata"].get("annotations") is None
        assert [(name, reason) for name, reason, _ in r.events] == [("web", "SyncWarning")]
        assert r.host_name("web") not in r.events[0][2]
        assert "status" not in (r.the(PODS, "web")["metadata"].get("annotations") or {})
        await r.advance(31)
        assert r.the_twin(PODS, "web") == before
        assert len(r.events) == 1
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=0)
        await r.advance(31)
        assert r.the_twin(PODS, "web")["metadata"]["labels"][md.MANAGED_BY] == "vc"


async def test_a_pod_says_what_it_waits_for() -> None:
    async with rig() as r:
        await r.admin.create(CONFIGMAPS, configmap(r.host_name("settings"), HOST_NAMESPACE, foreign="1"))
        await with_settings(r)
        await r.advance(31)
        assert r.host_names(PODS) == []
        assert [(name, text) for name, _, text in r.events if name == "web"] == [
            ("web", "not on the host yet: waits for configmaps settings")
        ]
        await r.admin.delete(CONFIGMAPS, HOST_NAMESPACE, r.host_name("settings"))
        await r.advance(31)
        assert r.host_names(PODS) == [r.host_name("web")]


async def test_a_foreign_object_is_not_deleted_with_the_tenants() -> None:
    async with rig() as r:
        await r.admin.create(PODS, pod(r.host_name("web"), HOST_NAMESPACE))
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.virtual.delete(PODS, "default", "web")
        await r.settle()
        assert r.here(PODS, "web") is None
        assert r.host_names(PODS) == [r.host_name("web")]


@pytest.mark.parametrize("down", [False, True], ids=["running", "while down"])
async def test_a_marker_that_was_removed_is_given_back(down: bool) -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        if down:
            await r.kill()
        there = r.the_twin(PODS, "web")
        del there["metadata"]["labels"][md.MANAGED_BY]
        await r.admin.update(PODS, there)
        await (r.start() if down else r.settle())
        twin = r.the_twin(PODS, "web")
        assert twin["metadata"]["labels"][md.MANAGED_BY] == "vc"
        assert twin["metadata"]["uid"] == there["metadata"]["uid"]
        assert [(name, reason) for name, reason, _ in r.events] == [("web", "SyncWarning")]
        assert r.the(PODS, "web")["status"]["phase"] == "Running"


async def test_copied_labels_do_not_make_a_twin() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        twin = r.the_twin(PODS, "web")
        copied = pod("copy", HOST_NAMESPACE)
        copied["metadata"]["labels"] = twin["metadata"]["labels"]
        await r.admin.create(PODS, copied)
        await r.settle()
        assert set(r.host_names(PODS)) == {"copy", r.host_name("web")}
        await r.virtual.delete(PODS, "default", "web")
        await r.settle()
        assert r.host_names(PODS) == ["copy"]


async def test_two_virtual_clusters_with_the_same_names_do_not_meet() -> None:
    async with rig() as one, rig(started=False) as two:
        two.host, two.host_namespace, two.clock = one.host, "other-ns", one.clock
        await one.host.client("test").create(NAMESPACES, {"metadata": {"name": "other-ns"}})
        await two.start()
        for r in (one, two):
            await with_settings(r)
        assert one.host_names(PODS) == two.host_names(PODS) == [one.host_name("web")]
        await two.virtual.delete(PODS, "default", "web")
        await two.settle()
        assert (one.host_names(PODS), two.host_names(PODS)) == ([one.host_name("web")], [])


async def test_two_names_in_one_host_namespace_do_not_meet_either() -> None:
    async with rig() as one, rig(started=False) as two:
        two.host, two.name, two.clock = one.host, "other", one.clock
        await two.start()
        for r in (one, two):
            await r.virtual.create(PODS, pod("web"))
            await r.settle()
        assert set(one.host_names(PODS)) == {one.host_name("web"), two.host_name("web")}
        await two.kill()
        await two.start()
        assert set(one.host_names(PODS)) == {one.host_name("web"), two.host_name("web")}


# --- the anchor -----------------------------------------------------------------------------------------


async def test_the_anchor_owns_what_is_on_the_host() -> None:
    async with rig() as r:
        await with_settings(r)
        anchor = r.host.registry.cached(CONFIGMAPS, HOST_NAMESPACE, "vapi-vc")
        assert anchor is not None
        for gvr, name, controller in ((PODS, "web", True), (CONFIGMAPS, "settings", None)):
            (owner,) = r.the_twin(gvr, name)["metadata"]["ownerReferences"]
            assert (owner["uid"], owner.get("controller")) == (anchor.uid, controller)


async def test_sync_does_not_start_on_the_objects_of_another_store() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.kill()
        r.store_id = "store-2"
        with pytest.raises(AnchorMismatch, match="another store"):
            await r.start()
        assert r.host_names(PODS) == [r.host_name("web")]


async def test_an_anchor_that_lost_its_label_gets_it_back_at_the_start() -> None:
    async with rig() as r:
        await r.kill()
        anchor = await r.admin.get(CONFIGMAPS, HOST_NAMESPACE, "vapi-vc")
        anchor["metadata"]["labels"] = {}
        await r.admin.update(CONFIGMAPS, anchor)
        await r.start()
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        assert r.host_names(PODS) == [r.host_name("web")]


async def test_sync_stops_when_the_anchor_is_deleted() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.admin.delete(CONFIGMAPS, HOST_NAMESPACE, "vapi-vc")
        await r.virtual.create(PODS, pod("later"))
        with pytest.raises(AnchorMismatch, match="has been deleted"):
            await r.ended()
        assert r.host_names(PODS) == [r.host_name("web")]
        assert r.here(PODS, "web") is not None


async def test_the_host_namespace_is_made_if_there_is_none() -> None:
    async with rig(started=False) as r:
        r.host_namespace = "not-there-yet"
        await r.start()
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        assert r.host_names(PODS) == [r.host_name("web")]


# --- outages --------------------------------------------------------------------------------------------


async def test_a_host_that_goes_away_delays_and_loses_nothing() -> None:
    async with rig(started=False) as r:
        outage = Outage()
        r.host_cluster = FusedCluster(r.host.client("vapi"), outage)
        await r.start()
        outage.down = True
        await with_settings(r)
        assert r.host_names(PODS) == []
        outage.down = False
        for _ in range(3):
            await r.advance(6)
        assert r.host_names(PODS) == [r.host_name("web")]
        assert r.events == []


async def test_a_create_whose_answer_was_lost_is_found_again() -> None:
    async with rig(started=False) as r:
        outage = Outage()
        r.host_cluster = FusedCluster(r.host.client("vapi"), outage)
        await r.start()
        outage.loses_answers = True
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        outage.loses_answers = False
        for _ in range(3):
            await r.advance(6)
        assert r.host_names(PODS) == [r.host_name("web")]
        assert md.HOST_UID in r.the(PODS, "web")["metadata"]["annotations"]
        assert r.events == []


async def test_start_waits_for_the_host() -> None:
    async with rig(started=False) as r:
        outage = Outage()
        outage.down = True
        r.host_cluster = FusedCluster(r.host.client("vapi"), outage)
        starting = asyncio.create_task(r.start())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not starting.done()
        starting.cancel()


async def test_a_kind_without_rights_is_left_out_until_they_are_given() -> None:
    async with rig(started=False) as r:
        refusing = Refusing(r.host.client("vapi"), SERVICES)
        r.host_cluster = refusing
        await r.start()
        await r.virtual.create(SERVICES, service("web"))
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        assert (r.host_names(PODS), r.host_names(SERVICES)) == ([r.host_name("web")], [])
        refusing.allowed.set()
        await r.settle()
        assert r.host_names(SERVICES) == [r.host_name("web")]


# --- services -------------------------------------------------------------------------------------------


def service(name: str, **spec: object) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}], **spec},
    }


async def test_what_was_released_goes_even_if_it_changed_meanwhile() -> None:
    async with rig() as r:
        await r.virtual.create(CONFIGMAPS, configmap("a", x="1"))
        web = pod("web")
        web["spec"]["volumes"] = [{"name": "a", "configMap": {"name": "a"}}]
        await r.virtual.create(PODS, web)
        await r.settle()
        await r.virtual.delete(PODS, "default", "web", grace_period_s=0)
        await r.settle()
        await r.kubelet_is_done("web")
        await r.advance(30)
        await r.virtual.update(CONFIGMAPS, {**r.the(CONFIGMAPS, "a"), "data": {"x": "2"}})
        await r.settle()
        assert r.the_twin(CONFIGMAPS, "a")["data"] == {"x": "2"}
        await r.advance(31)
        assert r.twin(CONFIGMAPS, "a") is None


async def test_services_go_out_with_a_selector_of_their_own_namespace() -> None:
    async with rig() as r:
        await r.virtual.create(SERVICES, service("web", selector={"app": "web"}))
        await r.settle()
        assert r.the_twin(SERVICES, "web")["spec"]["selector"] == {
            "app": "web",
            md.MANAGED_BY: "vc",
            md.NAMESPACE: "default",
        }
        await r.virtual.delete(SERVICES, "default", "web")
        await r.settle()
        assert r.twin(SERVICES, "web") is None


async def test_a_pod_knows_the_services_that_were_there_before_it() -> None:
    async with rig() as r:
        assert r.syncer is not None
        links = r.syncer.context.service_links
        assert list(links("default")) == []
        await r.virtual.create(SERVICES, service("db", clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"]))
        await r.virtual.create(SERVICES, service("headless"))
        assert [(link.name, link.ip) for link in links("default")] == [("db", "10.0.0.9")]
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        env = {e["name"]: e["value"] for e in r.the_twin(PODS, "web")["spec"]["containers"][0]["env"]}
        assert (env["DB_SERVICE_HOST"], env["DB_SERVICE_PORT"]) == ("10.0.0.9", "80")
        await r.virtual.delete(SERVICES, "default", "db")
        assert list(links("default")) == []


async def test_endpoints_go_out_only_while_their_service_has_no_selector() -> None:
    async with rig() as r:
        endpoints = {
            "metadata": {"name": "db", "namespace": "default"},
            "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}],
        }
        slice_ = {
            "metadata": {"name": "db-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.1.1"]}],
            "ports": [{"port": 80}],
        }
        await r.virtual.create(ENDPOINTS, endpoints)
        await r.virtual.create(ENDPOINTSLICES, slice_)
        await r.settle()
        assert r.twin(ENDPOINTS, "db") is None
        await r.virtual.create(SERVICES, service("db"))
        await r.settle()
        assert r.the_twin(ENDPOINTS, "db")["subsets"][0]["addresses"] == [{"ip": "10.1.1.1"}]
        labels = r.the_twin(ENDPOINTSLICES, "db-1")["metadata"]["labels"]
        assert labels["kubernetes.io/service-name"] == r.host_name("db")
        changed = r.the(SERVICES, "db")
        changed["spec"]["selector"] = {"app": "db"}
        await r.virtual.update(SERVICES, changed)
        await r.settle()
        assert r.twin(ENDPOINTS, "db") is None
        assert r.twin(ENDPOINTSLICES, "db-1") is None
