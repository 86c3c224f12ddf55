"""Workloads that the host's own controllers run: what the tenant sees of them, and what it can do to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync import metadata as md
from sync.names import namespace_label
from tests.planes import NAMESPACES, PODS, turns
from tests.sync.rig import HOST_NAMESPACE
from tests.sync.workloads.manifests import cron_job, daemon_set, deployment, job, owner, stateful_set, template
from tests.sync.workloads.rig import workload_rig
from vapi.control import kinds
from vapi.control.history import template_of, template_patch
from vapi.gvk import GVR, Obj
from vapi.resources.resource import Propagation

REPLICASETS, JOBS, REVISIONS = kinds.REPLICA_SETS, kinds.JOBS, kinds.CONTROLLER_REVISIONS


async def test_the_pod_of_a_daemon_set_is_seen_with_its_owner_labels_and_template() -> None:
    async with workload_rig("daemonsets") as r:
        made = await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (pod,) = r.mirrors(PODS)
        host = r.of_host(PODS, pod)
        assert host["metadata"]["name"] == "agent-x-default-x-vc" + pod["metadata"]["name"].removeprefix("agent")
        assert owner(pod) == ("DaemonSet", "agent", made["metadata"]["uid"])
        labels = pod["metadata"]["labels"]
        assert labels["app"] == "agent"
        assert labels["controller-revision-hash"] == host["metadata"]["labels"]["controller-revision-hash"]
        assert not any(md.reserved(key) for key in labels)
        assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == ("node-1", "Running")
        assert r.the(kinds.DAEMON_SETS, "agent")["status"]["numberReady"] == 1


async def test_a_deployment_has_its_replica_set_and_pods_and_says_that_it_is_available() -> None:
    async with workload_rig("deployments") as r:
        made = await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        (replica_set,) = r.mirrors(REPLICASETS)
        assert owner(replica_set) == ("Deployment", "web", made["metadata"]["uid"])
        assert replica_set["spec"]["selector"]["matchLabels"].keys() == {"app", "pod-template-hash"}
        pods = r.mirrors(PODS)
        assert [owner(p) for p in pods] == [
            ("ReplicaSet", replica_set["metadata"]["name"], replica_set["metadata"]["uid"])
        ] * 2
        status = r.the(kinds.DEPLOYMENTS, "web")["status"]
        assert (status["observedGeneration"], status["availableReplicas"]) == (1, 2)
        assert replica_set["metadata"]["name"] in str(status["conditions"])
        assert "-x-" not in str(status)


async def test_a_rollout_is_seen_in_the_tenants_numbers_and_can_be_taken_back_from_what_it_left() -> None:
    async with workload_rig("deployments") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        here = r.the(kinds.DEPLOYMENTS, "web")
        first = here["spec"]["template"]
        here["spec"]["template"] = template("web", "i:2")
        await r.virtual.update(kinds.DEPLOYMENTS, here)
        await r.roll()
        here = r.the(kinds.DEPLOYMENTS, "web")
        assert here["status"]["observedGeneration"] == here["metadata"]["generation"] == 2
        assert here["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        revisions = {
            rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: rs for rs in r.mirrors(REPLICASETS)
        }
        assert (revisions["1"]["spec"]["replicas"], revisions["2"]["spec"]["replicas"]) == (0, 2)
        old = revisions["1"]["spec"]["template"]
        assert old["spec"] == first["spec"]
        assert {p["spec"]["containers"][0]["image"] for p in r.mirrors(PODS)} == {"i:2"}


async def test_revisions_hold_the_tenants_template() -> None:
    async with workload_rig("daemonsets", "statefulsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.virtual.create(kinds.STATEFUL_SETS, stateful_set())
        await r.roll()
        found = {owner(each)[1]: each for each in r.mirrors(REVISIONS)}
        for gvr, name in ((kinds.DAEMON_SETS, "agent"), (kinds.STATEFUL_SETS, "db")):
            assert template_of(found[name]) == r.the(gvr, name)["spec"]["template"]
        status = r.the(kinds.STATEFUL_SETS, "db")["status"]
        assert status["updateRevision"] == found["db"]["metadata"]["name"]


def revision(of: Obj, kind: str, name: str, data: Obj, number: int) -> Obj:
    metadata = {
        "name": name,
        "namespace": "default",
        "labels": {**of["spec"]["template"]["metadata"]["labels"], "controller-revision-hash": "own"},
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "name": of["metadata"]["name"],
                "uid": of["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return {"metadata": metadata, "data": data, "revision": number}


async def test_a_revision_of_the_tenants_own_is_in_the_history_as_on_a_cluster() -> None:
    async with workload_rig("daemonsets") as r:
        made = await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (first,) = r.mirrors(REVISIONS)
        own = await r.virtual.create(REVISIONS, revision(made, "DaemonSet", "agent-own", first["data"], 2))
        await r.virtual.delete(REVISIONS, "default", first["metadata"]["name"])
        await r.roll()
        (kept,) = r.mirrors(REVISIONS)
        (there,) = r.on_host(REVISIONS)
        assert (kept["metadata"]["uid"], kept["revision"]) == (own["metadata"]["uid"], 2)
        assert (there["metadata"]["name"], there["revision"]) == ("agent-x-default-x-vc-own", 2)
        kept["metadata"]["labels"]["mine"] = "1"
        await r.virtual.update(REVISIONS, kept)
        here = r.the(kinds.DAEMON_SETS, "agent")
        here["spec"]["template"] = template("agent", "i:2")
        await r.virtual.update(kinds.DAEMON_SETS, here)
        await r.roll()
        numbers = {each["metadata"]["name"]: each["revision"] for each in r.mirrors(REVISIONS)}
        assert sorted(numbers.values()) == [2, 3]
        assert r.the(REVISIONS, "agent-own")["metadata"]["labels"]["mine"] == "1"
        await r.virtual.delete(REVISIONS, "default", "agent-own")
        await r.roll()
        assert [each["revision"] for each in r.mirrors(REVISIONS)] == [3]
        assert [each["revision"] for each in r.on_host(REVISIONS)] == [3]


async def test_a_revision_of_the_tenants_own_says_what_it_says_and_goes_with_the_history() -> None:
    async with workload_rig("statefulsets") as r:
        made = await r.virtual.create(kinds.STATEFUL_SETS, {**stateful_set()})
        await r.roll()
        data = template_patch({"spec": {"template": template("db", "i:old")}})
        await r.virtual.create(REVISIONS, revision(made, "StatefulSet", "db-own", data, 7))
        await r.settle()
        assert r.the(REVISIONS, "db-own")["data"] == data
        (there,) = [each for each in r.on_host(REVISIONS) if each["revision"] == 7]
        assert template_of(there)["spec"]["containers"][0]["image"] == "i:old"
        await r.admin.delete(REVISIONS, HOST_NAMESPACE, there["metadata"]["name"])
        await r.settle()
        assert "db-own" not in [each["metadata"]["name"] for each in r.mirrors(REVISIONS)]


async def test_a_revision_without_a_template_or_without_such_a_workload_stays_in_the_tenant() -> None:
    async with workload_rig("daemonsets") as r:
        made = await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        other = await r.virtual.create(kinds.STATEFUL_SETS, stateful_set())
        await r.roll()
        before = r.on_host(REVISIONS)
        await r.virtual.create(REVISIONS, revision(made, "DaemonSet", "agent-own", {"some": "thing"}, 2))
        await r.virtual.create(REVISIONS, revision(other, "StatefulSet", "db-own", {"some": "thing"}, 2))
        await r.kill()
        await r.start()
        await r.roll()
        assert r.on_host(REVISIONS) == before
        assert {"agent-own", "db-own"} <= {each["metadata"]["name"] for each in r.mirrors(REVISIONS)}


async def test_a_stateful_sets_pods_have_their_ordinals() -> None:
    async with workload_rig("statefulsets") as r:
        await r.virtual.create(kinds.STATEFUL_SETS, stateful_set())
        await r.roll()
        pods = r.mirrors(PODS)
        assert [p["metadata"]["name"] for p in pods] == ["db-0", "db-1"]
        assert pods[0]["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-0"
        assert (pods[0]["spec"]["hostname"], pods[0]["spec"]["subdomain"]) == ("db-0", "db")


async def test_a_stateful_sets_claims_are_seen_outlive_it_and_go_when_the_tenant_deletes_them() -> None:
    async with workload_rig("statefulsets") as r:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = stateful_set()
        made["spec"] |= {"replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}
        await r.virtual.create(kinds.STATEFUL_SETS, made)
        await r.roll()
        (claim,) = r.mirrors(kinds.CLAIMS)
        assert claim["metadata"]["name"] == "data-db-0"
        assert not claim["metadata"].get("ownerReferences")
        (host,) = r.on_host(kinds.CLAIMS)
        assert host["metadata"]["uid"] == claim["metadata"]["uid"]
        (pod,) = r.mirrors(PODS)
        assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-db-0"}
        await r.virtual.delete(kinds.STATEFUL_SETS, "default", "db", propagation=Propagation.BACKGROUND)
        await r.roll()
        assert (len(r.mirrors(PODS)), len(r.mirrors(kinds.CLAIMS)), len(r.on_host(kinds.CLAIMS))) == (0, 1, 1)
        await r.virtual.delete(kinds.CLAIMS, "default", "data-db-0")
        await r.settle()
        assert (r.mirrors(kinds.CLAIMS), r.on_host(kinds.CLAIMS)) == ([], [])


async def test_a_pod_that_the_tenant_deletes_is_deleted_on_the_host_with_its_grace_and_replaced() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (before,) = r.mirrors(PODS)
        await r.virtual.delete(PODS, "default", before["metadata"]["name"], grace_period_s=7)
        await r.settle()
        assert r.of_host(PODS, before)["metadata"]["deletionGracePeriodSeconds"] == 7
        await r.roll()
        (after,) = r.mirrors(PODS)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["status"]["phase"] == "Running"


async def test_a_pod_that_never_ran_and_is_deleted_at_once_is_deleted_on_the_host_too() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.settle()
        (before,) = r.mirrors(PODS)
        await r.virtual.delete(PODS, "default", before["metadata"]["name"])
        await r.settle()
        assert before["metadata"]["uid"] not in [p["metadata"]["uid"] for p in r.on_host(PODS)]
        (after,) = r.mirrors(PODS)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
async def test_a_pod_that_the_tenant_calls_ended_is_replaced(phase: str) -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (before,) = r.mirrors(PODS)
        before["status"]["phase"] = phase
        await r.virtual.update(PODS, before, subresource="status")
        await r.settle()
        assert r.of_host(PODS, before)["metadata"]["deletionGracePeriodSeconds"] == 30
        assert r.mirrors(PODS) == []  # what has ended has no grace
        await r.roll()
        (after,) = r.mirrors(PODS)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["status"]["phase"] == "Running"


async def test_a_pod_that_has_ended_on_the_host_stays_for_the_hosts_controller() -> None:
    async with workload_rig("jobs") as r:
        await r.virtual.create(JOBS, job())
        await r.settle()
        await r.run_pods("Failed")
        failed = [p["metadata"]["uid"] for p in r.mirrors(PODS) if p["status"]["phase"] == "Failed"]
        assert failed
        assert {p["metadata"]["uid"] for p in r.on_host(PODS)} >= set(failed)


async def test_a_pod_that_nothing_controls_is_not_deleted_for_what_the_tenant_calls_it() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        await r.virtual.delete(kinds.DAEMON_SETS, "default", "agent", propagation=Propagation.ORPHAN)
        await r.roll()
        (left,) = r.mirrors(PODS)
        left["status"]["phase"] = "Failed"
        await r.virtual.update(PODS, left, subresource="status")
        await r.roll()
        assert [p["metadata"]["uid"] for p in r.on_host(PODS)] == [left["metadata"]["uid"]]


async def test_a_pod_that_somebody_deletes_on_the_host_goes_and_its_successor_comes() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (before,) = r.mirrors(PODS)
        host_name = r.of_host(PODS, before)["metadata"]["name"]
        await r.admin.delete(PODS, HOST_NAMESPACE, host_name, grace_period_s=9)
        await r.settle()
        assert r.the(PODS, before["metadata"]["name"])["metadata"]["deletionGracePeriodSeconds"] == 9
        await r.roll()
        (after,) = r.mirrors(PODS)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_a_twin_that_somebody_edits_or_deletes_is_put_back_and_the_tenants_workload_stays() -> None:
    async with workload_rig("deployments") as r:
        made = await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        twin = r.the_twin(kinds.DEPLOYMENTS, "web")
        twin["spec"]["replicas"] = 5
        await r.admin.update(kinds.DEPLOYMENTS, twin)
        await r.roll()
        assert r.the_twin(kinds.DEPLOYMENTS, "web")["spec"]["replicas"] == 2
        await r.admin.delete(kinds.DEPLOYMENTS, HOST_NAMESPACE, r.host_name("web"))
        await r.roll()
        assert r.the_twin(kinds.DEPLOYMENTS, "web")["metadata"]["uid"] != twin["metadata"]["uid"]
        assert r.the(kinds.DEPLOYMENTS, "web")["metadata"]["uid"] == made["metadata"]["uid"]
        assert len(r.mirrors(PODS)) == len(r.on_host(PODS)) == 2


ADDED = [
    (kinds.DAEMON_SETS, daemon_set, {"minReadySeconds": 9}),
    (kinds.DEPLOYMENTS, deployment, {"minReadySeconds": 9, "paused": True}),
    (kinds.STATEFUL_SETS, stateful_set, {"minReadySeconds": 9, "ordinals": {"start": 4}}),
    (kinds.CRON_JOBS, cron_job, {"startingDeadlineSeconds": 9, "timeZone": "Etc/UTC"}),
]


@pytest.mark.parametrize(("gvr", "made", "added"), ADDED, ids=lambda value: getattr(value, "resource", ""))
async def test_what_somebody_adds_to_a_twin_comes_off_and_nothing_is_written_after(
    gvr: GVR, made: Callable[[], Obj], added: Obj
) -> None:
    async with workload_rig() as r:
        await r.virtual.create(gvr, made())
        await r.roll()
        twin = r.on_host(gvr)[0]
        wanted = twin["spec"]
        twin["spec"] = {**wanted, **added}
        await r.admin.update(gvr, twin)
        await r.roll()
        assert r.on_host(gvr)[0]["spec"] == wanted
        before = r.host.feed.revision
        await r.kill()
        await r.start()
        await r.settle()
        assert r.host.feed.revision == before


@pytest.mark.parametrize("policy", [Propagation.BACKGROUND, Propagation.FOREGROUND])
async def test_a_deleted_deployment_takes_all_of_it_along(policy: Propagation) -> None:
    async with workload_rig("deployments") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        await r.virtual.delete(kinds.DEPLOYMENTS, "default", "web", propagation=policy)
        await r.roll()
        for gvr in (kinds.DEPLOYMENTS, REPLICASETS, PODS):
            assert (r.mirrors(gvr), r.on_host(gvr)) == ([], [])


@pytest.mark.parametrize("down", [False, True], ids=["running", "killed meanwhile"])
async def test_what_a_deployment_leaves_behind_stays_on_both_sides(down: bool) -> None:
    async with workload_rig("deployments") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        before = [p["metadata"]["uid"] for p in r.mirrors(PODS)]
        if down:
            await r.kill()
        await r.virtual.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.ORPHAN)
        if down:
            while r.mirrors(kinds.DEPLOYMENTS):
                await turns()
            await r.start()
            await r.advance(1)
        await r.roll()
        assert r.on_host(kinds.DEPLOYMENTS) == []
        (replica_set,) = r.mirrors(REPLICASETS)
        assert not replica_set["metadata"].get("ownerReferences")
        assert [p["metadata"]["uid"] for p in r.mirrors(PODS)] == before
        assert [p["metadata"]["uid"] for p in r.on_host(PODS)] == before


async def test_a_finished_job_is_not_run_again_when_its_twin_goes() -> None:
    async with workload_rig("jobs") as r:
        await r.virtual.create(JOBS, job(ttlSecondsAfterFinished=100))
        await r.settle()
        assert "ttlSecondsAfterFinished" not in r.the_twin(JOBS, "once")["spec"]
        await r.run_pods("Succeeded")
        await r.advance(2)
        assert [c["type"] for c in r.the(JOBS, "once")["status"]["conditions"]][-1] == "Complete"
        await r.admin.delete(JOBS, HOST_NAMESPACE, r.host_name("once"), propagation=Propagation.BACKGROUND)
        await r.settle()
        assert r.twin(JOBS, "once") is None
        assert r.the(JOBS, "once")["status"]["succeeded"] == 1


async def test_the_pods_of_an_indexed_job_have_its_uid_and_their_index() -> None:
    async with workload_rig("jobs") as r:
        made = await r.virtual.create(JOBS, job(completions=2, parallelism=2, completionMode="Indexed"))
        await r.settle()
        pods = r.mirrors(PODS)
        uid = made["metadata"]["uid"]
        assert [p["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] for p in pods] == [uid, uid]
        assert [p["metadata"]["labels"]["job-name"] for p in pods] == ["once", "once"]
        assert [p["spec"]["hostname"] for p in pods] == ["once-0", "once-1"]
        assert "JOB_COMPLETION_INDEX" in [e["name"] for e in pods[0]["spec"]["containers"][0]["env"]]


async def test_the_jobs_of_a_cron_job_are_seen_and_ours_let_them_be() -> None:
    async with workload_rig("cronjobs") as r:
        spec = {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}}
        made = await r.virtual.create(
            kinds.CRON_JOBS, {"metadata": {"name": "tick", "namespace": "default"}, "spec": spec}
        )
        await r.settle()
        await r.advance(61)
        (found,) = r.mirrors(JOBS)
        assert owner(found) == ("CronJob", "tick", made["metadata"]["uid"])
        (pod,) = r.mirrors(PODS)
        assert owner(pod) == ("Job", found["metadata"]["name"], found["metadata"]["uid"])
        assert pod["metadata"]["labels"]["job-name"] == found["metadata"]["name"]
        active = r.the(kinds.CRON_JOBS, "tick")["status"]["active"]
        assert [(a["name"], a["namespace"], a["uid"]) for a in active] == [
            (found["metadata"]["name"], "default", found["metadata"]["uid"])
        ]


async def test_the_host_runs_the_replica_sets_of_a_deployment_that_we_run() -> None:
    async with workload_rig("replicasets") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment(2))
        await r.roll()
        assert len(r.on_host(PODS)) == 2
        assert [p["metadata"]["ownerReferences"][0]["kind"] for p in r.mirrors(PODS)] == ["ReplicaSet"] * 2
        assert r.the(kinds.DEPLOYMENTS, "web")["status"]["availableReplicas"] == 2


async def test_a_replica_set_of_the_tenants_own_stays_with_our_controller() -> None:
    async with workload_rig("deployments") as r:
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "own"}}, "template": template("own")}
        await r.virtual.create(REPLICASETS, {"metadata": {"name": "own", "namespace": "default"}, "spec": spec})
        await r.virtual.create(kinds.DEPLOYMENTS, deployment(1))
        await r.roll()
        assert [rs["metadata"]["name"].partition("-")[0] for rs in r.on_host(REPLICASETS)] == ["web"]
        assert len(r.mirrors(PODS)) == len(r.on_host(PODS)) == 2


async def test_a_pod_that_reads_its_name_waits_until_it_has_one() -> None:
    async with workload_rig("daemonsets") as r:
        made = daemon_set()
        reference = {"fieldRef": {"fieldPath": "metadata.name"}}
        made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "ME", "valueFrom": reference}]
        await r.virtual.create(kinds.DAEMON_SETS, made)
        await r.settle()
        twin_template = r.the_twin(kinds.DAEMON_SETS, "agent")["spec"]["template"]
        assert twin_template["spec"]["schedulingGates"] == [{"name": md.NAME_GATE}]
        (pod,) = r.mirrors(PODS)
        host = r.of_host(PODS, pod)
        assert not host["spec"].get("schedulingGates")
        assert host["metadata"]["annotations"][md.OBJECT_NAME] == pod["metadata"]["name"]
        assert not pod["spec"].get("schedulingGates")


async def test_labels_and_images_that_the_tenant_changes_on_a_pod_go_out() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (pod,) = r.mirrors(PODS)
        pod["metadata"]["labels"]["extra"] = "1"
        pod["spec"]["containers"][0]["image"] = "i:debug"
        await r.virtual.update(PODS, pod)
        await r.settle()
        host = r.of_host(PODS, pod)
        assert host["metadata"]["labels"]["extra"] == "1"
        assert host["spec"]["containers"][0]["image"] == "i:debug"


async def test_labels_of_the_namespace_come_onto_pods_and_not_into_the_template() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        before = r.the_twin(kinds.DAEMON_SETS, "agent")["spec"]["template"]
        namespace = r.tenant.registry.cached(NAMESPACES, "", "default")
        assert namespace is not None
        changed = namespace.obj()
        changed["metadata"].setdefault("labels", {})["tier"] = "gold"
        await r.virtual.update(NAMESPACES, changed)
        await r.roll()
        (pod,) = r.mirrors(PODS)
        assert r.of_host(PODS, pod)["metadata"]["labels"][namespace_label("tier")] == "gold"
        assert r.the_twin(kinds.DAEMON_SETS, "agent")["spec"]["template"] == before


async def test_a_workload_of_a_namespace_that_is_going_makes_no_more_pods() -> None:
    async with workload_rig("deployments") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        await r.virtual.delete(NAMESPACES, "", "default")
        await r.roll()
        assert r.on_host(kinds.DEPLOYMENTS) == []
        assert (r.on_host(PODS), r.mirrors(PODS)) == ([], [])


async def test_a_pod_whose_label_is_taken_off_on_the_host_gets_it_back() -> None:
    async with workload_rig("daemonsets") as r:
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.roll()
        (pod,) = r.mirrors(PODS)
        host = r.of_host(PODS, pod)
        del host["metadata"]["labels"][md.MANAGED_BY]
        await r.admin.update(PODS, host)
        await r.roll()
        assert [p["metadata"]["uid"] for p in r.mirrors(PODS)][:1] == [pod["metadata"]["uid"]]


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
async def test_a_child_whose_label_is_taken_off_stays_and_gets_it_back(down: bool) -> None:
    async with workload_rig("statefulsets") as r:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = stateful_set()
        made["spec"] |= {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}
        await r.virtual.create(kinds.STATEFUL_SETS, made)
        await r.roll()
        claim, other = r.mirrors(kinds.CLAIMS)
        uids = [claim["metadata"]["uid"], other["metadata"]["uid"]]
        host = r.of_host(kinds.CLAIMS, claim)
        if down:
            await r.kill()
        del host["metadata"]["labels"][md.MANAGED_BY]
        await r.admin.update(kinds.CLAIMS, host)
        if down:
            await r.start()
        await r.roll()
        assert [c["metadata"]["uid"] for c in r.mirrors(kinds.CLAIMS)] == uids
        assert r.of_host(kinds.CLAIMS, claim)["metadata"]["labels"][md.MANAGED_BY] == r.name


async def test_what_is_made_while_a_twin_has_no_label_is_seen_once_it_has_it_back() -> None:
    async with workload_rig("statefulsets") as r:
        await r.virtual.create(kinds.STATEFUL_SETS, stateful_set())
        await r.roll()
        (twin,) = r.on_host(kinds.STATEFUL_SETS)
        bare = {k: v for k, v in twin["metadata"].items() if k not in ("labels", "annotations")}
        container = {**twin["spec"]["template"]["spec"]["containers"][0], "image": "by-hand"}
        twin["spec"]["template"]["spec"]["containers"] = [container]
        await r.admin.update(kinds.STATEFUL_SETS, {**twin, "metadata": bare})
        await r.roll()
        assert len(r.on_host(REVISIONS)) == 2
        assert {o["metadata"]["uid"] for o in r.mirrors(REVISIONS)} == {
            o["metadata"]["uid"] for o in r.on_host(REVISIONS)
        }


async def test_what_is_left_behind_is_the_anchors_until_somebody_adopts_it() -> None:
    async with workload_rig("deployments") as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        await r.virtual.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.ORPHAN)
        await r.roll()
        (left,) = r.on_host(REPLICASETS)
        assert [o["kind"] for o in left["metadata"]["ownerReferences"]] == ["ConfigMap"]
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.roll()
        (adopted,) = r.on_host(REPLICASETS)
        assert adopted["metadata"]["uid"] == left["metadata"]["uid"]
        assert [o["kind"] for o in adopted["metadata"]["ownerReferences"]] == ["Deployment"]


async def test_a_restart_writes_nothing() -> None:
    async with workload_rig() as r:
        await r.virtual.create(kinds.DEPLOYMENTS, deployment())
        await r.virtual.create(kinds.DAEMON_SETS, daemon_set())
        await r.virtual.create(kinds.STATEFUL_SETS, stateful_set())
        await r.roll()
        kept = (kinds.DEPLOYMENTS, kinds.DAEMON_SETS, kinds.STATEFUL_SETS, REPLICASETS, REVISIONS, PODS)
        before = [(r.mirrors(gvr), r.on_host(gvr)) for gvr in kept]
        await r.kill()
        await r.start()
        await r.settle()
        assert [(r.mirrors(gvr), r.on_host(gvr)) for gvr in kept] == before


async def test_a_job_whose_twin_is_made_again_finishes_with_what_it_had_counted() -> None:
    async with workload_rig("jobs") as r:
        await r.virtual.create(kinds.JOBS, job(completions=2, parallelism=1, backoffLimit=100))
        await r.settle()
        await r.run_pods("Failed")
        await r.advance(1)
        failed = r.the(kinds.JOBS, "once")["status"]["failed"]
        (twin,) = r.on_host(kinds.JOBS)
        await r.admin.delete(kinds.JOBS, r.host_namespace, twin["metadata"]["name"], propagation=Propagation.BACKGROUND)
        for _ in range(4):
            await r.advance(60)
            await r.kubelets_end()
            await r.run_pods("Succeeded")
        (again,) = r.on_host(kinds.JOBS)
        assert again["metadata"]["uid"] != twin["metadata"]["uid"]
        status = r.the(kinds.JOBS, "once")["status"]
        assert (status["succeeded"], status["failed"]) == (2, failed)
        assert failed > 0
