"""Group policy, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("policy", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        short_names=("pdb",),
        subresources=STATUS,
        has_generation=True,
        update_needs_version=True,
    ),
)
