"""Conditions as metav1.Condition has them. Source: k8s.io/apimachinery pkg/apis/meta/v1/validation (1.37)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vapi.errors import field_duplicate, field_invalid, field_not_supported, field_required, field_too_long
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

STATUSES = ("False", "True", "Unknown")
_MAX_REASON, _MAX_MESSAGE = 1024, 32 * 1024
_reason = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?").fullmatch
_REASON = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
)


def validate(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(listed):
        kind = condition.get("type", "")
        if kind in seen:
            causes.append(field_duplicate(f"{path}[{index}]", kind))
        seen.add(kind)
        _one(causes, f"{path}[{index}]", condition)


def _one(causes: Causes, path: str, condition: Obj) -> None:
    if checks.required(causes, f"{path}.type", condition.get("type")):
        checks.qualified(causes, f"{path}.type", condition["type"])
    checks.required_one_of(causes, f"{path}.status", condition.get("status"), STATUSES)
    if condition.get("observedGeneration", 0) < 0:
        detail = "must be greater than or equal to zero"
        causes.append(field_invalid(f"{path}.observedGeneration", condition["observedGeneration"], detail))
    checks.required(causes, f"{path}.lastTransitionTime", condition.get("lastTransitionTime"))
    reason = condition.get("reason", "")
    if checks.required(causes, f"{path}.reason", reason):
        checks.text(causes, f"{path}.reason", reason, "" if _reason(reason) else _REASON)
        if len(reason.encode()) > _MAX_REASON:
            causes.append(field_too_long(f"{path}.reason", _MAX_REASON))
    if len(condition.get("message", "").encode()) > _MAX_MESSAGE:
        causes.append(field_too_long(f"{path}.message", _MAX_MESSAGE))


def statuses(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    """Of kinds that have conditions of their own."""
    for index, condition in enumerate(listed):
        if condition.get("status") not in STATUSES:
            causes.append(
                field_not_supported(
                    f"{path}[{index}].status", condition.get("status", ""), ("True", "False", "Unknown")
                )
            )


def decided(causes: Causes, path: str, condition: Obj) -> None:
    """The type of a condition is there."""
    if not condition.get("type"):
        causes.append(field_required(f"{path}.type"))
