"""Rules of node.k8s.io: RuntimeClasses. Source: pkg/apis/node/validation (1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vapi.errors import Cause
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import resources, scheduling, warnings
from vapi.resources.strategy import Strategy

_SAME = ("key", "operator", "value", "effect")


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    if checks.required(causes, "handler", obj.get("handler")):
        checks.dns_label(causes, "handler", obj["handler"])
    if obj.get("overhead") is not None:
        resources.requirements(causes, "overhead", {"limits": obj["overhead"].get("podFixed")})
    wanted = obj.get("scheduling") or {}
    checks.labels(causes, "scheduling.nodeSelector", wanted.get("nodeSelector"))
    tolerations = wanted.get("tolerations") or ()
    scheduling.tolerations(causes, "scheduling.tolerations", tolerations)
    seen: set[tuple[Any, ...]] = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(part, "") for part in _SAME)
        if key in seen:
            causes.append(godump.duplicate(f"scheduling.tolerations[{index}]", "core.Toleration", toleration))
        seen.add(key)
    return checks.generated_last(causes, "handler: ")


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.unchanging(causes, "handler", new.get("handler"), old.get("handler"))
    return causes


def _warnings(obj: Obj, _old: Obj | None) -> Sequence[str]:
    selector = (obj.get("scheduling") or {}).get("nodeSelector") or {}
    return [f"scheduling.nodeSelector: {said}" for key in selector if (said := warnings.of_node_label(key))]


STRATEGIES: Mapping[str, Strategy] = {
    "runtimeclasses": Strategy(validate=validate, validate_update=validate_update, warnings=_warnings),
}
