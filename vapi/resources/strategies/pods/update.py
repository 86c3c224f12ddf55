"""What of a PodSpec may change: through the main endpoint, /ephemeralcontainers and /resize.

Source: pkg/apis/core/validation ValidatePodUpdate, ValidatePodEphemeralContainersUpdate, ValidatePodResize (1.37).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vapi.errors import field_forbidden, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods.qos import qos_class

_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)
_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
_COMPUTE = frozenset({"cpu", "memory"})
_ONLY_COMPUTE = "only cpu and memory resources are mutable"


def spec(causes: Causes, new: Obj, old: Obj) -> None:
    for kind in ("containers", "initContainers"):
        if not _images(causes, f"spec.{kind}", new.get(kind) or (), old.get(kind) or ()):
            return
    if not _deadline(causes, new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")):
        return
    _only_added_tolerations(causes, new.get("tolerations") or (), old.get("tolerations") or ())
    _only_deleted_gates(causes, new.get("schedulingGates") or (), old.get("schedulingGates") or ())
    if new == old:
        return
    munged = _munged(new, old)
    if old.get("schedulingGates"):
        _gated(causes, munged, old)
    if munged != old:
        shown = godump.diff("core.PodSpec", old, munged)
        causes.append(field_forbidden("spec", _CHANGEABLE + shown))


def _images(causes: Causes, path: str, new: Sequence[Obj], old: Sequence[Obj]) -> bool:
    if len(new) != len(old):
        causes.append(field_forbidden(path, "pod updates may not add or remove containers"))
        return False
    for index, container in enumerate(new):
        image = container.get("image", "")
        if not image:
            causes.append(field_required(f"{path}[{index}].image"))
        if image.strip() != image:
            detail = "must not have leading or trailing whitespace"
            causes.append(field_invalid(f"{path}[{index}].image", image, detail))
    return True


def _deadline(causes: Causes, new: int | None, old: int | None) -> bool:
    path = "spec.activeDeadlineSeconds"
    if new is None:
        if old is not None:
            causes.append(field_invalid(path, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= checks.MAX_INT32:
        causes.append(field_invalid(path, new, f"must be between 0 and {checks.MAX_INT32}, inclusive"))
        return False
    if old is not None and old < new:
        causes.append(field_invalid(path, new, "must be less than or equal to previous value"))
        return False
    return True


def _only_added_tolerations(causes: Causes, new: Sequence[Obj], old: Sequence[Obj]) -> None:
    if new == old:
        return
    kept = [_without(toleration, "tolerationSeconds") for toleration in new]
    if any(_without(toleration, "tolerationSeconds") not in kept for toleration in old):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        causes.append(field_forbidden("spec.tolerations", detail))


def _without(obj: Obj, key: str) -> Obj:
    return {k: v for k, v in obj.items() if k != key}


def _only_deleted_gates(causes: Causes, new: Sequence[Obj], old: Sequence[Obj]) -> None:
    known = {gate.get("name", "") for gate in old}
    for index, gate in enumerate(new):
        name = gate.get("name", "")
        if name not in known:
            detail = f"only deletion is allowed, but found new scheduling gate '{name}'"
            causes.append(field_forbidden(f"spec.schedulingGates[{index}].name", detail))


def _munged(new: Obj, old: Obj) -> Obj:
    """`new` with what may change as it was."""
    munged = dict(new)
    for kind in ("containers", "initContainers"):
        if kind in munged:
            pairs = zip(munged[kind] or (), old.get(kind) or (), strict=True)
            munged[kind] = [_as_was(container, before, "image") for container, before in pairs]
    for key in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        munged = _as_was(munged, old, key)
    before = old.get("terminationGracePeriodSeconds")
    if before is not None and before < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        munged["terminationGracePeriodSeconds"] = before
    return munged


def _as_was(new: Obj, old: Obj, key: str) -> Obj:
    rest = _without(new, key)
    return {**rest, key: old[key]} if key in old else rest


def _gated(causes: Causes, munged: Obj, old: Obj) -> None:
    """A pod that waits may be narrowed to fewer nodes."""
    wanted, before = munged.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if wanted != before:
        if any(wanted.get(key) != value for key, value in before.items()):
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            causes.append(field_invalid("spec.nodeSelector", wanted or None, detail))
        _restore(munged, old, "nodeSelector")
    affinity, stored = munged.get("affinity"), old.get("affinity")
    node, node_before = (affinity or {}).get("nodeAffinity"), (stored or {}).get("nodeAffinity")
    if node == node_before:
        return
    _narrowed(causes, node, node_before)
    if affinity is None or (stored is None and not affinity.keys() - {"nodeAffinity"}):
        if node_before is not None:
            munged["affinity"] = {"nodeAffinity": node_before}
        else:
            munged.pop("affinity", None)
    else:
        munged["affinity"] = _as_was(affinity, stored or {}, "nodeAffinity")


def _restore(munged: Obj, old: Obj, key: str) -> None:
    if key in old:
        munged[key] = old[key]
    else:
        munged.pop(key, None)


def _narrowed(causes: Causes, node: Obj | None, before: Obj | None) -> None:
    old = ((before or {}).get(_TERMS) or {}).get("nodeSelectorTerms") or []
    if not old:
        return
    new = ((node or {}).get(_TERMS) or {}).get("nodeSelectorTerms") or []
    path = f"spec.affinity.nodeAffinity.{_TERMS}.nodeSelectorTerms"
    if len(old) != len(new):
        detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        causes.append(godump.invalid(path, "[]core.NodeSelectorTerm", new, detail))
        return
    for index, (term, stored) in enumerate(zip(new, old, strict=True)):
        if not _only_adds(term, stored):
            detail = "only additions are allowed (no mutations or deletions)"
            causes.append(godump.invalid(f"{path}[{index}]", "core.NodeSelectorTerm", term, detail))


def _only_adds(new: Obj, old: Obj) -> bool:
    keys = ("matchExpressions", "matchFields")
    if not any(old.get(key) for key in keys):
        return not any(new.get(key) for key in keys)
    return all((new.get(key) or [])[: len(old.get(key) or ())] == (old.get(key) or []) for key in keys)


# --- /ephemeralcontainers -------------------------------------------------------------------------


def ephemeral_containers(causes: Causes, new: Obj, old: Obj) -> None:
    """Only more of them."""
    path, wanted = "spec.ephemeralContainers", {c.get("name"): c for c in new.get("ephemeralContainers") or ()}
    for before in old.get("ephemeralContainers") or ():
        name = before["name"]
        if name not in wanted:
            causes.append(field_forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif wanted[name] != before:
            shown = godump.diff("core.EphemeralContainer", before, wanted[name])
            causes.append(field_forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n{shown}'))


# --- /resize --------------------------------------------------------------------------------------


def resize(causes: Causes, new: Obj, old: Obj) -> None:
    wanted, stored = new["spec"], old["spec"]
    status = old.get("status") or {}
    if (status.get("qosClass") or qos_class(stored)) != qos_class(wanted):
        detail = "Pod QOS Class may not change as a result of resizing"
        causes.append(field_invalid("spec", status.get("qosClass", ""), detail))
    running = next((c for c in status.get("containerStatuses") or () if "running" in (c.get("state") or {})), None)
    if running is not None and running.get("resources") is None:
        causes.append(field_forbidden("spec", "Pod running on node without support for resize"))
    munged = dict(wanted)
    if stored.get("resources") or wanted.get("resources"):
        _pod_level(causes, munged, stored)
    if not _same_containers(causes, wanted, stored):
        return
    for kind in ("initContainers", "containers"):
        if kind in munged:
            munged[kind] = _resized(causes, kind, munged[kind] or (), stored.get(kind) or ())
    if not causes and munged != stored:
        causes.append(field_forbidden("spec", _ONLY_COMPUTE))


def _same_containers(causes: Causes, new: Obj, old: Obj) -> bool:
    found = len(causes)
    for kind in ("containers", "initContainers"):
        wanted, stored = new.get(kind) or (), old.get(kind) or ()
        if len(wanted) != len(stored):
            causes.append(field_forbidden(f"spec.{kind}", f"{kind} may not be added or removed on resize"))
            continue
        for index, (container, before) in enumerate(zip(wanted, stored, strict=True)):
            if container.get("name") != before["name"]:
                detail = f"{kind} may not be renamed or reordered on resize"
                causes.append(field_forbidden(f"spec.{kind}[{index}].name", detail))
    return len(causes) == found


def _resized(causes: Causes, kind: str, new: Sequence[Obj], old: Sequence[Obj]) -> list[Obj]:
    """The containers with cpu and memory as they were."""
    return [
        _resized_container(causes, kind, index, container, before)
        for index, (container, before) in enumerate(zip(new, old, strict=True))
    ]


def _resized_container(causes: Causes, kind: str, index: int, container: Obj, before: Obj) -> Obj:
    resources, stored = container.get("resources") or {}, before.get("resources") or {}
    path = f"spec.{kind}[{index}]"
    for name in ("requests", "limits"):
        if (stored.get(name) or {}).keys() - (resources.get(name) or {}).keys():
            causes.append(field_forbidden(f"{path}.resources.{name}", f"resource {name} cannot be removed"))
    kept = {**container, "resources": _compute_as_was(resources, stored)}
    if kept != {**before, "resources": stored}:
        if kind == "initContainers":
            detail = "only cpu and memory resources for init or sidecar containers are mutable"
            causes.append(field_forbidden(path, detail))
        else:
            causes.append(field_forbidden("spec", _ONLY_COMPUTE))
    once = kind == "initContainers" and before.get("restartPolicy") != "Always"
    policies = {p.get("restartPolicy") for p in container.get("resizePolicy") or ()}
    if once and container != before and "RestartContainer" in policies:
        detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
        causes.append(field_forbidden(path, detail))
    return {**kept, "resources": before["resources"]} if "resources" in before else kept


def _compute_as_was(resources: Obj, stored: Obj) -> Obj:
    munged: dict[str, Any] = {k: v for k, v in resources.items() if k not in ("requests", "limits")}
    for name in ("requests", "limits"):
        amounts = {k: v for k, v in (resources.get(name) or {}).items() if k not in _COMPUTE}
        amounts |= {k: v for k, v in (stored.get(name) or {}).items() if k in _COMPUTE}
        if amounts:
            munged[name] = amounts
    return munged


def _pod_level(causes: Causes, munged: Obj, stored: Obj) -> None:
    before, wanted = stored.get("resources"), munged.get("resources")
    if before is not None and wanted is None:
        causes.append(field_forbidden("spec.resources", "pod-level resources cannot be removed"))
        return
    for name in ("requests", "limits"):
        if ((before or {}).get(name) or {}).keys() - ((wanted or {}).get(name) or {}).keys():
            detail = f"pod-level resource {name} cannot be removed"
            causes.append(field_forbidden(f"spec.resources.{name}", detail))
    kept = _compute_as_was(wanted or {}, before or {})
    if kept != (before or {}):
        causes.append(field_forbidden("spec", "only cpu and memory resources are mutable at pod-level"))
    _restore(munged, stored, "resources")
