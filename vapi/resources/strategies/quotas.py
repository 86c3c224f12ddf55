"""ResourceQuotas and LimitRanges. Source: pkg/apis/core/validation (1.37)."""

from __future__ import annotations

from collections.abc import Sequence

from vapi.errors import Cause, field_duplicate, field_forbidden, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump, quantities
from vapi.resources.strategies.checks import Causes
from vapi.schema import quantity

_POD_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory", "pods"})
_CLAIMS = frozenset({"persistentvolumeclaims", "requests.storage"})
_SCOPES: dict[str, frozenset[str]] = {
    "Terminating": _POD_COMPUTE,
    "NotTerminating": _POD_COMPUTE,
    "NotBestEffort": _POD_COMPUTE,
    "PriorityClass": _POD_COMPUTE,
    "CrossNamespacePodAffinity": _POD_COMPUTE,
    "BestEffort": frozenset({"pods"}),
    "VolumeAttributesClass": _CLAIMS,
}
"""Scope → the resources it can be asked for."""
_ONLY_EXISTS = frozenset({"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"})
_CONFLICTS = (frozenset({"BestEffort", "NotBestEffort"}), frozenset({"Terminating", "NotTerminating"}))


def validate_quota(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _amounts(causes, "spec.hard", spec.get("hard") or {})
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            causes.append(field_invalid("spec.scopes", scopes, "unsupported scope"))
        elif not _applies(scope, spec):
            causes.append(field_invalid("spec.scopes", scopes, "unsupported scope applied to resource"))
    _conflicts(causes, set(scopes), scopes)
    if spec.get("scopeSelector") is not None:
        _scope_selector(causes, "spec.scopeSelector.matchExpressions", spec)
    return causes


def _amounts(causes: Causes, path: str, amounts: Obj) -> None:
    for name, value in amounts.items():
        quantities.quota_name(causes, f"{path}[{name}]", name)
        quantities.amount(causes, f"{path}[{name}]", name, value)


def _applies(scope: str, spec: Obj) -> bool:
    asked = [name for name in spec.get("hard") or () if quantities.is_quota_resource(name)]
    return all(name in _SCOPES[scope] for name in asked)


def _conflicts(causes: Causes, present: set[str], scopes: list[str]) -> None:
    if any(pair <= present for pair in _CONFLICTS):
        causes.append(field_invalid("spec.scopes", scopes or None, "conflicting scopes"))


def _scope_selector(causes: Causes, path: str, spec: Obj) -> None:
    present = set()
    for requirement in spec["scopeSelector"].get("matchExpressions") or ():
        scope, operator = requirement.get("scopeName", ""), requirement.get("operator", "")
        listed = requirement.get("values") or []
        present.add(scope)
        if scope not in _SCOPES:
            causes.append(field_invalid(f"{path}.scopeName", scope, "unsupported scope"))
        elif not _applies(scope, spec):
            detail = "unsupported scope applied to resource"
            causes.append(godump.invalid(path, "core.ScopeSelector", spec["scopeSelector"], detail))
        if scope in _ONLY_EXISTS and operator != "Exists":
            names = "ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            last = "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            detail = f"must be 'Exists' when scope is any of {names}{last}"
            causes.append(field_invalid(f"{path}.operator", operator, detail))
        if operator in ("In", "NotIn"):
            if not listed:
                detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                causes.append(field_required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist"):
            if listed:
                detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                causes.append(field_invalid(f"{path}.values", listed, detail))
        else:
            causes.append(field_invalid(f"{path}.operator", operator, "not a valid selector operator"))
    _conflicts(causes, present, spec.get("scopes") or [])


def validate_quota_update(new: Obj, old: Obj) -> Sequence[Cause]:
    scopes = new["spec"].get("scopes") or []
    if set(scopes) != set(old["spec"].get("scopes") or ()):
        return [field_invalid("spec.scopes", scopes or None, checks.IMMUTABLE)]
    return ()


def validate_quota_status(subresource: str, new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    if subresource == "status":
        for name in ("hard", "used"):
            _amounts(causes, f"status.{name}", (new.get("status") or {}).get(name) or {})
    return causes


# --- LimitRanges ----------------------------------------------------------------------------------

_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def validate_limit_range(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    seen: set[str] = set()
    for index, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", limit.get("type", "")
        if problem := checks.qualified_problem(kind):
            causes.extend(field_invalid(f"{path}.type", kind, part) for part in problem.split("; "))
        elif "/" not in kind and kind not in ("Container", "PersistentVolumeClaim", "Pod"):
            detail = "must be a standard limit type or fully qualified"
            causes.append(field_invalid(f"{path}.type", kind, detail))
        if kind in seen:
            causes.append(field_duplicate(f"{path}.type", kind))
        seen.add(kind)
        _limit(causes, path, limit, kind)
    return causes


def _limit(causes: Causes, path: str, limit: Obj, kind: str) -> None:
    name_check = quantities.container_name if kind in ("Container", "Pod") else quantities.name
    found = {field: limit.get(field) or {} for field in _FIELDS}
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if found[field]:
                causes.append(field_forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
            found[field] = {}
    if kind == "PersistentVolumeClaim" and not any("storage" in found[field] for field in ("min", "max")):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        causes.append(field_required(f"{path}.limits", detail))
    for field, amounts in found.items():
        for name in amounts:
            name_check(causes, f"{path}.{field}[{name}]", name)
    for name in sorted({name for amounts in found.values() for name in amounts}):
        _compare(causes, path, name, {field: amounts.get(name) for field, amounts in found.items()})


# what may not be greater than what; whose value is shown where
_ORDER = (
    ("min", "max", "min", "min", "min value {0} is greater than max value {1}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {0} is greater than default request value {1}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than max value {1}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {0} is greater than default limit value {1}",
    ),
    ("min", "default", "default", "min", "min value {0} is greater than default value {1}"),
    ("default", "max", "default", "max", "default value {0} is greater than max value {1}"),
)


def _compare(causes: Causes, path: str, name: str, amounts: dict[str, str | None]) -> None:
    for low, high, where, shown, words in _ORDER:
        less, more = amounts[low], amounts[high]
        if less is not None and more is not None and checks.nanos(less) > checks.nanos(more):
            causes.append(field_invalid(f"{path}.{where}[{name}]", amounts[shown], words.format(less, more)))
    ratio, here = amounts["maxLimitRequestRatio"], f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None:
        if checks.nanos(ratio) < quantity.NANO:
            causes.append(field_invalid(here, ratio, f"ratio {ratio} is less than 1"))
        least, most = amounts["min"], amounts["max"]
        if least is not None and most is not None and checks.nanos(least):
            limit = checks.nanos(most) / checks.nanos(least)
            if checks.nanos(ratio) / quantity.NANO > limit:
                causes.append(field_invalid(here, ratio, f"ratio {ratio} is greater than max/min = {limit:f}"))
    default, request = amounts["default"], amounts["defaultRequest"]
    if default is None or request is None or quantities.may_overcommit(name):
        return
    if checks.nanos(default) != checks.nanos(request):
        detail = f"default value {default} must equal to defaultRequest value {request} in {name}"
        causes.append(field_invalid(f"{path}.defaultRequest[{name}]", request, detail))
