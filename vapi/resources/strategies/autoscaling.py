"""Rules of autoscaling: HorizontalPodAutoscalers, looked at as autoscaling/v2 has them.

Source: pkg/apis/autoscaling/validation, pkg/registry/autoscaling (1.37).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vapi import names
from vapi.errors import Cause, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources import autoscaling_conversion
from vapi.resources.strategies import checks, quantities
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_MAX_PERIOD_S, _MAX_WINDOW_S = 1800, 3600
_SELECT = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_TARGETS = ("Utilization", "Value", "AverageValue")


def _newest(obj: Obj) -> Obj:
    return autoscaling_conversion.v1_to_v2(obj) if obj["apiVersion"] == "autoscaling/v1" else obj


def validate(obj: Obj) -> Sequence[Cause]:
    """The API version of what is scaled is looked at on create alone (`validate_new_target`)."""
    causes: Causes = []
    spec = _newest(obj).get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    checks.not_negative(causes, "spec.minReplicas", least)
    if checks.required(causes, "spec.maxReplicas", most) and most < 0:
        causes.append(field_invalid("spec.maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        causes.append(field_invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    _reference(causes, "spec.scaleTargetRef", target)
    if not obj["metadata"].get("resourceVersion"):
        _version(causes, "spec.scaleTargetRef", target, ungrouped=target.get("kind") == "ReplicationController")
    _metrics(causes, "spec.metrics", spec.get("metrics") or (), least)
    for direction in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(direction)
        if rules is not None:
            _rules(causes, f"spec.behavior.{direction}", rules)
    return checks.generated_last(
        causes,
        r"spec\.minReplicas: ",
        r"spec\.maxReplicas: (Required|Invalid value: -\d+: must be greater than or equal to 1$)",
    )


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    target = (_newest(new).get("spec") or {}).get("scaleTargetRef") or {}
    before = (_newest(old).get("spec") or {}).get("scaleTargetRef") or {}
    if any(target.get(key) != before.get(key) for key in ("apiVersion", "kind")):
        _version(causes, "spec.scaleTargetRef", target, ungrouped=target.get("kind") == "ReplicationController")
    return causes


def _reference(causes: Causes, path: str, ref: Obj) -> None:
    for key in ("kind", "name"):
        if checks.required(causes, f"{path}.{key}", ref.get(key)):
            checks.text(causes, f"{path}.{key}", ref[key], names.path_segment(ref[key]))


def _version(causes: Causes, path: str, ref: Obj, *, ungrouped: bool) -> None:
    version = ref.get("apiVersion", "")
    if version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {version}"
    elif not ungrouped and not version.rpartition("/")[0]:
        detail = "apiVersion must specify API group"
    else:
        return
    causes.append(field_invalid(f"{path}.apiVersion", version, detail))


# --- metrics --------------------------------------------------------------------------------------


def _metrics(causes: Causes, path: str, metrics: Sequence[Obj], least: int | None) -> None:
    for index, metric in enumerate(metrics):
        _metric(causes, f"{path}[{index}]", metric)
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        causes.append(field_forbidden(path, detail))


def _metric(causes: Causes, path: str, metric: Obj) -> None:
    kind = metric.get("type", "")
    if not kind:
        causes.append(field_required(f"{path}.type", "must specify a metric source type"))
    if kind not in _KINDS:
        causes.append(field_not_supported(f"{path}.type", kind, sorted(_KINDS)))
    there = [source for source in _SOURCES if metric.get(source) is not None]
    if there:
        _SOURCES[there[0]](causes, f"{path}.{there[0]}", metric[there[0]])
    expected = _KINDS.get(kind, "")
    if not expected:
        causes.append(field_not_supported(f"{path}.type", kind, sorted(_KINDS)))
    elif expected not in there:
        detail = "must populate information for the given metric source"
        causes.append(field_required(f"{path}.{expected}", detail))
    if len(there) != 1:
        causes.extend(
            field_forbidden(f"{path}.{source}", "must populate the given metric source only")
            for source in there
            if source != expected
        )


def _object(causes: Causes, path: str, source: Obj) -> None:
    described = source.get("describedObject") or {}
    _reference(causes, f"{path}.describedObject", described)
    _version(causes, f"{path}.describedObject", described, ungrouped=True)
    target = _named_target(causes, path, source)
    if target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value or averageValue"
        causes.append(field_required(f"{path}.target.averageValue", detail))


def _external(causes: Causes, path: str, source: Obj) -> None:
    target = _named_target(causes, path, source)
    whole, each = target.get("value"), target.get("averageValue")
    if whole is None and each is None:
        detail = "must set either a target value for metric or a per-pod target"
        causes.append(field_required(f"{path}.target.averageValue", detail))
    if whole is not None and each is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        causes.append(field_forbidden(f"{path}.target.value", detail))


def _pods(causes: Causes, path: str, source: Obj) -> None:
    target = _named_target(causes, path, source)
    if target.get("averageValue") is None:
        causes.append(field_required(f"{path}.target.averageValue", "must specify a positive target averageValue"))


def _container_resource(causes: Causes, path: str, source: Obj) -> None:
    name, container = source.get("name", ""), source.get("container", "")
    if checks.required(causes, f"{path}.name", name, "must specify a resource name"):
        quantities.container_name(causes, f"{path}.name", name)
    if checks.required(causes, f"{path}.container", container, "must specify a container"):
        checks.dns_label(causes, f"{path}.container", container)
    _resource_target(causes, path, source)


def _resource(causes: Causes, path: str, source: Obj) -> None:
    checks.required(causes, f"{path}.name", source.get("name"), "must specify a resource name")
    _resource_target(causes, path, source)


def _resource_target(causes: Causes, path: str, source: Obj) -> None:
    target = source.get("target") or {}
    _target(causes, f"{path}.target", target)
    used, raw = target.get("averageUtilization"), target.get("averageValue")
    if used is None and raw is None:
        detail = "must set either a target raw value or a target utilization"
        causes.append(field_required(f"{path}.target.averageUtilization", detail))
    if used is not None and raw is not None:
        detail = "may not set both a target raw value and a target utilization"
        causes.append(field_forbidden(f"{path}.target.averageValue", detail))


def _named_target(causes: Causes, path: str, source: Obj) -> Obj:
    name = (source.get("metric") or {}).get("name", "")
    if checks.required(causes, f"{path}.metric.name", name, "must specify a metric name"):
        checks.text(causes, f"{path}.metric.name", name, names.path_segment(name))
    target: Obj = source.get("target") or {}
    _target(causes, f"{path}.target", target)
    return target


def _target(causes: Causes, path: str, target: Obj) -> None:
    kind = target.get("type", "")
    if not kind:
        causes.append(field_required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        causes.append(field_invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for key in ("value", "averageValue"):
        amount = target.get(key)
        if amount is not None and checks.nanos(amount) <= 0:
            causes.append(field_invalid(f"{path}.{key}", amount, "must be positive"))
    used = target.get("averageUtilization")
    if used is not None and used < 1:
        causes.append(field_invalid(f"{path}.averageUtilization", used, "must be greater than 0"))


_SOURCES: Mapping[str, Callable[[Causes, str, Obj], None]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
_KINDS = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "External": "external",
    "ContainerResource": "containerResource",
}


# --- behavior -------------------------------------------------------------------------------------


def _rules(causes: Causes, path: str, rules: Obj) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        detail = "must be greater than or equal to zero"
        causes.append(field_invalid(f"{path}.stabilizationWindowSeconds", window, detail))
    if window is not None and window > _MAX_WINDOW_S:
        detail = f"must be less than or equal to {_MAX_WINDOW_S}"
        causes.append(field_invalid(f"{path}.stabilizationWindowSeconds", window, detail))
    checks.one_of(causes, f"{path}.selectPolicy", rules.get("selectPolicy"), _SELECT)
    policies = rules.get("policies") or ()
    checks.required(causes, f"{path}.policies", policies, "must specify at least one Policy")
    for index, policy in enumerate(policies):
        _policy(causes, f"{path}.policies[{index}]", policy)
    if rules.get("tolerance") is not None:
        quantities.not_negative(causes, f"{path}.tolerance", rules["tolerance"])


def _policy(causes: Causes, path: str, policy: Obj) -> None:
    checks.one_of(causes, f"{path}.type", policy.get("type", ""), _POLICIES)
    checks.positive(causes, f"{path}.value", policy.get("value", 0))
    period = policy.get("periodSeconds", 0)
    checks.positive(causes, f"{path}.periodSeconds", period)
    if period > _MAX_PERIOD_S:
        detail = f"must be less than or equal to {_MAX_PERIOD_S}"
        causes.append(field_invalid(f"{path}.periodSeconds", period, detail))


def _status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = _newest(new).get("status") or {}
    for index, condition in enumerate(status.get("conditions") or ()):
        path = f"status.conditions[{index}].observedGeneration"
        checks.not_negative(causes, path, condition.get("observedGeneration"))
    for key in ("currentReplicas", "desiredReplicas"):
        checks.not_negative(causes, f"status.{key}", status.get(key))
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "horizontalpodautoscalers": Strategy(
        validate=validate, validate_update=validate_update, validate_subresource=on_status(_status)
    ),
}
