"""Group events.k8s.io, v1: the core Events under newer names."""

from __future__ import annotations

from vapi.resources import core, event_conversion
from vapi.resources.resource import Resource
from vapi.resources.rows import kind

V1 = ("events.k8s.io", "v1")

_FIELD_LABELS = {
    **{f"regarding.{name}": f"involvedObject.{name}" for name in core.INVOLVED},
    "reportingController": "reportingComponent",
    "reason": "reason",
    "type": "type",
}

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "events",
        "Event",
        stored=core.EVENT,
        field_labels=_FIELD_LABELS,
        short_names=("ev",),
        update_creates=True,
        ttl_s=core.EVENT_TTL_S,
        to_stored=event_conversion.to_core,
        from_stored=event_conversion.from_core,
    ),
)
