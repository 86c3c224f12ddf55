"""What a Pod or a pod template must be, and what of a Pod may change through each endpoint.

Source: pkg/apis/core/validation ValidatePodCreate, ValidatePodUpdate, ValidatePodResize, … (1.37).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vapi.errors import Cause, field_forbidden, field_invalid
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import containers, known, security, status, update

MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_MAX_INT32 = 2**31


def validate(obj: Obj) -> Sequence[Cause]:
    """A Pod on its own, new or changed."""
    causes: Causes = []
    metadata, wanted = obj["metadata"], obj.get("spec") or {}
    annotations = metadata.get("annotations")
    if annotations:
        _annotations(causes, "metadata.annotations", annotations, wanted)
    known.validate(causes, "spec", wanted, is_pod=True, pod_name=metadata.get("name", ""))
    grace = wanted.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        causes.append(field_invalid("spec.terminationGracePeriodSeconds", grace, checks.NEGATIVE))
    if not wanted.get("serviceAccountName"):
        _no_tokens(causes, wanted)
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(wanted.get(kind) or ()):
            containers.only_in_pods(causes, f"spec.{kind}[{index}]", container)
    if "ephemeralContainers" in wanted and "resourceVersion" not in metadata:  # it is new
        causes.append(field_forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if wanted.get("nodeName") and wanted.get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        causes.append(field_forbidden("spec.nodeName", detail))
    if annotations:
        security.old_annotations_match(causes, "spec", annotations, wanted)
    return causes


def _annotations(causes: Causes, path: str, annotations: Obj, wanted: Obj) -> None:
    if MIRROR in annotations and not wanted.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        causes.append(field_invalid(f"{path}[{MIRROR}]", annotations[MIRROR], detail))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        causes.append(field_invalid(f"{path}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    security.old_annotations(causes, path, annotations, wanted)


def _is_int32(text: str) -> bool:
    digits = text.removeprefix("-")
    if not digits or not digits.isascii() or not digits.isdigit() or (digits[0] == "0" and text != "0"):
        return False
    return -_MAX_INT32 <= int(text) < _MAX_INT32


def _no_tokens(causes: Causes, wanted: Obj) -> None:
    for index, volume in enumerate(wanted.get("volumes") or ()):
        for place, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if "serviceAccountToken" in source:
                path = f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken"
                causes.append(field_forbidden(path, "must not be specified when serviceAccountName is not set"))


def template(causes: Causes, path: str, wanted: Obj) -> None:
    """A PodTemplateSpec."""
    metadata, pod = wanted.get("metadata") or {}, wanted.get("spec") or {}
    checks.labels(causes, f"{path}.labels", metadata.get("labels"))
    annotations = metadata.get("annotations")
    if annotations:
        checks.annotation_keys(causes, f"{path}.annotations", annotations)
        _annotations(causes, f"{path}.annotations", annotations, pod)
    known.validate(causes, f"{path}.spec", pod, is_pod=False)
    if annotations:
        security.old_annotations_match(causes, f"{path}.spec", annotations, pod)
    if pod.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        causes.append(field_forbidden(f"{path}.spec.ephemeralContainers", detail))


def validate_template(obj: Obj) -> Sequence[Cause]:
    """The kind PodTemplate."""
    causes: Causes = []
    template(causes, "template", obj.get("template") or {})
    return causes


# --- updates --------------------------------------------------------------------------------------


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _annotation_updates(causes, new["metadata"].get("annotations") or {}, old["metadata"].get("annotations") or {})
    update.spec(causes, new["spec"], old["spec"])
    return causes


def _annotation_updates(causes: Causes, new: Obj, old: Obj) -> None:
    for key, value in old.items():
        if new.get(key) != value:
            if key.startswith(security.APPARMOR_CONTAINER):
                detail = "may not remove or update AppArmor annotations"
                causes.append(field_forbidden(f"metadata.annotations[{key}]", detail))
            if key == MIRROR:
                detail = "may not remove or update mirror pod annotation"
                causes.append(field_forbidden(f"metadata.annotations[{key}]", detail))
    for key in new.keys() - old.keys():
        if key.startswith(security.APPARMOR_CONTAINER):
            causes.append(field_forbidden(f"metadata.annotations[{key}]", "may not add AppArmor annotations"))
        if key == MIRROR:
            causes.append(field_forbidden(f"metadata.annotations[{key}]", "may not add mirror pod annotation"))


def _ephemeral_containers(new: Obj, old: Obj) -> Sequence[Cause]:
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [field_forbidden("[]", "static pods do not support ephemeral containers")]
    causes = list(validate(new))
    update.ephemeral_containers(causes, new["spec"], old["spec"])
    return causes


def _resize(new: Obj, old: Obj) -> Sequence[Cause]:
    if MIRROR in (old["metadata"].get("annotations") or {}):
        return [field_forbidden("[]", "static pods cannot be resized")]
    if (old["spec"].get("os") or {}).get("name") == "windows":
        return [field_forbidden("[]", "windows pods cannot be resized")]
    causes = list(validate(new))
    update.resize(causes, new, old)
    return causes


_SUBRESOURCES: Mapping[str, Callable[[Obj, Obj], Sequence[Cause]]] = {
    "ephemeralcontainers": _ephemeral_containers,
    "resize": _resize,
    "status": status.validate_update,
}


def validate_subresource(subresource: str, new: Obj, old: Obj) -> Sequence[Cause]:
    rules = _SUBRESOURCES.get(subresource)
    return rules(new, old) if rules else ()
