"""Rules of policy: PodDisruptionBudgets. Source: pkg/apis/policy/validation (1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi.errors import Cause
from vapi.gvk import Obj
from vapi.resources.strategies import checks, conditions, godump, templates
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        detail = "minAvailable and maxUnavailable cannot be both set"
        causes.append(godump.invalid("spec", "policy.PodDisruptionBudgetSpec", spec, detail))
    for key, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is not None:
            templates.int_or_percent(causes, f"spec.{key}", value)
            templates.at_most_all(causes, f"spec.{key}", value)
    checks.label_selector(causes, "spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    checks.one_of(causes, "spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES)
    return causes


def _status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = new.get("status") or {}
    conditions.validate(causes, "status.conditions", status.get("conditions") or ())
    templates.counts(causes, status, _COUNTS)
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "poddisruptionbudgets": Strategy(validate=validate, validate_subresource=on_status(_status)),
}
