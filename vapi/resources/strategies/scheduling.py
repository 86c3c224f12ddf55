"""Rules of scheduling.k8s.io: PriorityClasses. Source: pkg/apis/scheduling/validation (1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi.errors import Cause, field_forbidden, field_not_supported
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

SYSTEM_PREFIX = "system-"
_SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_HIGHEST = 1_000_000_000  # of a class that a user makes
_POLICIES = ("PreemptLowerPriority", "Never")


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
    if name.startswith(SYSTEM_PREFIX):
        if refusal := _system_refusal(name, value):
            reserved = f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only"
            causes.append(field_forbidden("metadata.name", f"{reserved}. error: {refusal}"))
    elif value > _HIGHEST:
        causes.append(field_forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    policy = obj.get("preemptionPolicy")
    if policy is not None and policy not in _POLICIES:
        causes.append(field_not_supported("preemptionPolicy", policy, _POLICIES))
    return causes


def _system_refusal(name: str, value: int) -> str:
    if name not in _SYSTEM:
        return f"{name} is not a known system priority class"
    return "" if value == _SYSTEM[name] else f"value of {name} PriorityClass must be {_SYSTEM[name]}"


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    """A class keeps its value and policy: pods carry copies of both."""
    causes: Causes = []
    if new.get("value", 0) != old.get("value", 0):
        causes.append(field_forbidden("value", "may not be changed in an update."))
    checks.immutable(causes, "preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "priorityclasses": Strategy(validate=validate, validate_update=validate_update),
}
