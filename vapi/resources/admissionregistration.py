"""Group admissionregistration.k8s.io, v1."""

from __future__ import annotations

from typing import Any

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("admissionregistration.k8s.io", "v1")


def _row(plural: str, name: str, **more: Any) -> Resource:
    return kind(
        V1,
        plural,
        name,
        namespaced=False,
        categories=("api-extensions",),
        has_generation=True,
        update_needs_version=True,
        **more,
    )


ROWS: tuple[Resource, ...] = (
    _row("mutatingadmissionpolicies", "MutatingAdmissionPolicy"),
    _row("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"),
    _row("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    _row("validatingadmissionpolicies", "ValidatingAdmissionPolicy", subresources=STATUS),
    _row("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    _row("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
)
