"""core/v1 Event ↔ events.k8s.io/v1 Event: the same object under two sets of names.

Source: pkg/apis/core/v1 and events/v1 conversion.go. Conversions are pure; parts are shared with the input.
"""

from __future__ import annotations

from typing import Any

from vapi.gvk import Obj

# core name → (events.k8s.io name, core's value when unset, events.k8s.io's value when unset); _OMIT: left out
_OMIT: Any = object()

_FIELDS: tuple[tuple[str, str, Any, Any], ...] = (
    ("involvedObject", "regarding", {}, {}),
    ("message", "note", _OMIT, _OMIT),
    ("source", "deprecatedSource", {}, {}),
    ("firstTimestamp", "deprecatedFirstTimestamp", None, None),
    ("lastTimestamp", "deprecatedLastTimestamp", None, None),
    ("count", "deprecatedCount", _OMIT, _OMIT),
    ("reportingComponent", "reportingController", "", _OMIT),
    ("reportingInstance", "reportingInstance", "", _OMIT),
    ("eventTime", "eventTime", None, None),
    ("reason", "reason", _OMIT, _OMIT),
    ("type", "type", _OMIT, _OMIT),
    ("action", "action", _OMIT, _OMIT),
    ("related", "related", _OMIT, _OMIT),
    ("series", "series", _OMIT, _OMIT),
)

_TO_CORE = tuple((new, core, unset) for core, new, unset, _ in _FIELDS)
_FROM_CORE = tuple((core, new, unset) for core, new, _, unset in _FIELDS)


def to_core(event: Obj) -> Obj:
    return _renamed(event, "v1", _TO_CORE)


def from_core(event: Obj) -> Obj:
    return _renamed(event, "events.k8s.io/v1", _FROM_CORE)


def _renamed(event: Obj, api_version: str, names: tuple[tuple[str, str, Any], ...]) -> Obj:
    answer: Obj = {"apiVersion": api_version, "kind": "Event", "metadata": event.get("metadata") or {}}
    for source, target, unset in names:
        value = event.get(source) or unset
        if value is not _OMIT:
            answer[target] = value
    return answer
