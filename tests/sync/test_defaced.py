"""What somebody takes off a twin is put back on the same twin, and the tenant's object is as it was: every kind."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

import pytest

from sync import metadata as md
from sync import names
from sync.translator import CLAIMS, PRIORITYCLASSES, Translator
from sync.translators import ingresses, networkpolicies, poddisruptionbudgets
from sync.translators.table import BY_RESOURCE
from sync.workloads.rows import ROWS
from tests.planes import CONFIGMAPS, PODS, SECRETS, SERVICES, configmap, pod
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from tests.sync.workloads.manifests import daemon_set, deployment, job, stateful_set
from tests.sync.workloads.rig import workload_rig
from vapi.gvk import GVR, Obj

SPOILS: Mapping[str, Obj] = {
    "label": {"labels": {md.MANAGED_BY: None}},
    "namespace label": {"labels": {md.NAMESPACE: None}},
    "another's label": {"labels": {md.MANAGED_BY: "other"}},
    "uid": {"annotations": {md.OBJECT_UID: None}},
    "name": {"annotations": {md.OBJECT_NAME: None}},
    "kind": {"annotations": {md.OBJECT_KIND: "Nothing"}},
    "annotations": {"annotations": None},
    "labels": {"labels": None},
    "both": {"annotations": None, "labels": None},
    "owner": {"ownerReferences": None},
}


def named(**rest: object) -> Obj:
    return {"metadata": {"name": "web", "namespace": "default", "labels": {"mine": "1"}}, **rest}


POLICY = named(spec={"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]})
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
OBJECTS: Mapping[GVR, Obj] = {
    CONFIGMAPS: configmap("web", a="1"),
    SECRETS: named(data={"a": "MQ=="}),
    SERVICES: named(spec={"clusterIP": "None", "ports": [{"port": 80}]}),
    CLAIMS: named(spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
    ingresses.INGRESSES: named(spec={"defaultBackend": BACKEND}),
    networkpolicies.NETWORKPOLICIES: POLICY,
    poddisruptionbudgets.BUDGETS: named(spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
    PRIORITYCLASSES: {"metadata": {"name": "web", "labels": {"mine": "1"}}, "value": 7},
}
UNPROVEN = {
    # nothing owns them, so without a label and a uid they are anybody's
    (CLAIMS, "both"),
    (CLAIMS, "another's label"),
    (PRIORITYCLASSES, "both"),
    (PRIORITYCLASSES, "another's label"),
}


def referring() -> Obj:
    """To what goes out on demand only."""
    obj = pod("web", app="web")
    sources = [{"configMapRef": {"name": "web"}}, {"secretRef": {"name": "web"}}]
    obj["spec"]["containers"][0]["envFrom"] = sources
    return obj


async def spoil(r: Rig, row: Translator, patch: Obj, *, down: bool) -> None:
    """By somebody at the host; `down`: while nobody looks."""
    if down:
        await r.kill()
    namespace = "" if row.cluster_scoped else HOST_NAMESPACE
    body = json.dumps({"metadata": patch}).encode()
    await r.admin.patch(row.resource, namespace, twin_name(r, row), body, content_type="application/merge-patch+json")
    if down:
        await r.start()
    else:
        await r.settle()
    await r.advance(1)


def twin_name(r: Rig, row: Translator, name: str = "web") -> str:
    if row.cluster_scoped:
        return names.host_cluster_name(name, HOST_NAMESPACE, r.name)
    return names.host_name(name, "default", r.name, row.name_limit)


def the_twin(r: Rig, row: Translator) -> Obj:
    entry = r.host.registry.cached(row.resource, "" if row.cluster_scoped else HOST_NAMESPACE, twin_name(r, row))
    assert entry is not None
    return entry.obj()


def identity(twin: Obj) -> tuple[object, ...]:
    """What makes it ours, and the same object."""
    metadata = twin["metadata"]
    owners = [each["uid"] for each in metadata.get("ownerReferences") or ()]
    return metadata["uid"], metadata["labels"], metadata["annotations"], owners


CASES = [(gvr, how) for gvr in OBJECTS for how in SPOILS if (gvr, how) not in UNPROVEN]


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest.mark.parametrize(("gvr", "how"), CASES, ids=[f"{gvr.resource}-{how}" for gvr, how in CASES])
async def test_a_twin_gets_back_what_somebody_took_off(gvr: GVR, how: str, down: bool) -> None:
    async with rig() as r:
        row = BY_RESOURCE[gvr]
        await r.virtual.create(gvr, copy.deepcopy(OBJECTS[gvr]))
        await r.virtual.create(PODS, referring())
        await r.settle()
        here = r.tenant.registry.cached(gvr, "" if row.cluster_scoped else "default", "web")
        before = identity(the_twin(r, row))
        await spoil(r, row, SPOILS[how], down=down)
        assert identity(the_twin(r, row)) == before
        after = r.tenant.registry.cached(gvr, "" if row.cluster_scoped else "default", "web")
        assert here is not None
        assert after is not None
        assert after.uid == here.uid


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest.mark.parametrize("how", SPOILS)
async def test_a_running_pod_goes_on_and_its_twin_gets_back_what_somebody_took_off(how: str, down: bool) -> None:
    async with rig() as r:
        row = BY_RESOURCE[PODS]
        await r.virtual.create(PODS, referring())
        await r.settle()
        await r.run_pod("web")
        before, here = identity(r.the_twin(PODS, "web")), r.the(PODS, "web")
        await spoil(r, row, SPOILS[how], down=down)
        assert identity(r.the_twin(PODS, "web")) == before
        after = r.the(PODS, "web")
        assert (after["metadata"]["uid"], after["status"]) == (here["metadata"]["uid"], here["status"])


@pytest.mark.parametrize("how", SPOILS)
async def test_the_twin_of_a_pod_that_has_ended_goes_with_it(how: str) -> None:
    async with rig() as r:
        await r.virtual.create(PODS, referring())
        await r.settle()
        await r.run_pod("web", phase="Succeeded")
        await spoil(r, BY_RESOURCE[PODS], SPOILS[how], down=False)
        await r.virtual.delete(PODS, "default", "web", grace_period_s=0)
        await r.settle()
        assert r.twin(PODS, "web") is None


GONE = [gvr for gvr in (*OBJECTS, PODS) if gvr not in (CONFIGMAPS, SECRETS, SERVICES, CLAIMS, PRIORITYCLASSES)]


@pytest.mark.parametrize("gvr", GONE, ids=[gvr.resource for gvr in GONE])
@pytest.mark.parametrize("how", ["uid", "name", "annotations"])
async def test_a_nameless_twin_goes_at_the_next_start_if_the_tenant_deleted_its_object_meanwhile(
    gvr: GVR, how: str
) -> None:
    async with rig() as r:
        row = BY_RESOURCE[gvr]
        await r.virtual.create(gvr, copy.deepcopy(OBJECTS.get(gvr) or referring()))
        await r.settle()
        await r.kill()
        await r.virtual.delete(gvr, "default", "web", grace_period_s=0)
        await spoil(r, row, SPOILS[how], down=True)
        await r.settle()
        assert r.twin(gvr, "web") is None


@pytest.mark.parametrize("gvr", [g for g in OBJECTS if g != CLAIMS], ids=lambda gvr: gvr.resource)
async def test_a_twin_that_was_defaced_and_then_deleted_is_made_again(gvr: GVR) -> None:
    async with rig() as r:
        row = BY_RESOURCE[gvr]
        await r.virtual.create(gvr, copy.deepcopy(OBJECTS[gvr]))
        await r.virtual.create(PODS, referring())
        await r.settle()
        twin = the_twin(r, row)
        twin["metadata"]["finalizers"] = ["example.com/held"]
        namespace = "" if row.cluster_scoped else HOST_NAMESPACE
        await r.admin.update(gvr, twin)
        await r.admin.delete(gvr, namespace, twin["metadata"]["name"])
        await r.settle()
        for patch in (SPOILS["name"], {"finalizers": None}):
            body = json.dumps({"metadata": patch}).encode()
            await r.admin.patch(
                gvr, namespace, twin["metadata"]["name"], body, content_type="application/merge-patch+json"
            )
            await r.settle()
        await r.advance(1)
        assert the_twin(r, row)["metadata"]["uid"] != twin["metadata"]["uid"]


MADE: Mapping[str, Obj] = {
    "deployments": deployment(),
    "statefulsets": stateful_set(),
    "daemonsets": daemon_set(),
    "jobs": job(),
}


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("plural", MADE)
async def test_a_workload_of_the_hosts_and_its_pods_go_on(plural: str, how: str, down: bool) -> None:
    async with workload_rig(plural) as r:
        row, body = ROWS[plural], copy.deepcopy(MADE[plural])
        web = {**body, "metadata": {**body["metadata"], "name": "web"}}
        await r.virtual.create(row.resource, web)
        await r.roll()
        before, pods = identity(the_twin(r, row)), [p["metadata"]["uid"] for p in r.on_host(PODS)]
        await spoil(r, row, SPOILS[how], down=down)
        await r.roll()
        assert identity(the_twin(r, row))[:1] == before[:1]
        assert the_twin(r, row)["metadata"]["labels"].items() >= _lasting(before[1]).items()
        assert the_twin(r, row)["metadata"]["annotations"].items() >= _lasting(before[2]).items()
        assert [p["metadata"]["uid"] for p in r.on_host(PODS)] == pods
        assert sorted(p["metadata"]["uid"] for p in r.mirrors(PODS)) == sorted(pods)


def _lasting(found: object) -> dict[str, str]:
    assert isinstance(found, dict)
    return {k: v for k, v in found.items() if md.reserved(k)}
