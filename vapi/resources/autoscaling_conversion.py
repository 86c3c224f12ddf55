"""HorizontalPodAutoscaler autoscaling/v1 ↔ autoscaling/v2.

v1 knows one metric, the CPU target; what it has no field for travels in four
annotations, so that a client of v1 that writes back what it read loses nothing.
Source: pkg/apis/autoscaling/v1/conversion.go. Conversions are pure; parts are shared with the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vapi import encoding
from vapi.gvk import Obj

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = frozenset({_METRICS, _CURRENT_METRICS, _CONDITIONS, _BEHAVIOR})

# One metric source: v1 name → path in v2, by the key under which the source stands.
_SPEC_PATHS: dict[str, dict[str, str]] = {
    "object": {
        "target": "describedObject",
        "metricName": "metric.name",
        "selector": "metric.selector",
        "targetValue": "target.value",
        "averageValue": "target.averageValue",
    },
    "pods": {
        "metricName": "metric.name",
        "selector": "metric.selector",
        "targetAverageValue": "target.averageValue",
    },
    "resource": {
        "name": "name",
        "targetAverageUtilization": "target.averageUtilization",
        "targetAverageValue": "target.averageValue",
    },
    "containerResource": {
        "name": "name",
        "container": "container",
        "targetAverageUtilization": "target.averageUtilization",
        "targetAverageValue": "target.averageValue",
    },
    "external": {
        "metricName": "metric.name",
        "metricSelector": "metric.selector",
        "targetValue": "target.value",
        "targetAverageValue": "target.averageValue",
    },
}
_STATUS_PATHS: dict[str, dict[str, str]] = {
    "object": {
        "target": "describedObject",
        "metricName": "metric.name",
        "selector": "metric.selector",
        "currentValue": "current.value",
        "averageValue": "current.averageValue",
    },
    "pods": {
        "metricName": "metric.name",
        "selector": "metric.selector",
        "currentAverageValue": "current.averageValue",
    },
    "resource": {
        "name": "name",
        "currentAverageUtilization": "current.averageUtilization",
        "currentAverageValue": "current.averageValue",
    },
    "containerResource": {
        "name": "name",
        "container": "container",
        "currentAverageUtilization": "current.averageUtilization",
        "currentAverageValue": "current.averageValue",
    },
    "external": {
        "metricName": "metric.name",
        "metricSelector": "metric.selector",
        "currentValue": "current.value",
        "currentAverageValue": "current.averageValue",
    },
}
_TARGET_TYPES = (("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value"))


def v2_to_v1(obj: Obj) -> Obj:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metrics = spec.get("metrics") or ()
    others = [metric for metric in metrics if _cpu_target(metric) is None]
    carried = {
        _METRICS: [_metric(metric, _SPEC_PATHS, _flatten) for metric in others],
        _CURRENT_METRICS: [_metric(m, _STATUS_PATHS, _flatten) for m in status.get("currentMetrics") or ()],
        _CONDITIONS: status.get("conditions"),
        _BEHAVIOR: spec.get("behavior"),
    }
    new_spec = _without(spec, "metrics", "behavior")
    targets = [target for metric in metrics if (target := _cpu_target(metric)) is not None]
    if targets:
        new_spec["targetCPUUtilizationPercentage"] = targets[-1]
    new_status = {"currentReplicas": 0, **_without(status, "currentMetrics", "conditions")}
    usage = _cpu_usage(status.get("currentMetrics") or ())
    if usage is not None:
        new_status["currentCPUUtilizationPercentage"] = usage
    annotations = {key: encoding.dumps(value).decode() for key, value in carried.items() if value}
    metadata = _with_annotations(obj.get("metadata") or {}, annotations)
    return _hpa("autoscaling/v1", metadata, new_spec, new_status)


def v1_to_v2(obj: Obj) -> Obj:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    metadata = obj.get("metadata") or {}
    carried = {key: _decoded(text) for key, text in (metadata.get("annotations") or {}).items() if key in _ANNOTATIONS}
    new_spec = _without(spec, "targetCPUUtilizationPercentage")
    metrics = [_metric(metric, _SPEC_PATHS, _unflatten) for metric in _maps(carried.get(_METRICS))]
    target = spec.get("targetCPUUtilizationPercentage")
    if target is not None:
        aim = {"type": "Utilization", "averageUtilization": target}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": aim}})
    if metrics:
        new_spec["metrics"] = metrics
    if isinstance(carried.get(_BEHAVIOR), dict):
        new_spec["behavior"] = carried[_BEHAVIOR]
    new_status = _without(status, "currentCPUUtilizationPercentage")
    if not new_status.get("currentReplicas"):
        new_status.pop("currentReplicas", None)
    current = [_metric(metric, _STATUS_PATHS, _unflatten) for metric in _maps(carried.get(_CURRENT_METRICS))]
    usage = status.get("currentCPUUtilizationPercentage")
    if usage is not None and not current:
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": usage}}}]
    new_status["currentMetrics"] = current or None
    conditions = list(_maps(carried.get(_CONDITIONS)))
    if conditions:
        new_status["conditions"] = conditions
    return _hpa("autoscaling/v2", _with_annotations(metadata, {}), new_spec, new_status)


def _hpa(api_version: str, metadata: Obj, spec: Obj, status: Obj) -> Obj:
    return {
        "apiVersion": api_version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def _cpu_target(metric: Obj) -> int | None:
    """The utilization v1 has a field for; None: another metric, which goes into the annotation."""
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    target: int | None = (resource.get("target") or {}).get("averageUtilization")
    return target


def _cpu_usage(metrics: Iterable[Obj]) -> int | None:
    usage: int | None = None
    for metric in metrics:
        resource = metric.get("resource") or {}
        found = (resource.get("current") or {}).get("averageUtilization")
        if metric.get("type") == "Resource" and resource.get("name") == "cpu" and found is not None:
            usage = found
    return usage


def _metric(metric: Obj, paths: dict[str, dict[str, str]], change: Callable[[Obj, dict[str, str]], Obj]) -> Obj:
    changed = {key: change(metric[key], table) for key, table in paths.items() if isinstance(metric.get(key), dict)}
    return {"type": metric.get("type", ""), **changed}


def _flatten(source: Obj, paths: dict[str, str]) -> Obj:
    flat: Obj = {}
    for name, path in paths.items():
        parent, _, key = path.rpartition(".")
        holder = (source.get(parent) or {}) if parent else source
        if holder.get(key) is not None:
            flat[name] = holder[key]
    return flat


def _unflatten(flat: Obj, paths: dict[str, str]) -> Obj:
    source: Obj = {}
    for name, path in paths.items():
        if flat.get(name) is not None:
            parent, _, key = path.rpartition(".")
            holder = source.setdefault(parent, {}) if parent else source
            holder[key] = flat[name]
    if "target" in source:
        kind = next((kind for key, kind in _TARGET_TYPES if key in source["target"]), "")
        source["target"] = {"type": kind, **source["target"]}
    return source


def _decoded(text: Any) -> Any:
    """What an annotation carries; None when it is no JSON: a client's own text is ignored, as upstream does."""
    try:
        return encoding.loads(text)
    except (ValueError, TypeError):
        return None


def _maps(value: Any) -> list[Obj]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _without(obj: Obj, *keys: str) -> Obj:
    return {key: value for key, value in obj.items() if key not in keys}


def _with_annotations(metadata: Obj, added: dict[str, str]) -> Obj:
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _ANNOTATIONS}
    annotations = kept | added
    return {**_without(metadata, "annotations"), **({"annotations": annotations} if annotations else {})}
