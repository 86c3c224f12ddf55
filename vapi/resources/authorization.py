"""Group authorization.k8s.io, v1: reviews, answered and never stored."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import review

V1 = ("authorization.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    review(V1, "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True),
    review(V1, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    review(V1, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    review(V1, "subjectaccessreviews", "SubjectAccessReview"),
)
