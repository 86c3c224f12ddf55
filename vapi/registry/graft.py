"""graft: what a write through each endpoint may change; everything else stays as stored. Pure.

Runs after admission, so that webhooks cannot get round it. A kind's own rules
come on top, in `Strategy.prepare_update`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vapi import objectmeta
from vapi.gvk import Obj
from vapi.resources.resource import Resource

_LABELS_STAY = frozenset({"apps", "autoscaling", "batch", "networking.k8s.io", "policy"})
"""Groups whose status strategy keeps the stored labels (and ownerReferences); core kinds take the new ones."""


def graft(row: Resource, new: Obj, old: Obj, subresource: str) -> Obj:
    """The object to store: parts of `new` on `old`, as `subresource` allows. May return `new`, edited."""
    if subresource:
        new = _SUBRESOURCES[subresource](row, new, old)
    elif "status" in row.subresources:
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
    objectmeta.prepare_update(new["metadata"], old["metadata"])
    return new


def _with_metadata(new: Obj, old: Obj) -> Obj:
    """The stored object under the metadata that was sent."""
    return {**old, "metadata": new["metadata"]}


def _status(row: Resource, new: Obj, old: Obj) -> Obj:
    metadata, stored = new["metadata"], old["metadata"]
    if row.gvr.group in _LABELS_STAY:
        _keep(metadata, stored, "labels")
    _keep(metadata, stored, "ownerReferences")
    merged = _with_metadata(new, old)
    if "status" in new:
        merged["status"] = new["status"]
    else:
        merged.pop("status", None)
    return merged


def _keep(metadata: Obj, stored: Obj, key: str) -> None:
    if key in stored:
        metadata[key] = stored[key]
    else:
        metadata.pop(key, None)


def _finalize(_row: Resource, new: Obj, old: Obj) -> Obj:
    merged = _with_metadata(new, old)
    spec = {k: v for k, v in old.get("spec", {}).items() if k != "finalizers"}
    finalizers = (new.get("spec") or {}).get("finalizers")
    if finalizers:
        spec["finalizers"] = finalizers
    merged["spec"] = spec
    return merged


def _ephemeral_containers(_row: Resource, new: Obj, old: Obj) -> Obj:
    spec = dict(old["spec"])
    added = (new.get("spec") or {}).get("ephemeralContainers")
    if added:
        spec["ephemeralContainers"] = added
    else:
        spec.pop("ephemeralContainers", None)
    return {**old, "metadata": {**old["metadata"], **_version_and_fields(new)}, "spec": spec}


def _resize(_row: Resource, new: Obj, old: Obj) -> Obj:
    """Only resources and resizePolicy of containers, and the pod's own resources.

    Other containers than there are come through: validation says what is wrong with them.
    """
    spec, sent = dict(old["spec"]), new.get("spec") or {}
    for field in ("containers", "initContainers"):
        stored, wanted = spec.get(field) or (), sent.get(field) or ()
        if [c["name"] for c in stored] != [c.get("name") for c in wanted]:
            spec[field] = list(wanted)
        elif stored:
            spec[field] = [_resized(c, w) for c, w in zip(stored, wanted, strict=True)]
    if "resources" in sent:
        spec["resources"] = sent["resources"]
    return {**old, "metadata": {**old["metadata"], **_version_and_fields(new)}, "spec": spec}


def _resized(container: Obj, sent: Obj) -> Obj:
    resized = dict(container)
    for key in ("resources", "resizePolicy"):
        if key in sent:
            resized[key] = sent[key]
    return resized


def _version_and_fields(new: Obj) -> Obj:
    return {k: new["metadata"][k] for k in ("resourceVersion", "managedFields") if k in new["metadata"]}


def _approval(_row: Resource, new: Obj, old: Obj) -> Obj:
    """Of a CertificateSigningRequest: its conditions only."""
    merged = _with_metadata(new, old)
    status = dict(old.get("status") or {})
    conditions = (new.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    merged["status"] = status
    return merged


def _computed(_row: Resource, new: Obj, _old: Obj) -> Obj:
    """Written by `Registry.change` alone: what it computed from the stored object stands."""
    return new


_SUBRESOURCES: Mapping[str, Callable[[Resource, Obj, Obj], Obj]] = {
    "status": _status,
    "finalize": _finalize,
    "ephemeralcontainers": _ephemeral_containers,
    "resize": _resize,
    "approval": _approval,
    "scale": _computed,
    "binding": _computed,
    "eviction": _computed,
    "numbers": _computed,  # of a Service, by the syncer: no client reaches it
}
_CALLS = frozenset({"scale", "binding", "eviction", "numbers"})

OBJECT_SUBRESOURCES = frozenset(_SUBRESOURCES) - _CALLS
"""Subresources whose body is the object itself; the others are calls (`registry.virtual`)."""


TRACKED_AS_SENT = frozenset({"resize"})
"""Whose strategy upstream names no fields that are reset: what it drops is owned by the sender all the same."""

_PAST_THE_STRATEGY = frozenset({"binding", "eviction"})
"""kube-apiserver writes these straight to its storage: the spec changes, the generation does not."""


def needs_generation(row: Resource, new: Obj, old: Obj, subresource: str) -> bool:
    """Whether anything but what the strategy leaves out differs."""
    if subresource in _PAST_THE_STRATEGY:
        return False
    ignored = row.strategy.generation_ignores
    keys = (new.keys() | old.keys()) - ignored
    return any(new.get(key) != old.get(key) for key in keys)
