"""PersistentVolumeClaims: the spec (of templates too), what of it may change, and its two data sources.

Source: pkg/apis/core/validation, pkg/api/persistentvolumeclaim (1.37).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from vapi import names
from vapi.errors import Cause, field_forbidden, field_invalid, field_required, field_too_long
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump, quantities
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import WriteContext

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
MAX_DRIVER = 63
_TEMPLATE_KEYS = frozenset({"annotations", "labels"})
_SPEC_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
)


def driver_name(causes: Causes, path: str, name: str) -> None:
    """Of a CSI driver."""
    if not checks.required(causes, path, name):
        return
    if len(name) > MAX_DRIVER:
        causes.append(field_too_long(path, MAX_DRIVER))
    checks.text(causes, path, name, names.dns_subdomain(name.lower()))


def template_metadata(causes: Causes, path: str, metadata: Obj) -> None:
    checks.annotation_keys(causes, f"{path}.annotations", metadata.get("annotations"))
    checks.labels(causes, f"{path}.labels", metadata.get("labels"))
    for key, value in metadata.items():
        if key not in _TEMPLATE_KEYS and value:
            causes.append(field_forbidden(f"{path}.{key}", "cannot be set"))


def access_modes(causes: Causes, path: str, modes: Sequence[str]) -> None:
    for mode in modes:
        checks.one_of(causes, path, mode, ACCESS_MODES)
    known = {mode for mode in modes if mode in ACCESS_MODES}
    if "ReadWriteOncePod" in known and len(known) > 1:
        causes.append(field_forbidden(path, "may not use ReadWriteOncePod with other access modes"))


def spec(causes: Causes, path: str, wanted: Obj) -> None:
    modes = wanted.get("accessModes") or ()
    if not modes:
        causes.append(field_required(f"{path}.accessModes", "at least 1 access mode is required"))
    checks.label_selector(causes, f"{path}.selector", wanted.get("selector"))
    access_modes(causes, f"{path}.accessModes", modes)
    storage = ((wanted.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        causes.append(field_required(f"{path}.resources[storage]"))
    else:
        quantities.positive(causes, f"{path}.resources[storage]", storage)
    if wanted.get("storageClassName"):
        checks.dns_subdomain(causes, f"{path}.storageClassName", wanted["storageClassName"])
    checks.one_of(causes, f"{path}.volumeMode", wanted.get("volumeMode"), VOLUME_MODES)
    _sources(causes, path, wanted.get("dataSource"), wanted.get("dataSourceRef"))
    if wanted.get("volumeAttributesClassName"):
        checks.dns_subdomain(causes, f"{path}.volumeAttributesClassName", wanted["volumeAttributesClassName"])


def _sources(causes: Causes, path: str, source: Obj | None, reference: Obj | None) -> None:
    if source is not None:
        _source(causes, f"{path}.dataSource", source)
    namespace = ""
    if reference is not None:
        _source(causes, f"{path}.dataSourceRef", reference)
        namespace = reference.get("namespace") or ""
        if namespace:
            checks.dns_label(causes, f"{path}.dataSourceRef.namespace", namespace)
    if source is None or reference is None:
        return
    keys = ("apiGroup", "kind", "name")
    if namespace:
        detail = "may not be specified when dataSourceRef.namespace is specified"
        causes.append(field_invalid(path, {}, detail))
    elif any(source.get(key) != reference.get(key) for key in keys):
        causes.append(field_invalid(path, {}, "must match dataSourceRef"))


def _source(causes: Causes, path: str, source: Obj) -> None:
    checks.required(causes, f"{path}.name", source.get("name"))
    checks.required(causes, f"{path}.kind", source.get("kind"))
    group, kind = source.get("apiGroup") or "", source.get("kind", "")
    if not group and kind != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        causes.append(field_invalid(path, kind, detail))
    if group:
        checks.dns_subdomain(causes, f"{path}.apiGroup", group)


# --- the kind itself ------------------------------------------------------------------------------


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec(causes, "spec", obj.get("spec") or {})
    return causes


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted, stored = copy.deepcopy(new["spec"]), copy.deepcopy(old["spec"])
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if not stored.get("volumeName"):
        _take(stored, wanted, "volumeName")
    _class_upgrade(causes, new, old, wanted, stored)
    size = _storage(new["spec"])
    if bound:
        if (wanted.get("resources") or {}).get("requests") is not None:
            wanted["resources"]["requests"]["storage"] = _storage(stored)
        _take(wanted, stored, "volumeAttributesClassName")
    if wanted != stored:
        shown = godump.diff("core.PersistentVolumeClaimSpec", stored, wanted)
        causes.append(field_forbidden("spec", _SPEC_IMMUTABLE + shown))
    status = old.get("status") or {}
    if checks.nanos(size) < checks.nanos(_storage(old["spec"])) and checks.nanos(size) <= checks.nanos(
        (status.get("capacity") or {}).get("storage", "0")
    ):
        causes.append(field_forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    checks.immutable(causes, "volumeMode", new["spec"].get("volumeMode"), old["spec"].get("volumeMode"))
    _attributes_class(causes, new["spec"], old["spec"], status)
    return causes


def _storage(wanted: Obj) -> str:
    found: str = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", "0")
    return found


def _take(target: Obj, source: Obj, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _class_upgrade(causes: Causes, new: Obj, old: Obj, wanted: Obj, stored: Obj) -> None:
    """The class may move from the old annotation to the field, and be set where there was none."""
    before = (old["metadata"].get("annotations") or {}).get(BETA_CLASS)
    after = (new["metadata"].get("annotations") or {}).get(BETA_CLASS)
    had, wants = stored.get("storageClassName"), wanted.get("storageClassName")
    if before is not None and had is None and wants == before and after in (None, before):
        wanted.pop("storageClassName")
        return
    if before != after:
        path = f"metadata.annotations.{BETA_CLASS}"
        causes.append(field_invalid(path, after or "", checks.IMMUTABLE))
    if wants is not None and had is None and before in (None, wants):
        wanted.pop("storageClassName")


def _attributes_class(causes: Causes, wanted: Obj, stored: Obj, status: Obj) -> None:
    key, path = "volumeAttributesClassName", "spec.volumeAttributesClassName"
    if wanted.get(key) == stored.get(key) or status.get("currentVolumeAttributesClassName") is None:
        return
    if wanted.get(key) is None:
        kind = "nil"
    elif not wanted[key]:
        kind = "empty string"
    else:
        return
    detail = f"update to {kind} is forbidden when status.currentVolumeAttributesClassName is not nil"
    causes.append(field_forbidden(path, detail))


def prepare_create(obj: Obj, _context: WriteContext) -> None:
    obj["status"] = {"phase": "Pending"}
    _one_source(obj.setdefault("spec", {}))


def prepare_update(new: Obj, _old: Obj, context: WriteContext) -> None:
    if not context.subresource:
        _one_source(new.setdefault("spec", {}))


_SNAPSHOT = ("VolumeSnapshot", "snapshot.storage.k8s.io")


def _one_source(wanted: Obj) -> None:
    """`dataSource` and `dataSourceRef` name the same; what the older field cannot name is dropped from it."""
    source, reference = wanted.get("dataSource"), wanted.get("dataSourceRef")
    if source is not None and reference is None:
        named = (source.get("kind"), source.get("apiGroup") or "")
        if named not in (("PersistentVolumeClaim", ""), _SNAPSHOT):
            wanted.pop("dataSource")
            source = None
    if (reference or {}).get("namespace"):
        return
    if source is not None and reference is None:
        wanted["dataSourceRef"] = dict(source)
    elif reference is not None and source is None:
        wanted["dataSource"] = dict(reference)
