"""Group batch, v1."""

from __future__ import annotations

from vapi.resources import fields
from vapi.resources.resource import Propagation, Resource
from vapi.resources.rows import STATUS, kind

V1 = ("batch", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "cronjobs",
        "CronJob",
        short_names=("cj",),
        categories=("all",),
        subresources=STATUS,
        has_generation=True,
    ),
    kind(
        V1,
        "jobs",
        "Job",
        categories=("all",),
        subresources=STATUS,
        fields={"status.successful": fields.number("status.succeeded")},
        has_generation=True,
        default_propagation=Propagation.ORPHAN,
    ),
)
