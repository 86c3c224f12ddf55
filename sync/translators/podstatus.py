"""Pod status: the host's, told in the tenant's terms. Source: sync-behaviour §2.6, "do better" included.

The tenant keeps qosClass (injected containers change the host's), the conditions
of its readiness gates and those of its own evictions; containers that it does not have are not shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from sync import metadata as md
from sync.translators import podnames
from sync.wording import in_tenant_words
from vapi import encoding
from vapi.clock import parse_rfc3339
from vapi.gvk import Obj

_CONTAINER_STATUSES = (
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
)

ENDED = ("Succeeded", "Failed")
"""Phases that are never left."""
_TENANTS_OWN = ("qosClass", "resourceClaimStatuses")
"""Kept from the virtual status."""

DISRUPTION = "DisruptionTarget"
"""A condition of either side: the tenant's stays where the host has none, its eviction is the tenant's doing."""


def gate_types(virtual: Obj) -> set[str]:
    return {g["conditionType"] for g in virtual["spec"].get("readinessGates") or ()}


def gate_conditions(virtual: Obj) -> list[Obj]:
    """The conditions that the tenant owns, and the host must know to call the pod ready."""
    gates = gate_types(virtual)
    return [c for c in (virtual.get("status") or {}).get("conditions") or () if c["type"] in gates] if gates else []


def ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ENDED


def status(virtual: Obj, host: Obj) -> Obj:
    """The status that the virtual pod should have.

    A terminal phase is never left: the pod of a lost node has failed, though nothing ends its host pod.
    """
    ours: Obj = virtual.get("status") or {}
    if ended(virtual) and not ended(host):
        return ours
    theirs = in_tenant_terms(virtual, host)
    new = {k: v for k, v in theirs.items() if k not in _TENANTS_OWN and k != "observedGeneration"}
    for key in _TENANTS_OWN:
        if key in ours:
            new[key] = ours[key]
    new.setdefault("phase", "Pending")
    if "qosClass" not in new and "qosClass" in theirs:
        new["qosClass"] = theirs["qosClass"]
    for statuses, containers in _CONTAINER_STATUSES:
        if statuses in new:
            known = {c["name"] for c in virtual["spec"].get(containers) or ()}
            new[statuses] = [s for s in new[statuses] if s["name"] in known]
    generations = Generations(virtual, host)
    observed = generations.seen(theirs.get("observedGeneration"), ours.get("observedGeneration"))
    if observed:
        new["observedGeneration"] = observed
    if "conditions" in theirs or "conditions" in ours:
        new["conditions"] = _conditions(virtual, theirs, ours, generations)
    return new


def in_tenant_terms(virtual: Obj, host: Obj) -> Obj:
    """The host's status, names and uid replaced: the kubelet's messages hold `pod=<name>_<namespace>(<uid>)`."""
    status: Obj = host.get("status") or {}
    there, here = host["metadata"], virtual["metadata"]
    text = encoding.dumps(status)
    known = [
        (f"{there['name']}_{there.get('namespace', '')}", f"{here['name']}_{here['namespace']}"),
        (there["name"], here["name"]),
        (there["uid"], here["uid"]),
    ]
    if b'"message"' in text:  # such as: configmap "…" not found
        cluster = (there.get("labels") or {}).get(md.MANAGED_BY, "")
        known += sorted(podnames.host_names(virtual, cluster).items(), key=lambda pair: -len(pair[0]))
    told = text
    for old, new in known:
        told = told.replace(old.encode(), new.encode())
    replaced: Obj = status if told == text else encoding.loads(told)
    namespace = there.get("namespace", "")
    if b'"message"' in told and (b"-x-" in told or namespace.encode() in told):
        cluster = (there.get("labels") or {}).get(md.MANAGED_BY, "")
        return _worded(
            replaced,
            lambda text: in_tenant_words(
                text, {}, cluster=cluster, host_namespace=namespace, namespace=here["namespace"]
            ),
        )
    return replaced


def _worded(status: Obj, say: Callable[[str], str]) -> Obj:
    """The host's messages through `say`; what a container has written when it ended is its own."""
    found = {**status}
    if "message" in found:
        found["message"] = say(found["message"])
    if found.get("conditions"):
        found["conditions"] = [
            {**c, "message": say(c["message"])} if "message" in c else c for c in found["conditions"]
        ]
    for statuses, _ in _CONTAINER_STATUSES:
        if found.get(statuses):
            found[statuses] = [_waiting_worded(each, say) for each in found[statuses]]
    return found


def _waiting_worded(status: Obj, say: Callable[[str], str]) -> Obj:
    waiting = (status.get("state") or {}).get("waiting") or {}
    if "message" not in waiting:
        return status
    return {**status, "state": {"waiting": {**waiting, "message": say(waiting["message"])}}}


def scheduled_at(host: Obj) -> dt.datetime | None:
    """Since when it has been on its node, as its condition says: bound at that time, the tenant's is equal to it."""
    for condition in (host.get("status") or {}).get("conditions") or ():
        if (condition["type"], condition["status"]) == ("PodScheduled", "True"):
            try:
                return parse_rfc3339(condition.get("lastTransitionTime") or "")
            except ValueError:
                return None
    return None


class Generations:
    """Host generations as the tenant's: what the kubelet saw of ours is what last went out, once it saw the latest."""

    def __init__(self, virtual: Obj, host: Obj) -> None:
        sent = (host["metadata"].get("annotations") or {}).get(md.GENERATION, "")
        self._sent = int(sent) if sent.isdigit() else 0
        self._host: int = host["metadata"].get("generation", 0)
        self._limit: int = virtual["metadata"].get("generation", 0)

    def seen(self, observed: Any, before: Any) -> int:
        """0: unknown, and not to be shown (hosts before 1.33 have none)."""
        if not observed:
            return 0
        if observed >= self._host:
            return min(self._sent, self._limit)
        return int(before or 0)


def _conditions(virtual: Obj, theirs: Obj, ours: Obj, generations: Generations) -> list[Obj]:
    gates = gate_types(virtual)
    before = {c["type"]: c for c in ours.get("conditions") or ()}
    conditions = []
    for condition in theirs.get("conditions") or ():
        if condition["type"] in gates:
            continue
        known = before.get(condition["type"], {}).get("observedGeneration")
        observed = generations.seen(condition.get("observedGeneration"), known)
        shown = {k: v for k, v in condition.items() if k != "observedGeneration"}
        conditions.append({**shown, "observedGeneration": observed} if observed else shown)
    kept = gates | {DISRUPTION} - {c["type"] for c in conditions}
    return conditions + [c for t, c in before.items() if t in kept]


def lost_status(virtual: Obj, *, reason: str, now: str) -> Obj:
    """The last status of a pod whose twin is gone: Failed, as after an eviction, so that owners make a new one."""
    ours: Obj = virtual.get("status") or {}
    conditions = [c for c in ours.get("conditions") or () if c["type"] != DISRUPTION]
    conditions.append(
        {
            "type": DISRUPTION,
            "status": "True",
            "reason": reason,
            "message": "the pod was deleted on the host",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
    )
    return {
        **ours,
        "phase": "Failed",
        "reason": reason,
        "message": "the pod was deleted on the host",
        "conditions": conditions,
    }
