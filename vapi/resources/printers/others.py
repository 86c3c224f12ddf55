"""Cells of the remaining groups, a line or a few each. Source: pkg/printers/internalversion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import text

Cells = Callable[[Obj, dt.datetime], list[Any]]


def name_and_age(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), text.age(obj, now)]


def name_and_creation(obj: Obj, _now: dt.datetime) -> list[Any]:
    """Kinds that upstream has no printer for: a date, which the client turns into an age."""
    return [text.name(obj), obj["metadata"].get("creationTimestamp") or "0001-01-01T00:00:00Z"]


def counted(key: str, *path: str) -> Cells:
    """Name, how many items the list `key` under `path` has, age."""
    return lambda obj, now: [text.name(obj), len(text.part(obj, *path).get(key) or ()), text.age(obj, now)]


def valued(key: str, *path: str) -> Cells:
    """Name, the text `key` under `path`, age."""
    return lambda obj, now: [text.name(obj), text.part(obj, *path).get(key) or "", text.age(obj, now)]


# rbac.authorization.k8s.io


def role_binding_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    role, subjects = text.part(obj, "roleRef"), obj.get("subjects") or ()
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in subjects:
        shown = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            shown = f"{subject.get('namespace', '')}/{shown}"
        by_kind.setdefault(subject.get("kind", ""), []).append(shown)
    columns = [", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [text.name(obj), f"{role.get('kind', '')}/{role.get('name', '')}", text.age(obj, now), *columns]


# certificates.k8s.io


def signing_request_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    seconds = spec.get("expirationSeconds")
    return [
        text.name(obj),
        text.age(obj, now),
        spec.get("signerName") or text.NONE,
        spec.get("username") or "",
        text.NONE if seconds is None else text.human_duration(seconds),
        _signing_state(status),
    ]


def _signing_state(status: Mapping[str, Any]) -> str:
    kinds = {condition.get("type") for condition in status.get("conditions") or ()}
    shown = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        shown += ",Failed"
    if status.get("certificate"):
        shown += ",Issued"
    return shown


def trust_bundle_cells(obj: Obj, _now: dt.datetime) -> list[Any]:
    return [text.name(obj), text.part(obj, "spec").get("signerName") or text.NONE]


def pod_certificate_cells(obj: Obj, _now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    kinds = [condition.get("type") for condition in text.part(obj, "status").get("conditions") or ()]
    state = next((kind for kind in ("Denied", "Failed", "Issued") if kind in kinds), "Pending")
    columns = (spec.get(key) or "" for key in ("podName", "serviceAccountName", "nodeName", "signerName"))
    return [text.name(obj), *columns, state, text.label_set(spec.get("unverifiedUserAnnotations"))]


# storage.k8s.io

_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def storage_class_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    annotations = obj["metadata"].get("annotations") or {}
    default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
    return [
        text.name(obj) + (" (default)" if default else ""),
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        text.age(obj, now),
    ]


def attachment_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    return [
        text.name(obj),
        spec.get("attacher") or "",
        text.part(spec, "source").get("persistentVolumeName") or "",
        spec.get("nodeName") or "",
        bool(text.part(obj, "status").get("attached")),
        text.age(obj, now),
    ]


def driver_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    audiences = [request.get("audience", "") for request in spec.get("tokenRequests") or ()]
    return [
        text.name(obj),
        spec.get("attachRequired", True),
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        ",".join(audiences) if spec.get("tokenRequests") else text.UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or text.NONE,
        text.age(obj, now),
    ]


# admissionregistration.k8s.io, apiextensions.k8s.io, apiregistration.k8s.io


def policy_cells(counted_key: str) -> Cells:
    def cells(obj: Obj, now: dt.datetime) -> list[Any]:
        spec = text.part(obj, "spec")
        kind = spec.get("paramKind")
        shown = text.UNSET if kind is None else f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}"
        return [text.name(obj), len(spec.get(counted_key) or ()), shown, text.age(obj, now)]

    return cells


def policy_binding_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    return [text.name(obj), spec.get("policyName") or "", _param_reference(spec.get("paramRef")), text.age(obj, now)]


def _param_reference(reference: Mapping[str, Any] | None) -> str:
    if reference is None:
        return text.UNSET
    if reference.get("name"):
        return f"{reference.get('namespace') or '*'}/{reference['name']}"
    return _go_selector(text.part(reference, "selector"))


def _go_selector(selector: Mapping[str, Any]) -> str:
    """As Go prints the struct: upstream has no better text for it."""
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{e.get('key', '')},Operator:{e.get('operator', '')},"
        f"Values:[{' '.join(e.get('values') or ())}],}},"
        for e in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def definition_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    names = text.part(spec, "names")
    served = [version for version in spec.get("versions") or () if version.get("served")]
    versions = ",".join(v.get("name", "") + ("(storage)" if v.get("storage") else "") for v in served)
    established = text.condition_status(text.part(obj, "status").get("conditions"), "Established") == "True"
    short_names = ",".join(names.get("shortNames") or ())
    return [
        text.name(obj),
        spec.get("scope") or "",
        versions,
        name_and_creation(obj, now)[1],
        spec.get("group") or "",
        names.get("kind") or "",
        short_names,
        established,
    ]


def api_service_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    service = text.part(obj, "spec").get("service")
    shown = "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"
    available = "Unknown"
    for condition in text.part(obj, "status").get("conditions") or ():
        if condition.get("type") == "Available":
            available = condition.get("status", "")
            if available != "True":
                available = f"{available} ({condition.get('reason', '')})"
            break
    return [text.name(obj), shown, available, text.age(obj, now)]


# scheduling.k8s.io, flowcontrol.apiserver.k8s.io, storagemigration.k8s.io


def priority_class_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    default, policy = bool(obj.get("globalDefault")), obj.get("preemptionPolicy")
    return [text.name(obj), obj.get("value") or 0, default, text.age(obj, now), text.optional(policy, "")]


def flow_schema_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    dangling = text.condition_status(text.part(obj, "status").get("conditions"), "Dangling") or "?"
    return [
        text.name(obj),
        text.part(spec, "priorityLevelConfiguration").get("name") or "",
        spec.get("matchingPrecedence") or 0,
        text.part(spec, "distinguisherMethod").get("type") or text.NONE,
        text.age(obj, now),
        dangling,
    ]


def priority_level_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    limited = spec.get("limited")
    queuing = text.part(limited or {}, "limitResponse").get("queuing")
    shares = text.NONE if limited is None else limited.get("nominalConcurrencyShares") or 0
    columns = (
        text.NONE if queuing is None else queuing.get(key) or 0 for key in ("queues", "handSize", "queueLengthLimit")
    )
    return [text.name(obj), spec.get("type") or "", shares, *columns, text.age(obj, now)]


def migration_cells(obj: Obj, _now: dt.datetime) -> list[Any]:
    resource = text.part(obj, "spec", "resource")
    shown = ".".join(filter(None, (resource.get("resource"), resource.get("group"))))
    conditions = text.part(obj, "status").get("conditions") or ()
    state = next((c.get("type", "") for c in conditions if c.get("status") == "True"), "Unknown")
    return [text.name(obj), shown, state]


# resource.k8s.io


def claim_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    status = text.part(obj, "status")
    states = []
    if "deletionTimestamp" in obj["metadata"]:
        states.append("deleted")
    if status.get("allocation") is None:
        if not states:
            states.append("pending")
    else:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    return [text.name(obj), ",".join(states), text.age(obj, now)]


def slice_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    node, pool = spec.get("nodeName") or "", text.part(spec, "pool").get("name") or ""
    return [text.name(obj), node, spec.get("driver") or "", pool, text.age(obj, now)]


def taint_rule_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    taint = text.part(obj, "spec", "taint")
    columns = (taint.get(key) or "" for key in ("key", "value", "effect"))
    added = taint.get("timeAdded")
    return [text.name(obj), *columns, text.since(added, now) if added else "", text.age(obj, now)]
