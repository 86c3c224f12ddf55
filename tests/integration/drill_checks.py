"""What must hold after a drill once nothing happens any more, seen from outside by two clients: all that does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.integration.api import Obj
from tests.integration.drill_kinds import KINDS, Kind, revision_of
from tests.integration.drills import Drill, essence, marked

COLLECTIONS: Mapping[str, str] = {
    **{kind.plural: kind.api for kind in KINDS.values()},
    "replicasets": "apis/apps/v1",
    "controllerrevisions": "apis/apps/v1",
}
KIND_OF = {
    "ConfigMap": "configmaps", "Secret": "secrets", "Service": "services", "Pod": "pods",
    "PersistentVolumeClaim": "persistentvolumeclaims", "Ingress.networking.k8s.io": "ingresses",
    "NetworkPolicy.networking.k8s.io": "networkpolicies", "PodDisruptionBudget.policy": "poddisruptionbudgets",
    "Deployment.apps": "deployments", "StatefulSet.apps": "statefulsets", "DaemonSet.apps": "daemonsets",
    "Job.batch": "jobs", "CronJob.batch": "cronjobs", "ReplicaSet.apps": "replicasets",
}  # fmt: skip
MADE_BY_HOST = frozenset({"kube-root-ca.crt"})
ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Sides:
    """All objects of both, by plural."""

    here: Mapping[str, list[Obj]]
    there: Mapping[str, list[Obj]]

    def named(self, plural: str) -> dict[tuple[str, str], Obj]:
        return {place(each): each for each in self.here[plural]}


def place(obj: Obj) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def sides(d: Drill) -> Sides:
    there = {p: d.host.items(f"/{api}/namespaces/{d.tenant.namespace}/{p}") for p, api in COLLECTIONS.items()}
    return Sides({p: d.virtual.items(f"/{api}/{p}") for p, api in COLLECTIONS.items()}, there)


def problems(d: Drill) -> list[str]:
    """What does not hold (yet)."""
    both = sides(d)
    return [
        *_twins(d, both),
        *_orphans(d, both),
        *_pods_of_workloads(both),
        *_ordinals(both),
        *_jobs(d, both),
        *_daemons(both),
        *_foreigners(d),
        *_dangling(both),
    ]


# --- both sides fit ---------------------------------------------------------------------------------------


def _annotation(obj: Obj, key: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(f"vapi.dev/{key}", ""))


def _is_mirror(obj: Obj) -> bool:
    virtual_uid, _, host_uid = _annotation(obj, "host-uid").partition("/")
    return bool(virtual_uid == host_uid == obj["metadata"]["uid"])


def _wanted(d: Drill, both: Sides, plural: str, obj: Obj) -> bool:
    """Whether it should have a twin, or the host's original."""
    if plural == "pods":
        return not _has_ended(plural, obj)
    kind = KINDS.get(plural)
    if kind is None:
        return False
    if kind.workload:
        owned = any(r.get("controller") for r in obj["metadata"].get("ownerReferences") or ())
        return plural in d.host_way and not owned and not _finished(obj)
    return not kind.on_demand or place(obj) in _referenced(both, plural)


def _has_ended(plural: str, obj: Obj) -> bool:
    """Its twin is of no use any more, but has to go with it."""
    if plural == "pods":
        return (obj.get("status") or {}).get("phase") in ENDED
    return plural == "jobs" and _finished(obj)


def _finished(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _referenced(both: Sides, plural: str) -> set[tuple[str, str]]:
    key = {"configmaps": "configMapRef", "secrets": "secretRef"}[plural]
    return {
        (pod["metadata"]["namespace"], source[key]["name"])
        for pod in both.here["pods"]
        if (pod.get("status") or {}).get("phase") not in ENDED
        for container in pod["spec"]["containers"]
        for source in container.get("envFrom") or ()
        if key in source
    }


def _twins(d: Drill, both: Sides) -> Iterator[str]:
    for plural, objects in both.here.items():
        found: dict[str, list[Obj]] = {}
        for twin in both.there[plural]:
            for uid in {_annotation(twin, "object-uid"), twin["metadata"]["uid"]}:
                found.setdefault(uid, []).append(twin)
        for obj in objects:
            if place(obj) == ("default", "kubernetes"):
                continue
            twins = found.get(obj["metadata"]["uid"], [])
            what = f"{plural} {'/'.join(place(obj))}"
            if len(twins) > 1:
                yield f"{what} has {len(twins)} twins"
            if not twins and _wanted(d, both, plural, obj):
                yield f"{what} has no twin"
            for twin in twins:
                if not _has_ended(plural, obj):
                    yield from _unlike(d, what, KINDS.get(plural), obj, twin)


def _unlike(d: Drill, what: str, kind: Kind | None, obj: Obj, twin: Obj) -> Iterator[str]:
    if "deletionTimestamp" in obj["metadata"]:
        yield f"{what} is deleting: {obj['metadata'].get('finalizers')}"
    if "deletionTimestamp" in twin["metadata"]:
        yield f"{what} has a deleting twin"
    if kind is None or _is_mirror(obj):
        return
    labels = twin["metadata"].get("labels") or {}
    if labels.get("vapi.dev/managed-by") != d.tenant.name:
        yield f"the twin of {what} is not labelled"
    if labels.get("vapi.dev/namespace") != obj["metadata"]["namespace"]:
        yield f"the twin of {what} is not labelled with its namespace"
    owners = {(o["kind"], o["name"]) for o in twin["metadata"].get("ownerReferences") or ()}
    if kind.plural != "persistentvolumeclaims" and ("ConfigMap", f"vapi-{d.tenant.name}") not in owners:
        yield f"the twin of {what} is not the anchor's"
    if revision_of(obj) and revision_of(twin) != revision_of(obj):
        yield f"the twin of {what} is at revision {revision_of(twin)}, not {revision_of(obj)}"
    if kind.content(twin) != kind.content(obj):
        yield f"the twin of {what} says {kind.content(twin)}, not {kind.content(obj)}"


def _orphans(d: Drill, both: Sides) -> Iterator[str]:
    """Whatever is in the host namespace must be somebody's."""
    uids = {obj["metadata"]["uid"] for objects in both.here.values() for obj in objects}
    ours = {f"vapi-{d.tenant.name}", d.tenant.name, f"{d.tenant.name}-workload"}
    for plural, objects in both.there.items():
        for obj in objects:
            name = obj["metadata"]["name"]
            if marked(obj) or name in MADE_BY_HOST or name in ours:
                continue
            kind, uid = _annotation(obj, "object-kind"), _annotation(obj, "object-uid")
            stands_for = uid if kind and KIND_OF.get(kind, plural) == plural else obj["metadata"]["uid"]
            if kind == "WorkloadToken" and _is_used(both, name):
                continue  # of pods that were left behind (propagationPolicy Orphan)
            if stands_for not in uids:
                yield f"host {plural} {name} ({kind or 'no kind'} {uid}) belongs to nothing of the tenant"


def _is_used(both: Sides, secret: str) -> bool:
    return any(
        f'"{secret}"' in json.dumps(o) for p in ("pods", "replicasets", "controllerrevisions") for o in both.there[p]
    )


def _dangling(both: Sides) -> Iterator[str]:
    """An owner that is gone: the collector has to have been here. A mirror that the host has no more."""
    uids = {obj["metadata"]["uid"] for objects in both.here.values() for obj in objects}
    host = {obj["metadata"]["uid"] for objects in both.there.values() for obj in objects}
    for plural, objects in both.here.items():
        for obj in objects:
            what = f"{plural} {'/'.join(place(obj))}"
            for owner in obj["metadata"].get("ownerReferences") or ():
                if owner["uid"] not in uids:
                    yield f"{what} is owned by a {owner['kind']} that is gone"
            if _is_mirror(obj) and obj["metadata"]["uid"] not in host:
                yield f"{what} mirrors what the host has no more"


# --- workloads ----------------------------------------------------------------------------------------------


def _children(both: Sides, plural: str, owner: Obj) -> list[Obj]:
    uid = owner["metadata"]["uid"]
    return [
        each
        for each in both.here[plural]
        if any(r.get("controller") and r["uid"] == uid for r in each["metadata"].get("ownerReferences") or ())
    ]


def _live(pods: Iterable[Obj]) -> list[Obj]:
    return [p for p in pods if (p.get("status") or {}).get("phase") not in ENDED]


def _waits(what: str, pods: Iterable[Obj]) -> Iterator[str]:
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        if phase != "Running":
            yield f"{what}: pod {pod['metadata']['name']} is {phase}"


def _pods_of_workloads(both: Sides) -> Iterator[str]:
    for each in both.here["replicasets"]:
        what = f"replicasets {'/'.join(place(each))}"
        pods = _live(_children(both, "pods", each))
        if len(pods) != each["spec"]["replicas"]:
            yield f"{what} has {len(pods)} pods, not {each['spec']['replicas']}"
        yield from _waits(what, pods)
    for each in both.here["deployments"]:
        what = f"deployments {'/'.join(place(each))}"
        sets = [s for s in _children(both, "replicasets", each) if s["spec"]["replicas"]]
        wanted = each["spec"]["replicas"]
        if each["spec"].get("paused"):
            continue
        if sum(s["spec"]["replicas"] for s in sets) != wanted or len(sets) > 1:
            yield f"{what} wants {wanted}, has sets of {[s['spec']['replicas'] for s in sets]}"
        status = each.get("status") or {}
        told = status.get("observedGeneration"), status.get("availableReplicas", 0), status.get("updatedReplicas", 0)
        if told != (each["metadata"]["generation"], wanted, wanted):
            yield f"{what} says {told}, not {(each['metadata']['generation'], wanted, wanted)}"


def _ordinals(both: Sides) -> Iterator[str]:
    claims = both.named("persistentvolumeclaims")
    for each in both.here["statefulsets"]:
        namespace, name = place(each)
        what = f"statefulsets {namespace}/{name}"
        pods = _live(_children(both, "pods", each))
        wanted = sorted(f"{name}-{n}" for n in range(each["spec"]["replicas"]))
        if sorted(p["metadata"]["name"] for p in pods) != wanted:
            yield f"{what} has {sorted(p['metadata']['name'] for p in pods)}, not {wanted}"
        yield from _waits(what, pods)
        status = each.get("status") or {}
        if (
            status.get("readyReplicas", 0) != len(wanted)
            or status.get("observedGeneration") != each["metadata"]["generation"]
        ):
            yield f"{what} says {status}"
        for pod in wanted:
            claim = claims.get((namespace, f"data-{pod}"))
            if claim is None or (claim.get("status") or {}).get("phase") != "Bound":
                yield f"{what}: claim of {pod} is {claim and claim.get('status')}"


def _jobs(d: Drill, both: Sides) -> Iterator[str]:
    for each in both.here["jobs"]:
        what = f"jobs {'/'.join(place(each))}"
        status = each.get("status") or {}
        if not _finished(each):
            yield f"{what} is not finished: {status}"
            continue
        wanted = each["spec"]["completions"]
        ended = [p for p in _children(both, "pods", each) if (p.get("status") or {}).get("phase") == "Succeeded"]
        if (
            status.get("succeeded") != wanted
            or status.get("active")
            or any((status.get("uncountedTerminatedPods") or {}).values())
        ):
            yield f"{what} wants {wanted}, says {status}"
        if len(ended) > wanted:
            yield f"{what} has {len(ended)} pods that succeeded, wants {wanted}"
        indexes = Counter(
            (p["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index") for p in ended
        )
        if each["spec"].get("completionMode") == "Indexed" and any(n > 1 for n in indexes.values()):
            yield f"{what} has an index twice: {indexes}"
    for each in both.here["cronjobs"]:
        times = Counter(
            (job["metadata"].get("annotations") or {}).get("batch.kubernetes.io/cronjob-scheduled-timestamp")
            for job in _children(both, "jobs", each)
        )
        if any(n > 1 for n in times.values()):
            yield f"cronjobs {'/'.join(place(each))} fired twice: {times}"


def _daemons(both: Sides) -> Iterator[str]:
    for each in both.here["daemonsets"]:
        what = f"daemonsets {'/'.join(place(each))}"
        pods = _live(_children(both, "pods", each))
        nodes = Counter(p["spec"].get("nodeName") for p in pods)
        if set(nodes.values()) != {1}:
            yield f"{what} has pods on {dict(nodes)}"
        yield from _waits(what, pods)


# --- the others ---------------------------------------------------------------------------------------------


def _foreigners(d: Drill) -> Iterator[str]:
    for each in d.foreign:
        found = d.host.find(each.path)
        if found is None or found["metadata"]["uid"] != each.uid:
            yield f"foreign {each.path} is gone"
        elif json.dumps(essence(found), sort_keys=True) != json.dumps(each.data, sort_keys=True):
            yield f"foreign {each.path} was changed: {essence(found)}"


# --- logs -----------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.")


def log_problems(log: str) -> list[str]:
    """Errors, tracebacks, and what must never stand in a log."""
    found = []
    for line in log.splitlines():
        if "Traceback" in line or '"level": "error"' in line or '"level":"error"' in line or " ERROR " in line:
            found.append(line[:3000])
        if _TOKEN.search(line) or "very-secret-" in line or "PRIVATE KEY" in line:
            found.append(f"a secret: {line[:300]}")
    return found
