"""Rules of apiregistration.k8s.io: APIServices. Source: kube-aggregator pkg/apis/apiregistration/validation (1.37)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import Cause, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, conditions
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_MAX_GROUP_PRIORITY, _MAX_VERSION_PRIORITY = 20_000, 1000


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    group, version = spec.get("group", ""), spec.get("version", "")
    name = obj["metadata"].get("name", "")
    if name != f"{version}.{group}" and not names.path_segment(name):
        detail = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        causes.append(field_invalid("metadata.name", name, detail))
    if not group and version != "v1":
        detail = "only v1 may have an empty group and it better be legacy kube"
        causes.append(field_required("spec.group", detail))
    if group:
        checks.dns_subdomain(causes, "spec.group", group)
    checks.text(causes, "spec.version", version, names.dns1035_label(version))
    for key, most in (("groupPriorityMinimum", _MAX_GROUP_PRIORITY), ("versionPriority", _MAX_VERSION_PRIORITY)):
        value = spec.get(key, 0)
        if not 0 < value <= most:
            causes.append(field_invalid(f"spec.{key}", value, f"must be positive and less than {most}"))
    _place(causes, spec)
    return causes


def _place(causes: Causes, spec: Obj) -> None:
    service, bundle, insecure = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify", False)
    if service is None:
        if bundle:
            shown = f"{len(base64.b64decode(bundle))} bytes"
            causes.append(field_invalid("spec.caBundle", shown, "local APIServices may not have a caBundle"))
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            causes.append(field_invalid("spec.insecureSkipTLSVerify", insecure, detail))
        return
    checks.required(causes, "spec.service.namespace", service.get("namespace"))
    checks.required(causes, "spec.service.name", service.get("name"))
    port = service.get("port", 0)
    if not 1 <= port <= checks.MAX_PORT:
        causes.append(field_invalid("spec.service.port", port, f"port is not valid: {checks.PORT_RANGE}"))
    if insecure and bundle:
        detail = "may not be true if caBundle is present"
        causes.append(field_invalid("spec.insecureSkipTLSVerify", insecure, detail))


def _status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    conditions.statuses(causes, "status.conditions", (new.get("status") or {}).get("conditions") or ())
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "apiservices": Strategy(name_check=names.path_segment, validate=validate, validate_subresource=on_status(_status)),
}
