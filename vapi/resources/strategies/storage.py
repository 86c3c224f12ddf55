"""Rules of storage.k8s.io. Source: pkg/apis/storage/validation, pkg/registry/storage (1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vapi import names
from vapi.errors import (
    Cause,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_long,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, claims, godump, quantities, volumes
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import warnings
from vapi.resources.strategy import Strategy, WriteContext

_MAX_PARAMETERS, _MAX_PARAMETERS_BYTES = 512, 256 * 1024
_MAX_METADATA_BYTES, _MAX_ERROR_BYTES, _MAX_NODE_ID = 256 * 1024, 1024, 256
_RECLAIM = ("Delete", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE = ("Persistent", "Ephemeral")
_MIN_TOKEN_S, _MAX_TOKEN_S, _MIN_PERIOD_S = 600, 2**32, 10
_TOKENS_IN_CONTEXT = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, "
    "set to true to prevent possible logging of tokens in volume attributes"
)


# --- StorageClasses and VolumeAttributesClasses ---------------------------------------------------


def validate_class(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _provisioner(causes, "provisioner", obj.get("provisioner", ""))
    _parameters(causes, obj.get("parameters") or {})
    if obj.get("reclaimPolicy"):
        checks.one_of(causes, "reclaimPolicy", obj["reclaimPolicy"], _RECLAIM)
    mode = obj.get("volumeBindingMode")
    if mode is None:
        causes.append(field_required("volumeBindingMode"))
    else:
        checks.one_of(causes, "volumeBindingMode", mode, _BINDING)
    seen: list[Any] = []
    for index, term in enumerate(obj.get("allowedTopologies") or ()):
        shape = _topology(causes, f"allowedTopologies[{index}].matchLabelExpressions", term)
        # an empty one is equal to the empty places that upstream's list begins with
        if shape in seen or not shape:
            causes.append(field_duplicate(f"allowedTopologies[{index}].matchLabelExpressions", ""))
        seen.append(shape)
    return checks.generated_last(causes, "provisioner: Required")


def _topology(causes: Causes, path: str, term: Obj) -> dict[str, set[str]]:
    shape: dict[str, set[str]] = {}
    for index, requirement in enumerate(term.get("matchLabelExpressions") or ()):
        here, key, listed = f"{path}[{index}]", requirement.get("key", ""), requirement.get("values") or ()
        checks.required(causes, f"{here}.values", listed)
        seen: set[str] = set()
        for place, value in enumerate(listed):
            checks.unique(causes, f"{here}.values[{place}]", value, seen)
        checks.qualified(causes, f"{here}.key", key)
        if key in shape:
            causes.append(field_duplicate(f"{here}.key", key))
        shape[key] = seen
    return shape


def _provisioner(causes: Causes, path: str, name: str) -> None:
    if checks.required(causes, path, name):
        checks.qualified(causes, path, name.lower())


def _parameters(causes: Causes, parameters: Obj) -> None:
    if len(parameters) > _MAX_PARAMETERS:
        causes.append(field_too_long("parameters", _MAX_PARAMETERS))
        return
    if "" in parameters:
        causes.append(field_invalid("parameters", "", "field can not be empty."))
    if _size(parameters) > _MAX_PARAMETERS_BYTES:
        causes.append(field_too_long("parameters", _MAX_PARAMETERS_BYTES))


def _size(pairs: Obj) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in pairs.items())


def validate_class_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    for key in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        checks.unchanging(causes, key, new.get(key), old.get(key))
    return causes


def _class_warnings(obj: Obj, _old: Obj | None) -> Sequence[str]:
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{place}].key: {said}"
        for index, term in enumerate(obj.get("allowedTopologies") or ())
        for place, requirement in enumerate(term.get("matchLabelExpressions") or ())
        if (said := warnings.of_node_label(requirement.get("key", "")))
    ]


def validate_attributes_class(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _provisioner(causes, "driverName", obj.get("driverName", ""))
    parameters = obj.get("parameters") or {}
    _parameters(causes, parameters)
    checks.required(causes, "parameters", parameters, "must contain at least one key/value pair")
    return causes


def validate_attributes_class_update(new: Obj, old: Obj) -> Sequence[Cause]:
    return [
        field_forbidden(key, f"updates to {key} are forbidden.")
        for key in ("driverName", "parameters")
        if new.get(key) != old.get(key)
    ]


# --- CSIDrivers and CSINodes ----------------------------------------------------------------------


def validate_driver(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    for key, shown in (
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ):
        if spec.get(key) is None:
            causes.append(field_required(f"spec.{shown}"))
    checks.one_of(causes, "spec.fsGroupPolicy", spec.get("fsGroupPolicy"), _FS_GROUP)
    _token_requests(causes, spec.get("tokenRequests") or ())
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE:
            causes.append(field_not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE))
    if spec.get("seLinuxMount") is None:
        causes.append(field_required("spec.seLinuxMount"))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _MIN_PERIOD_S:
        detail = "must be greater than or equal to 10 seconds"
        causes.append(field_invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not spec.get("tokenRequests"):
        detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        causes.append(field_invalid("spec.serviceAccountTokenInSecrets", in_secrets, detail))
    return causes


def _token_requests(causes: Causes, requests: Sequence[Obj]) -> None:
    seen: set[str] = set()
    for index, request in enumerate(requests):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience", "")
        if audience in seen:
            causes.append(field_duplicate(f"{path}.audience", audience))
            continue
        seen.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < _MIN_TOKEN_S:
            detail = "may not specify a duration less than 10 minutes"
            causes.append(field_invalid(f"{path}.expirationSeconds", seconds, detail))
        if seconds is not None and seconds > _MAX_TOKEN_S:
            detail = "may not specify a duration larger than 2^32 seconds"
            causes.append(field_invalid(f"{path}.expirationSeconds", seconds, detail))


def validate_driver_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for key, shown in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
        checks.immutable(causes, f"spec.{shown}", after.get(key), before.get(key))
    return causes


def _driver_warnings(obj: Obj, old: Obj | None) -> Sequence[str]:
    spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
    requests = spec.get("tokenRequests")
    if not requests or spec.get("serviceAccountTokenInSecrets") is not None:
        return ()
    return () if requests == before.get("tokenRequests") else (_TOKENS_IN_CONTEXT,)


def validate_node(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    seen: set[str] = set()
    for index, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path, name = f"spec.drivers[{index}]", driver.get("name", "")
        claims.driver_name(causes, f"{path}.name", name)
        node = driver.get("nodeID", "")
        checks.required(causes, f"{path}.nodeID", node)
        if len(node) > _MAX_NODE_ID:
            causes.append(field_invalid(f"{path}.nodeID", node, f"must be {_MAX_NODE_ID} characters or less"))
        count = (driver.get("allocatable") or {}).get("count")
        checks.not_negative(causes, f"{path}.allocatable.count", count)
        checks.unique(causes, f"{path}.name", name, seen)
        keys: set[str] = set()
        for key in driver.get("topologyKeys") or ():
            checks.required(causes, path, key)
            checks.unique(causes, path, key, keys)
            checks.qualified(causes, path, key)
    return causes


def validate_node_update(new: Obj, old: Obj) -> Sequence[Cause]:
    """A driver that stays keeps all but how many volumes it can attach."""
    causes: Causes = []
    before = {driver.get("name"): driver for driver in (old.get("spec") or {}).get("drivers") or ()}
    for driver in (new.get("spec") or {}).get("drivers") or ():
        known = before.get(driver.get("name"))
        if known is not None:
            now, was = ({**each, "allocatable": None} for each in (driver, known))
            checks.immutable(causes, "spec.drivers", now, was, "storage.CSINodeDriver")
    return causes


# --- VolumeAttachments ----------------------------------------------------------------------------


def prepare_attachment(obj: Obj, _context: WriteContext) -> None:
    obj["status"] = {"attached": False}


def validate_attachment(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _attacher(causes, "spec.attacher", spec.get("attacher", ""))
    _attachment_source(causes, "spec.source", spec.get("source") or {})
    checks.dns_subdomain(causes, "spec.nodeName", spec.get("nodeName", ""))
    _attachment_status(causes, obj.get("status") or {})
    name = (spec.get("source") or {}).get("persistentVolumeName")
    if name is not None:
        checks.dns_subdomain(causes, "spec.source.persistentVolumeName", name)
    return checks.generated_last(causes, r"spec\.attacher: ")


def _attacher(causes: Causes, path: str, name: str) -> None:
    """Named as a CSI driver, but refused with the words of a generated rule."""
    if not checks.required(causes, path, name):
        return
    if len(name) > claims.MAX_DRIVER:
        causes.append(field_too_long(path, claims.MAX_DRIVER))
    checks.text(causes, path, name, names.dns_subdomain(name.lower()) and _CASELESS)


_CASELESS = (
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'Example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def _attachment_source(causes: Causes, path: str, source: Obj) -> None:
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and name is None:
        causes.append(field_required(path, detail))
    elif inline is not None and name is not None:
        causes.append(field_forbidden(path, detail))
    elif inline is not None:
        volumes.spec(causes, f"{path}.inlineVolumeSpec", inline, inline=True)
    elif not name:
        causes.append(field_required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName"))


def _attachment_status(causes: Causes, status: Obj) -> None:
    if _size(status.get("attachmentMetadata") or {}) > _MAX_METADATA_BYTES:
        causes.append(field_too_long("status.attachmentMetadata", _MAX_METADATA_BYTES))
    for key in ("attachError", "detachError"):
        error = status.get(key) or {}
        if len(error.get("message", "").encode()) > _MAX_ERROR_BYTES:
            causes.append(field_too_long(f"status.{key}.message", _MAX_ERROR_BYTES))
        checks.user_id(causes, f"status.{key}.errorCode", error.get("errorCode"))


def validate_attachment_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.unchanging(causes, "spec", new.get("spec"), old.get("spec"))
    return causes


def _attachment_on_status(new: Obj, _old: Obj) -> Sequence[Cause]:
    return validate_attachment(new)


# --- CSIStorageCapacities -------------------------------------------------------------------------


def validate_capacity(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.label_selector(causes, "nodeTopology", obj.get("nodeTopology"))
    checks.dns_subdomain(causes, "storageClassName", obj.get("storageClassName", ""))
    if obj.get("capacity") is not None:
        quantities.not_negative(causes, "capacity", obj["capacity"])
    return causes


def validate_capacity_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    topology, before = new.get("nodeTopology"), old.get("nodeTopology")
    if topology != before:
        causes.append(godump.invalid("nodeTopology", "*metav1.LabelSelector", topology, checks.IMMUTABLE))
    checks.immutable(causes, "storageClassName", new.get("storageClassName", ""), old.get("storageClassName", ""))
    return causes


def _capacity_warnings(obj: Obj, _old: Obj | None) -> Sequence[str]:
    topology = obj.get("nodeTopology") or {}
    found = [
        f"nodeTopology.matchExpressions[{index}].key: {key} is {said}"
        for index, requirement in enumerate(topology.get("matchExpressions") or ())
        if (said := warnings.of_node_label(key := requirement.get("key", "")))
    ]
    for key in topology.get("matchLabels") or ():
        if said := warnings.of_node_label(key):
            found.append(f"nodeTopology.matchLabels.{key}: {said}")
    return found


STRATEGIES: Mapping[str, Strategy] = {
    "csidrivers": Strategy(
        validate=validate_driver,
        validate_update=validate_driver_update,
        warnings=_driver_warnings,
    ),
    "csinodes": Strategy(validate=validate_node, validate_update=validate_node_update),
    "csistoragecapacities": Strategy(
        validate=validate_capacity, validate_update=validate_capacity_update, warnings=_capacity_warnings
    ),
    "storageclasses": Strategy(
        validate=validate_class, validate_update=validate_class_update, warnings=_class_warnings
    ),
    "volumeattachments": Strategy(
        prepare_create=prepare_attachment,
        validate=validate_attachment,
        validate_update=validate_attachment_update,
        validate_subresource=on_status(_attachment_on_status),
    ),
    "volumeattributesclasses": Strategy(
        validate=validate_attributes_class, validate_update=validate_attributes_class_update
    ),
}
