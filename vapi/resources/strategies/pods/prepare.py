"""What the server writes into a Pod: its first status, selectors that follow its labels, what a status write keeps.

Source: pkg/registry/core/pod/strategy.go (1.37).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vapi.gvk import Obj
from vapi.resources.strategies.pods import resources
from vapi.resources.strategies.pods.qos import qos_class
from vapi.resources.strategy import WriteContext

_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
_KEPT_STATUS = (
    "qosClass",
    "observedGeneration",
    "resourceClaimStatuses",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
)
_TERMS = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")


def prepare_create(obj: Obj, _context: WriteContext) -> None:
    spec = obj.setdefault("spec", {})
    status: Obj = {"phase": "Pending"}
    if spec.get("schedulingGates"):
        status["conditions"] = [dict(_GATED)]
    labels = obj["metadata"].get("labels") or {}
    if "affinity" in spec:
        for term in _affinity_terms(spec["affinity"]):
            _follow_labels(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        selector = constraint.get("labelSelector")
        if selector is not None:
            _add_keys(selector, constraint.get("matchLabelKeys") or (), "In", labels)
    if "resources" in spec:
        resources.complete(spec)
    status["qosClass"] = qos_class(spec)
    obj["status"] = status


def prepare_update(new: Obj, old: Obj, context: WriteContext) -> None:
    if context.subresource == "status":
        status = new.setdefault("status", {})
        _keep_status(status, old.get("status") or {})
        _both_addresses(status)
        return
    if context.subresource in ("", "resize"):
        stored = old["spec"].get("resources")
        if stored is not None and "resources" not in new["spec"]:
            new["spec"] = {**new["spec"], "resources": stored}
    if context.subresource == "resize" and "resources" in new["spec"]:
        resources.complete(new["spec"])


def _keep_status(status: Obj, stored: Obj) -> None:
    """An old client that does not know a field must not clear it."""
    for key in _KEPT_STATUS:
        if not status.get(key) and stored.get(key):
            status[key] = stored[key]
    generations: dict[str, list[int]] = {}
    for condition in stored.get("conditions") or ():
        generations.setdefault(condition.get("type", ""), []).append(condition.get("observedGeneration", 0))
    for condition in status.get("conditions") or ():
        known = generations.get(condition.get("type", ""))
        generation = known.pop(0) if known else 0
        if generation and not condition.get("observedGeneration"):
            condition["observedGeneration"] = generation


def _both_addresses(status: Obj) -> None:
    """`podIP` is the first of `podIPs`, whichever of the two was written."""
    one, several = status.get("podIP"), status.get("podIPs")
    if one and (not several or several[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif several and not one:
        status["podIP"] = several[0].get("ip", "")


# --- selectors that follow the pod's labels -----------------------------------------------------


def _affinity_terms(affinity: Obj) -> Iterator[Obj]:
    for kind in ("podAffinity", "podAntiAffinity"):
        for terms in _TERMS:
            for term in (affinity.get(kind) or {}).get(terms) or ():
                yield term.get("podAffinityTerm") or {} if terms.startswith("preferred") else term


def _follow_labels(term: Obj, labels: Obj) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    _add_keys(selector, term.get("matchLabelKeys") or (), "In", labels)
    _add_keys(selector, term.get("mismatchLabelKeys") or (), "NotIn", labels)


def _add_keys(selector: Obj, keys: Sequence[str], operator: str, labels: Obj) -> None:
    for key in keys:
        if key in labels:
            requirement = {"key": key, "operator": operator, "values": [labels[key]]}
            selector.setdefault("matchExpressions", []).append(requirement)
