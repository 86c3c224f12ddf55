"""The life of a pod between tenant and host."""

from __future__ import annotations

import asyncio

from sync import metadata as md
from sync.converge import MARK_WITHIN_S
from sync.names import namespace_label
from sync.plan import HOST_POD_GONE
from tests.planes import CONFIGMAPS, NAMESPACES, PODS, SECRETS, configmap, pod
from tests.sync.rig import HOST_NAMESPACE, rig
from vapi.cacher.entry import Entry
from vapi.gvk import Obj


async def test_a_created_pod_is_created_on_the_host_and_marked() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web", app="web"))
        await r.settle()
        twin = r.the_twin(PODS, "web")
        here = r.the(PODS, "web")
        assert twin["metadata"]["labels"]["app"] == "web"
        assert twin["metadata"]["annotations"][md.OBJECT_UID] == here["metadata"]["uid"]
        assert here["metadata"]["annotations"][md.HOST_UID] == md.make_mark(
            here["metadata"]["uid"], twin["metadata"]["uid"]
        )


async def test_the_mark_comes_with_the_binding_of_a_host_that_binds_at_once() -> None:
    async with rig() as r:
        written: list[Obj] = []
        r.virtual.on_change(PODS, lambda change: written.append(change.entry.obj()))
        made: asyncio.Queue[Entry] = asyncio.Queue()
        r.admin.on_change(PODS, lambda change: made.put_nowait(change.entry))
        await r.virtual.create(PODS, pod("web"))
        twin = await made.get()
        await r.admin.bind(HOST_NAMESPACE, twin.name, "node-1", uid=twin.uid)
        await r.settle()
        created, bound = written
        assert "annotations" not in created["metadata"]
        assert bound["spec"]["nodeName"] == "node-1"
        assert md.marked_host_uid(bound) == twin.uid


async def test_the_binding_says_since_when_the_host_has_it() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        written: list[Obj] = []
        r.virtual.on_change(PODS, lambda change: written.append(change.entry.obj()))
        twin = r.the_twin(PODS, "web")
        await r.admin.bind(HOST_NAMESPACE, twin["metadata"]["name"], "node-1", uid=twin["metadata"]["uid"])
        r.clock.advance(10)
        await r.settle()
        (bound,) = written
        assert bound["status"] == r.the_twin(PODS, "web")["status"]


async def test_the_mark_waits_no_longer_for_a_binding_than_a_scheduler_takes() -> None:
    async with rig() as r:
        before = r.clock.monotonic()
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        assert md.marked_host_uid(r.the(PODS, "web"))
        assert r.clock.monotonic() - before < 2 * MARK_WITHIN_S


async def test_binding_and_status_come_back() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        here = r.the(PODS, "web")
        assert here["spec"]["nodeName"] == "node-1"
        assert here["status"]["phase"] == "Running"
        assert here["status"]["podIP"] == "10.1.1.1"


async def test_nothing_is_written_when_nothing_changes() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        before = (r.the(PODS, "web"), r.the_twin(PODS, "web"))
        await r.kill()
        await r.start()
        assert (r.the(PODS, "web"), r.the_twin(PODS, "web")) == before


async def test_a_deletion_by_the_tenant_goes_out_with_its_grace_and_ends_when_the_host_pod_is_gone() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.virtual.delete(PODS, "default", "web", grace_period_s=7)
        await r.settle()
        twin = r.the_twin(PODS, "web")
        assert twin["metadata"]["deletionGracePeriodSeconds"] == 7
        assert r.here(PODS, "web") is not None
        await r.kubelet_is_done("web")
        assert r.here(PODS, "web") is None
        assert r.twin(PODS, "web") is None


async def test_the_status_of_a_terminating_pod_still_flows() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.virtual.delete(PODS, "default", "web")
        await r.settle()
        await r.run_pod("web", phase="Succeeded")
        assert r.the(PODS, "web")["status"]["phase"] == "Succeeded"


async def test_a_shorter_grace_later_goes_out_too() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.virtual.delete(PODS, "default", "web", grace_period_s=30)
        await r.settle()
        await r.virtual.delete(PODS, "default", "web", grace_period_s=3)
        await r.settle()
        assert r.the_twin(PODS, "web")["metadata"]["deletionGracePeriodSeconds"] == 3


async def test_a_pod_that_was_never_bound_takes_its_twin_along() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.virtual.delete(PODS, "default", "web")
        await r.settle()
        assert r.here(PODS, "web") is None
        assert r.twin(PODS, "web") is None


async def test_a_host_pod_deleted_by_hand_ends_the_tenants_pod_with_the_hosts_grace() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=9)
        await r.settle()
        assert r.the(PODS, "web")["metadata"]["deletionGracePeriodSeconds"] == 9
        await r.kubelet_is_done("web")
        assert r.here(PODS, "web") is None


async def test_a_host_pod_gone_at_once_ends_the_tenants_pod_as_failed() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, finalized(pod("web")))
        await r.settle()
        await r.run_pod("web")
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=0)
        await r.settle()
        here = r.the(PODS, "web")
        assert here["status"]["phase"] == "Failed"
        assert here["status"]["reason"] == HOST_POD_GONE
        assert ("DisruptionTarget", "True") in [(c["type"], c["status"]) for c in here["status"]["conditions"]]
        assert "deletionTimestamp" in here["metadata"]
        del here["metadata"]["finalizers"]
        await r.virtual.update(PODS, here)
        await r.settle()
        assert r.here(PODS, "web") is None
        assert r.twin(PODS, "web") is None


async def test_a_host_pod_deleted_by_force_that_is_still_there_ends_the_tenants_pod_as_failed() -> None:
    """A real host tells it first as deleting with grace 0."""
    async with rig() as r:
        await r.virtual.create(PODS, finalized(pod("web")))
        await r.settle()
        await r.run_pod("web")
        await r.admin.update(PODS, finalized(r.the_twin(PODS, "web")))
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=0)
        await r.settle()
        assert r.the_twin(PODS, "web")["metadata"]["deletionGracePeriodSeconds"] == 0
        here = r.the(PODS, "web")
        assert here["status"]["reason"] == HOST_POD_GONE
        assert here["metadata"]["deletionGracePeriodSeconds"] == 0


def finalized(obj: Obj) -> Obj:
    obj["metadata"]["finalizers"] = ["example.com/hold"]
    return obj


async def test_a_host_pod_deleted_while_we_were_down_ends_the_tenants_pod() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.kill()
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("web"), grace_period_s=0)
        await r.start()
        assert r.here(PODS, "web") is None
        assert r.twin(PODS, "web") is None


async def test_an_ended_pod_stays_when_its_twin_is_collected() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("job"))
        await r.settle()
        await r.run_pod("job", phase="Succeeded")
        await r.admin.delete(PODS, HOST_NAMESPACE, r.host_name("job"), grace_period_s=0)
        await r.settle()
        assert r.the(PODS, "job")["status"]["phase"] == "Succeeded"
        assert r.twin(PODS, "job") is None


async def test_an_image_changed_by_the_tenant_goes_out_and_one_changed_on_the_host_is_put_back() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        here = r.the(PODS, "web")
        here["spec"]["containers"][0]["image"] = "i:2"
        await r.virtual.update(PODS, here)
        await r.settle()
        assert r.the_twin(PODS, "web")["spec"]["containers"][0]["image"] == "i:2"
        there = r.the_twin(PODS, "web")
        there["spec"]["containers"][0]["image"] = "by-hand"
        await r.admin.update(PODS, there)
        await r.settle()
        assert r.the_twin(PODS, "web")["spec"]["containers"][0]["image"] == "i:2"


async def test_labels_go_out_and_leave_those_of_the_host_alone() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web", app="web", old="1"))
        await r.settle()
        there = r.the_twin(PODS, "web")
        there["metadata"]["labels"] |= {"theirs": "1", "app": "edited"}
        await r.admin.update(PODS, there)
        here = r.the(PODS, "web")
        del here["metadata"]["labels"]["old"]
        here["metadata"]["labels"]["new"] = "1"
        await r.virtual.update(PODS, here)
        await r.settle()
        labels = r.the_twin(PODS, "web")["metadata"]["labels"]
        assert {"theirs", "new", "app", "old"} & labels.keys() == {"theirs", "new", "app"}
        assert labels["app"] == "web"


async def test_labels_of_the_namespace_are_on_its_pods_and_follow_it() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        namespace = r.tenant.registry.cached(NAMESPACES, "", "default")
        assert namespace is not None
        changed = namespace.obj()
        changed["metadata"].setdefault("labels", {})["tier"] = "gold"
        await r.virtual.update(NAMESPACES, changed)
        await r.settle()

        assert r.the_twin(PODS, "web")["metadata"]["labels"][namespace_label("tier")] == "gold"


def with_references(name: str) -> Obj:
    obj = pod(name)
    obj["spec"]["volumes"] = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "words", "secret": {"secretName": "words"}},
        {"name": "none", "configMap": {"name": "missing", "optional": True}},
    ]
    return obj


async def test_what_a_pod_names_is_on_the_host_before_it_and_what_nobody_names_is_not() -> None:
    async with rig() as r:
        for name in ("settings", "other"):
            await r.virtual.create(CONFIGMAPS, configmap(name, colour="red"))
        await r.virtual.create(SECRETS, {"metadata": {"name": "words", "namespace": "default"}, "data": {"a": "YQ=="}})
        await r.virtual.create(PODS, with_references("web"))
        await r.settle()
        assert r.the_twin(CONFIGMAPS, "settings")["data"] == {"colour": "red"}
        assert r.the_twin(SECRETS, "words")["data"] == {"a": "YQ=="}
        assert r.twin(CONFIGMAPS, "other") is None
        made = [int(r.the_twin(*o)["metadata"]["resourceVersion"]) for o in ((CONFIGMAPS, "settings"), (PODS, "web"))]
        assert made == sorted(made)


async def test_what_comes_later_goes_out_then() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, with_references("web"))
        await r.settle()
        assert r.twin(PODS, "web") is not None
        await r.virtual.create(CONFIGMAPS, configmap("missing", a="1"))
        await r.settle()
        assert r.the_twin(CONFIGMAPS, "missing")["data"] == {"a": "1"}


async def test_what_nobody_names_any_more_is_released_after_a_minute() -> None:
    async with rig() as r:
        await r.virtual.create(CONFIGMAPS, configmap("settings", a="1"))
        await r.virtual.create(PODS, with_references("web"))
        await r.settle()
        await r.virtual.delete(PODS, "default", "web")
        await r.settle()
        await r.advance(55)
        assert r.twin(CONFIGMAPS, "settings") is not None
        await r.advance(10)
        assert r.twin(CONFIGMAPS, "settings") is None
        assert r.here(CONFIGMAPS, "settings") is not None


async def test_a_pod_that_a_dead_node_holds_is_deleted_with_grace_0_after_its_time() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        await r.run_pod("web")
        await r.virtual.delete(PODS, "default", "web", grace_period_s=10)
        await r.settle()
        await r.virtual.delete(PODS, "default", "web", grace_period_s=0)
        await r.settle()
        assert r.twin(PODS, "web") is None or "deletionTimestamp" in r.the_twin(PODS, "web")["metadata"]
        await r.advance(60)
        assert r.twin(PODS, "web") is None


async def test_a_name_reused_with_a_new_uid_gets_a_new_twin() -> None:
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.settle()
        first = r.the_twin(PODS, "web")["metadata"]["uid"]
        await r.kill()
        await r.virtual.delete(PODS, "default", "web", grace_period_s=0)
        await r.virtual.create(PODS, pod("web"))
        await r.start()
        second = r.the_twin(PODS, "web")
        assert second["metadata"]["uid"] != first
        assert second["metadata"]["annotations"][md.OBJECT_UID] == r.the(PODS, "web")["metadata"]["uid"]


async def test_keys_that_the_host_owns_come_back_and_those_of_the_tenant_do_not() -> None:
    async with rig() as r:
        assert r.syncer is not None
        r.syncer.use(from_host=md.KeyPatterns(labels=("host.io/*",)))
        await r.virtual.create(PODS, pod("web", **{"host.io/gone": "1"}))
        await r.settle()
        there = r.the_twin(PODS, "web")
        there["metadata"]["labels"] |= {"host.io/zone": "a", "other": "1"}
        await r.admin.update(PODS, there)
        await r.settle()
        assert r.the(PODS, "web")["metadata"]["labels"] == {"host.io/zone": "a"}
        assert "host.io/gone" not in r.the_twin(PODS, "web")["metadata"]["labels"]


async def test_a_pod_that_cannot_be_had_on_a_shared_host_is_refused_by_name() -> None:
    async with rig() as r:
        refused = pod("web")
        certificate = {"signerName": "a.io/b", "keyType": "ED25519", "credentialBundlePath": "c"}
        refused["spec"]["volumes"] = [{"name": "v", "projected": {"sources": [{"podCertificate": certificate}]}}]
        await r.virtual.create(PODS, refused)
        await r.settle()
        assert r.host_names(PODS) == []
        assert [(name, reason) for name, reason, _ in r.events] == [("web", "SyncError")]
        assert "podCertificate is not supported" in r.events[0][2]
