"""Environment variables and what they are taken from: fields, resources, ConfigMaps, Secrets, files."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from vapi.errors import field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import paths

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_FIELD_LABELS = frozenset({*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"})
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_DIVISORS = {"cpu": ("1m", "1"), "memory": _BYTES, "ephemeral-storage": _BYTES, "hugepages": _BYTES}
_DIVISOR_NAMES = {"ephemeral-storage": "local ephemeral storage"}
_SUBSCRIPT = re.compile(r"(.+)\['(.*)'\]")

_name_problem = lru_cache(maxsize=4096)(values.env_name)


def variables(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    for index, variable in enumerate(listed):
        name = variable.get("name", "")
        if not name:
            causes.append(field_required(f"{path}[{index}].name"))
        elif problem := _name_problem(name):
            causes.append(field_invalid(f"{path}[{index}].name", name, problem))
        if "valueFrom" in variable:
            _value_from(causes, f"{path}[{index}].valueFrom", variable)


def _value_from(causes: Causes, path: str, variable: Obj) -> None:
    source = variable["valueFrom"]
    if "fieldRef" in source:
        field_ref(causes, f"{path}.fieldRef", source["fieldRef"], ENV_FIELDS)
    if "resourceFieldRef" in source:
        resource_ref(causes, f"{path}.resourceFieldRef", source["resourceFieldRef"], in_volume=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            _key_ref(causes, f"{path}.{kind}", source[kind])
    if "fileKeyRef" in source:
        _file_ref(causes, f"{path}.fileKeyRef", source["fileKeyRef"])
    if not source:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        causes.append(field_invalid(path, "", detail))
    elif variable.get("value"):
        causes.append(field_invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(source) > 1:
        causes.append(field_invalid(path, "", "may not have more than one field specified at a time"))


def field_ref(causes: Causes, path: str, reference: Obj, fields: Collection[str]) -> None:
    if not checks.required(causes, f"{path}.apiVersion", reference.get("apiVersion")):
        return
    field = reference.get("fieldPath", "")
    if not checks.required(causes, f"{path}.fieldPath", field):
        return
    if reference["apiVersion"] != "v1":
        problem = f"unsupported pod version: {reference['apiVersion']}"
        causes.append(field_invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {problem}"))
        return
    subscripted = _SUBSCRIPT.fullmatch(field)
    if subscripted:
        base, key = subscripted.groups()
        if base not in ("metadata.annotations", "metadata.labels"):
            problem = f"field label does not support subscript: {field}"
            causes.append(field_invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {problem}"))
        else:
            checks.qualified(causes, path, key.lower() if base == "metadata.annotations" else key)
        return
    if field not in _FIELD_LABELS and field != "spec.host":
        problem = f"field label not supported: {field}"
        causes.append(field_invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {problem}"))
        return
    internal = "spec.nodeName" if field == "spec.host" else field
    if internal not in fields:
        causes.append(field_not_supported(f"{path}.fieldPath", internal, sorted(fields)))


def resource_ref(causes: Causes, path: str, reference: Obj, *, in_volume: bool) -> None:
    resource = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        causes.append(field_required(f"{path}.containerName"))
    elif not resource:
        causes.append(field_required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        causes.append(field_not_supported(f"{path}.resource", resource, _RESOURCES))
    _divisor(causes, f"{path}.divisor", resource, reference.get("divisor") or "0")


def _divisor(causes: Causes, path: str, resource: str, divisor: str) -> None:
    if not checks.nanos(divisor):
        return
    kind = resource.partition(".")[2]
    kind = "hugepages" if kind.startswith("hugepages-") else kind
    allowed = _DIVISORS.get(kind)
    if allowed and divisor not in allowed:
        listed = " and ".join(allowed) if kind == "cpu" else ", ".join(allowed)
        detail = f"only divisor's values {listed} are supported with the {_DIVISOR_NAMES.get(kind, kind)} resource"
        causes.append(field_invalid(path, resource, detail))


def _key_ref(causes: Causes, path: str, reference: Obj) -> None:
    checks.dns_subdomain(causes, f"{path}.name", reference.get("name", ""))
    key = reference.get("key", "")
    if checks.required(causes, f"{path}.key", key):
        checks.text(causes, f"{path}.key", key, values.config_key(key))


def _file_ref(causes: Causes, path: str, reference: Obj) -> None:
    key, volume, file = (reference.get(name, "") for name in ("key", "volumeName", "path"))
    if checks.required(causes, f"{path}.key", key):
        checks.text(causes, f"{path}.key", key, values.env_name(key))
    if checks.required(causes, f"{path}.volumeName", volume):
        checks.dns_label(causes, f"{path}.volumeName", volume)
    if checks.required(causes, f"{path}.path", file):
        paths.no_backsteps(causes, f"{path}.path", file)


def sources(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    """`envFrom`."""
    for index, source in enumerate(listed):
        here, prefix = f"{path}[{index}]", source.get("prefix", "")
        if prefix:
            checks.text(causes, f"{here}.prefix", prefix, _name_problem(prefix))
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        for kind in kinds:
            name = source[kind].get("name", "")
            if checks.required(causes, f"{here}.{kind}.name", name):
                checks.dns_subdomain(causes, f"{here}.{kind}.name", name[:-1] + "a" if name.endswith("-") else name)
        if not kinds:
            causes.append(field_invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(kinds) > 1:
            causes.append(field_invalid(path, "", "may not have more than one field specified at a time"))
