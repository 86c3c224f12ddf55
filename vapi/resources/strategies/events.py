"""Events of both groups; events.k8s.io is strict with what it is given. Source: pkg/apis/core/validation/events.go."""

from __future__ import annotations

from collections.abc import Sequence

from vapi.errors import Cause, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

_MAX_INSTANCE, _MAX_ACTION, _MAX_REASON, _MAX_NOTE = 128, 128, 128, 1024
_OTHER_NAMESPACE = "does not match event.namespace"


def validate(obj: Obj) -> Sequence[Cause]:
    """core/v1."""
    causes: Causes = []
    _legacy(causes, obj, obj.get("involvedObject") or {}, "reportingComponent", obj.get("message", ""))
    return causes


def validate_strict(obj: Obj) -> Sequence[Cause]:
    """events.k8s.io/v1, new or changed."""
    causes: Causes = []
    _legacy(causes, obj, obj.get("regarding") or {}, "reportingController", obj.get("note", ""))
    if "resourceVersion" in obj["metadata"]:
        return causes
    series = obj.get("series")
    if series is not None:
        if series.get("count", 0) < 2:
            causes.append(field_invalid("series.count", "", "should be at least 2"))
        if not series.get("lastObservedTime"):
            causes.append(field_required("series.lastObservedTime"))
    if not obj.get("eventTime"):
        causes.append(field_required("eventTime"))
    if obj.get("type") not in ("Normal", "Warning"):
        causes.append(field_invalid("type", "", f"has invalid value: {obj.get('type', '')}"))
    for key, shown in _UNSET:
        if obj.get(key):
            causes.append(field_invalid(shown, "", "needs to be unset"))
    return causes


_UNSET = (
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("deprecatedSource", "source"),
)


def _legacy(causes: Causes, obj: Obj, about: Obj, reporter: str, message: str) -> None:
    namespace, other = obj["metadata"].get("namespace", ""), about.get("namespace", "")
    path = "involvedObject.namespace"
    if not obj.get("eventTime"):
        if other != namespace and (other or namespace != "default"):
            causes.append(field_invalid(path, other, _OTHER_NAMESPACE))
        return
    if not other and namespace not in ("default", "kube-system"):
        causes.append(field_invalid(path, other, _OTHER_NAMESPACE))
    name = obj.get(reporter, "")
    checks.required(causes, reporter, name)
    checks.qualified(causes, reporter, name)
    for key, value, most, needed in (
        ("reportingInstance", obj.get("reportingInstance", ""), _MAX_INSTANCE, True),
        ("action", obj.get("action", ""), _MAX_ACTION, True),
        ("reason", obj.get("reason", ""), _MAX_REASON, True),
        ("message", message, _MAX_NOTE, False),
    ):
        if needed:
            checks.required(causes, key, value)
        if len(value.encode()) > most:
            causes.append(field_invalid(key, "", f"can have at most {most} characters"))


_FIXED = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


_SHOWN_AS = {"regarding": "core.ObjectReference", "related": "*core.ObjectReference"}


def validate_strict_update(new: Obj, old: Obj) -> Sequence[Cause]:
    """Only the series goes on."""
    causes: Causes = []
    for key, shown in _FIXED:
        checks.immutable(causes, shown, new.get(key), old.get(key), _SHOWN_AS.get(key, ""))
    return causes
