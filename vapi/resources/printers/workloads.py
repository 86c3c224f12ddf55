"""Cells of the kinds that make pods. Source: pkg/printers/internalversion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import text


def _template_spec(obj: Obj) -> Any:
    return text.part(obj, "spec", "template", "spec")


def replica_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    """ReplicaSet."""
    return [
        *_counts(obj, now),
        *text.containers(_template_spec(obj)),
        text.selector(text.part(obj, "spec", "selector")),
    ]


def controller_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    """ReplicationController: its selector is a plain label set."""
    selector = text.part(obj, "spec").get("selector")
    return [*_counts(obj, now), *text.containers(_template_spec(obj)), text.label_set(selector)]


def _counts(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    counts = (spec.get("replicas"), status.get("replicas"), status.get("readyReplicas"))
    return [text.name(obj), *(count or 0 for count in counts), text.age(obj, now)]


def deployment_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    return [
        text.name(obj),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        text.age(obj, now),
        *text.containers(_template_spec(obj)),
        text.selector_text(spec.get("selector")),
    ]


def stateful_set_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    ready = f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}"
    return [text.name(obj), ready, text.age(obj, now), *text.containers(_template_spec(obj))]


_DAEMON_COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
)


def daemon_set_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    status, pod_spec = text.part(obj, "status"), _template_spec(obj)
    return [
        text.name(obj),
        *(status.get(count) or 0 for count in _DAEMON_COUNTS),
        text.label_set(pod_spec.get("nodeSelector")),
        text.age(obj, now),
        *text.containers(pod_spec),
        text.selector(text.part(obj, "spec").get("selector")),
    ]


# The first of these conditions that is True is the status.
_JOB_ENDED = ("Complete", "Failed")
_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def job_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [
        text.name(obj),
        _job_status(obj),
        _job_completions(obj),
        _job_duration(text.part(obj, "status"), now),
        text.age(obj, now),
        *text.containers(_template_spec(obj)),
        text.selector(text.part(obj, "spec").get("selector")),
    ]


def _job_status(obj: Obj) -> str:
    conditions = text.part(obj, "status").get("conditions")
    for kind in _JOB_ENDED:
        if text.condition_status(conditions, kind) == "True":
            return kind
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next((kind for kind in _JOB_STATES if text.condition_status(conditions, kind) == "True"), "Running")


def _job_completions(obj: Obj) -> str:
    spec, succeeded = text.part(obj, "spec"), text.part(obj, "status").get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Mapping[str, Any], now: dt.datetime) -> str:
    start = text.parse_time(status.get("startTime"))
    if start is None:
        return ""
    end = text.parse_time(status.get("completionTime")) or now
    return text.human_duration((end - start).total_seconds())


def cron_job_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    job_spec = text.part(spec, "jobTemplate", "spec")
    last = status.get("lastScheduleTime")
    return [
        text.name(obj),
        spec.get("schedule") or "",
        text.optional(spec.get("timeZone"), text.NONE),
        text.optional_bool(spec.get("suspend")),
        len(status.get("active") or ()),
        text.since(last, now) if last else text.NONE,
        text.age(obj, now),
        *text.containers(text.part(job_spec, "template", "spec")),
        text.selector(job_spec.get("selector")),
    ]


def pod_template_cells(obj: Obj, _now: dt.datetime) -> list[Any]:
    template = text.part(obj, "template")
    labels = text.label_set(text.part(template, "metadata").get("labels"))
    return [text.name(obj), *text.containers(text.part(template, "spec")), labels]


def controller_revision_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    references = obj["metadata"].get("ownerReferences") or ()
    owner = next((reference for reference in references if reference.get("controller")), None)
    shown = text.NONE
    if owner is not None:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = owner.get("kind", "").lower()
        shown = f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"
    return [text.name(obj), shown, obj.get("revision") or 0, text.age(obj, now)]


def disruption_budget_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    return [
        text.name(obj),
        text.optional(spec.get("minAvailable"), "N/A"),
        text.optional(spec.get("maxUnavailable"), "N/A"),
        text.part(obj, "status").get("disruptionsAllowed") or 0,
        text.age(obj, now),
    ]


def scale_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    return [text.name(obj), spec.get("replicas") or 0, status.get("replicas") or 0, text.age(obj, now)]


def autoscaler_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    """HorizontalPodAutoscaler, in the stored version v2."""
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    target = text.part(spec, "scaleTargetRef")
    return [
        text.name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        text.optional(spec.get("minReplicas")),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        text.age(obj, now),
    ]


# Metric type → key of its source, and whether the text opens with the resource's name.
_METRIC_SOURCES = {
    "External": ("external", False),
    "Pods": ("pods", False),
    "Object": ("object", False),
    "Resource": ("resource", True),
    "ContainerResource": ("containerResource", True),
}


def _metrics(specs: Any, statuses: Any) -> str:
    if not specs:
        return text.NONE
    shown = [_metric(spec, statuses[i] if i < len(statuses) else {}) for i, spec in enumerate(specs)]
    return text.shortened(shown, limit=2, separator=", ")


def _metric(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    if spec.get("type") not in _METRIC_SOURCES:
        return "<unknown type>"
    key, named = _METRIC_SOURCES[spec["type"]]
    source = text.part(spec, key)
    target, current = text.part(source, "target"), text.part(status, key, "current")
    average = target.get("averageValue")
    if named:
        if average is not None:
            shown = f"{text.optional(current.get('averageValue'), text.UNKNOWN)}/{average}"
        else:
            shown = f"{_percent(current, text.UNKNOWN)}/{_percent(target, '<auto>')}"
        return f"{source.get('name', '')}: {shown}"
    if average is not None:
        suffix = "" if key == "pods" else " (avg)"
        return f"{text.optional(current.get('averageValue'), text.UNKNOWN)}/{average}{suffix}"
    return f"{text.optional(current.get('value'), text.UNKNOWN)}/{text.optional(target.get('value'), '0')}"


def _percent(values: Mapping[str, Any], unset: str) -> str:
    found = values.get("averageUtilization")
    return unset if found is None else f"{found}%"
