"""Group autoscaling: v2, which is stored, and v1."""

from __future__ import annotations

from typing import Any

from vapi.gvk import GVK
from vapi.resources import autoscaling_conversion
from vapi.resources.resource import Resource, StoredKind
from vapi.resources.rows import STATUS, kind

_STORED = StoredKind(GVK("autoscaling", "v2", "HorizontalPodAutoscaler"), "horizontalpodautoscalers", namespaced=True)


def _row(version: str, **more: Any) -> Resource:
    return kind(
        ("autoscaling", version),
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        stored=_STORED,
        short_names=("hpa",),
        categories=("all",),
        subresources=STATUS,
        has_generation=True,
        **more,
    )


ROWS: tuple[Resource, ...] = (
    _row("v2"),
    _row("v1", to_stored=autoscaling_conversion.v1_to_v2, from_stored=autoscaling_conversion.v2_to_v1),
)
