"""Mirror: what the host's controllers made of a tenant's workload, as the tenant sees it. Pure.

Names: the tenant's owner, and what the host appended to its own. Keys that controllers write are translated; all
others are the tenant's already, for they come from what we sent. Pods are in `podmirror`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sync import metadata as md
from sync.translators import podstatus, template, workload
from sync.translators.jobs import GENERATED
from vapi.control import kinds
from vapi.gvk import GVK, GVR, Obj

RANDOM = 5
"""Characters behind a generated name, which cuts what stands before them at 58. Source: apiserver names.go."""

HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
CONTROLLER_LABELS = frozenset(
    {
        HASH,
        REVISION_HASH,
        POD_NAME,
        "controller.kubernetes.io/hash",
        "pod-template-generation",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        *GENERATED,
    }
)
"""Labels that controllers put on what they make; they are the host's."""
CONTROLLER_ANNOTATIONS = ("batch.kubernetes.io/", "deployment.kubernetes.io/", "controller.kubernetes.io/")
_UIDS = frozenset({"controller-uid", "batch.kubernetes.io/controller-uid"})


@dataclass(frozen=True, slots=True)
class Owner:
    """What controls a child: a twin of the tenant's workload, or a child of one."""

    gvk: GVK
    namespace: str
    name: str
    uid: str
    """The tenant's."""
    host_name: str
    host_uid: str
    obj: Obj | None = None
    """The tenant's object; None: it is gone, or going."""

    def translated(self, text: str) -> str:
        """A name that begins with the host's name of the owner, with the tenant's in its place."""
        return self.name + text[len(self.host_name) :] if text.startswith(self.host_name) else text


@dataclass(frozen=True, slots=True)
class ChildKind:
    """A kind of which host controllers make objects. `mirror` raises KeyError where the host's object is broken."""

    gvr: GVR
    gvk: GVK
    mirror: Callable[[Obj, Owner | None, str], Obj]
    """(host, owner, tenant's name) → its spec and the like; metadata is added by `new_mirror`."""
    converged: tuple[str, ...] = ("spec",)
    """Fields that follow the host after the creation."""
    status: Callable[[Obj, Obj], Obj | None] = podstatus.status


def child_name(owner: Owner | None, host_name: str) -> str:
    if owner is None:
        return host_name
    translated = owner.translated(host_name)
    if translated != host_name:
        return translated
    return f"{owner.name}-{host_name[-RANDOM:]}"


def claim_name(host: Obj) -> str:
    """Template, set and ordinal; the set may be gone. Raises KeyError."""
    annotations = host["metadata"].get("annotations") or {}
    tenants = template.tenant_template(annotations)
    if tenants is None:
        raise KeyError(md.TEMPLATE)
    ordinal = host["metadata"]["name"].rpartition("-")[2]
    return f"{tenants['metadata']['name']}-{annotations[md.STATEFUL_SET]}-{ordinal}"


def mirror_labels(host: Obj, owner: Owner | None, name: str, own: Iterable[str] | None = None) -> dict[str, str]:
    """`own`: keys of the tenant's template; None: all that are not ours are the tenant's."""
    given: Mapping[str, str] = host["metadata"].get("labels") or {}
    tenants = None if own is None else set(own) | CONTROLLER_LABELS
    found = {k: v for k, v in given.items() if not md.reserved(k) and (tenants is None or k in tenants)}
    for key in CONTROLLER_LABELS & found.keys():
        if key == POD_NAME:
            found[key] = name
        elif key in _UIDS and owner is not None and found[key] == owner.host_uid:
            found[key] = owner.uid
        elif owner is not None:
            found[key] = owner.translated(found[key])
    return found


def mirror_annotations(host: Obj, own: Iterable[str] | None = None) -> dict[str, str]:
    given: Mapping[str, str] = host["metadata"].get("annotations") or {}
    tenants = None if own is None else frozenset(own)
    return {
        k: v
        for k, v in given.items()
        if not md.reserved(k) and (tenants is None or k in tenants or k.startswith(CONTROLLER_ANNOTATIONS))
    }


def new_mirror(kind: ChildKind, host: Obj, owner: Owner | None, namespace: str, name: str) -> Obj:
    """The tenant's object as it is created: with the host's uid and age. Raises KeyError."""
    there = host["metadata"]
    made = kind.mirror(host, owner, name)
    metadata: dict[str, Any] = {
        **made.get("metadata", {}),
        "name": name,
        "namespace": namespace,
        "uid": there["uid"],
        "creationTimestamp": there.get("creationTimestamp"),
    }
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        md.HOST_UID: md.make_mark(there["uid"], there["uid"]),
    }
    if there.get("generateName") and owner is not None:
        metadata["generateName"] = owner.translated(there["generateName"])
    if owner is not None and owner.obj is not None and kind.gvr != kinds.CLAIMS:
        metadata["ownerReferences"] = [reference(owner)]  # of a claim it would be the end of the data
    return {**made, "apiVersion": kind.gvk.api_version, "kind": kind.gvk.kind, "metadata": metadata}


def reference(owner: Owner) -> Obj:
    return kinds.controller_reference(owner.gvk, {"metadata": {"name": owner.name, "uid": owner.uid}})


def owners(current: Iterable[Obj], owner: Owner | None, controlled: bool, ours: Callable[[str], bool]) -> list[Obj]:
    """The ownerReferences that a mirror should have.

    `controlled`: the host's object has a controller. `ours`: whether the host runs what has this uid here. Never a
    reference to an owner that is gone or going: what it leaves behind must not be collected with it.
    """
    kept = [r for r in current if not r.get("controller")]
    controllers = [r for r in current if r.get("controller")]
    if owner is not None and owner.obj is not None:
        fitting = [r for r in controllers if r.get("uid") == owner.uid]
        return [*kept, *(fitting or [reference(owner)])]
    if controlled:
        return [*kept, *controllers]
    return [*kept, *(r for r in controllers if not ours(r.get("uid", "")))]


def anchoring(host: Obj, *, anchor: str, anchor_uid: str) -> Obj | None:
    """A merge patch of a host's child: owned by the anchor while it has no controller, and only then.

    What a workload leaves behind goes with the virtual cluster; what has been adopted goes with its new owner, which
    the collector would not do as long as the anchor holds it, too. None: it is so.
    """
    metadata = host["metadata"]
    references = metadata.get("ownerReferences") or []
    controlled = any(r.get("controller") for r in references)
    others = [r for r in references if r.get("uid") != anchor_uid]
    if not anchor_uid or controlled == (len(others) == len(references)) or "deletionTimestamp" in metadata:
        return None
    mine = [] if controlled else [md.owner_reference(anchor=anchor, anchor_uid=anchor_uid, controller=False)]
    known = {k: metadata[k] for k in ("uid", "resourceVersion")}
    return {"metadata": {**known, "ownerReferences": [*others, *mine]}}


def has_all(have: Any, wanted: Any) -> bool:
    """Whether `have` says all of `wanted`; defaults of the tenant's API may add to it."""
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(has_all(have.get(k), v) for k, v in wanted.items() if v is not None)
    if isinstance(wanted, list):
        return (
            isinstance(have, list)
            and len(have) == len(wanted)
            and all(has_all(a, b) for a, b in zip(have, wanted, strict=True))
        )
    return bool(have == wanted)


def over(have: Any, wanted: Any) -> Any:
    """`wanted`, with what it does not say."""
    return {**have, **wanted} if isinstance(have, dict) and isinstance(wanted, dict) else wanted


# --- the kinds ----------------------------------------------------------------------------------------


def _carried(host_template: Obj) -> Obj:
    """The tenant's template, private. Raises KeyError."""
    found = template.tenant_template((host_template.get("metadata") or {}).get("annotations") or {})
    if found is None:
        raise KeyError(md.TEMPLATE)
    return found


def tenant_selector(selector: Obj | None) -> Obj | None:
    """Without the two labels that every selector gets on its way out."""
    if selector is None:
        return None
    plain = {k: v for k, v in (selector.get("matchLabels") or {}).items() if not md.reserved(k)}
    return {**selector, "matchLabels": plain}


def _replica_set(host: Obj, owner: Owner | None, name: str) -> Obj:
    tenants = _carried(host["spec"]["template"])
    digest = (host["metadata"].get("labels") or {}).get(HASH)
    if digest:
        own = tenants.setdefault("metadata", {})
        own["labels"] = {**(own.get("labels") or {}), HASH: digest}
    spec = {**host["spec"], "selector": tenant_selector(host["spec"].get("selector")), "template": tenants}
    return {
        "metadata": {"labels": mirror_labels(host, owner, name), "annotations": mirror_annotations(host)},
        "spec": spec,
    }


def _job(host: Obj, owner: Owner | None, name: str) -> Obj:
    """Its uid is the host's, so its selector holds; its name in labels is the tenant's."""
    tenants = _carried(host["spec"]["template"])
    made = (host["spec"]["template"]["metadata"].get("labels") or {}).items()
    metadata = tenants.setdefault("metadata", {})
    generated = {k: (v if k in _UIDS else name) for k, v in made if k in GENERATED}
    metadata["labels"] = {**(metadata.get("labels") or {}), **generated}
    spec = {**host["spec"], "selector": tenant_selector(host["spec"].get("selector")), "template": tenants}
    own = mirror_labels(host, owner, name)
    own |= {k: name for k in own if k in GENERATED and k not in _UIDS}
    return {"metadata": {"labels": own, "annotations": mirror_annotations(host)}, "spec": spec}


def _revision(host: Obj, owner: Owner | None, name: str) -> Obj:
    """In the tenant's terms from what we sent, so that `kubectl rollout undo` puts the tenant's template back."""
    tenants = _carried(host["data"]["spec"]["template"])
    own: Obj = (owner.obj["metadata"].get("annotations") or {}) if owner is not None and owner.obj is not None else {}
    kept = {key: own[key] for key in (md.LAST_APPLIED,) if key in own}  # it never leaves the tenant
    return {
        "metadata": {"labels": mirror_labels(host, owner, name), "annotations": mirror_annotations(host) | kept},
        "data": {"spec": {"template": {**tenants, "$patch": "replace"}}},
        "revision": host.get("revision", 0),
    }


def _claim(host: Obj, owner: Owner | None, name: str) -> Obj:
    """Of a StatefulSet's claim template, with the volume that the host has bound."""
    tenants = template.tenant_template(host["metadata"].get("annotations") or {})
    if tenants is None:
        raise KeyError(md.TEMPLATE)
    spec = {**tenants["spec"]}
    for key in ("volumeName", "storageClassName", "resources"):
        if host["spec"].get(key):
            spec[key] = host["spec"][key]
    return {"metadata": {"labels": mirror_labels(host, owner, name), "annotations": {}}, "spec": spec}


def plain_status(virtual: Obj, host: Obj) -> Obj:
    """The host's; what the host has seen of itself, the mirror has been told."""
    theirs = {k: v for k, v in workload.in_tenant_terms(virtual, host).items() if k != "observedGeneration"}
    observed = (host.get("status") or {}).get("observedGeneration")
    if observed and observed >= host["metadata"].get("generation", 0):
        theirs["observedGeneration"] = virtual["metadata"].get("generation", 1)
    elif "observedGeneration" in (virtual.get("status") or {}):
        theirs["observedGeneration"] = virtual["status"]["observedGeneration"]
    return theirs


def _no_status(_virtual: Obj, _host: Obj) -> Obj | None:
    return None


CHILD_KINDS: Mapping[GVR, ChildKind] = MappingProxyType(
    {
        kind.gvr: kind
        for kind in (
            ChildKind(kinds.REPLICA_SETS, kinds.REPLICA_SET, _replica_set, status=plain_status),
            ChildKind(kinds.JOBS, kinds.JOB, _job, status=plain_status),
            ChildKind(
                kinds.CONTROLLER_REVISIONS,
                GVK("apps", "v1", "ControllerRevision"),
                _revision,
                converged=("revision",),
                status=_no_status,
            ),
            ChildKind(
                kinds.CLAIMS,
                GVK("", "v1", "PersistentVolumeClaim"),
                _claim,
                status=plain_status,
            ),
        )
    }
)
"""All but Pods."""
