"""Rules of storagemigration.k8s.io. Source: pkg/apis/storagemigration/validation (1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import Cause, field_invalid
from vapi.gvk import Obj
from vapi.resources.strategies import checks, conditions, godump
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_FINAL = {"Succeeded": "Success", "Failed": "Failed"}
_CONDITIONS = "status.conditions"


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted = (obj.get("spec") or {}).get("resource") or {}
    name, group = wanted.get("resource", ""), wanted.get("group", "")
    if checks.required(causes, "spec.resource.resource", name, "resource is required to be set"):
        checks.text(causes, "spec.resource.resource", name, names.dns1035_label(name))
    if group:
        checks.dns_subdomain(causes, "spec.resource.group", group)
    return causes


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    shown = "storagemigration.StorageVersionMigrationSpec"
    checks.immutable(causes, "spec", new.get("spec"), old.get("spec"), shown)
    return causes


def _status(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status, stored = new.get("status") or {}, old.get("status") or {}
    listed = status.get("conditions") or []
    conditions.validate(causes, _CONDITIONS, listed)
    version, before = status.get("resourceVersion", ""), stored.get("resourceVersion", "")
    if before and version != before:
        causes.append(field_invalid("status.resourceVersion", version, checks.IMMUTABLE))
    now, known = _true(listed), _true(stored.get("conditions") or [])
    if now >= set(_FINAL):
        causes.append(_refused(listed, "Both success and failed conditions cannot be true at the same time"))
    causes.extend(
        _refused(listed, f"{said} condition cannot be set to false once it is true")
        for kind, said in _FINAL.items()
        if kind in known and kind not in now
    )
    return causes


def _refused(listed: list[Obj], detail: str) -> Cause:
    return godump.invalid(_CONDITIONS, "[]metav1.Condition", listed, detail)


def _true(listed: list[Obj]) -> set[str]:
    return {c.get("type", "") for c in listed if c.get("status") == "True"} & set(_FINAL)


STRATEGIES: Mapping[str, Strategy] = {
    "storageversionmigrations": Strategy(
        validate=validate, validate_update=validate_update, validate_subresource=on_status(_status)
    ),
}
