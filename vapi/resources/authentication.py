"""Group authentication.k8s.io, v1: reviews, answered and never stored."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import review

V1 = ("authentication.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    review(V1, "selfsubjectreviews", "SelfSubjectReview"),
    review(V1, "tokenreviews", "TokenReview"),
)
