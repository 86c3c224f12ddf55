"""Group admissionregistration.k8s.io, v1."""

from __future__ import annotations

from typing import Any

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("admissionregistration.k8s.io", "v1")


def _row(plural: str, name: str, unused: str, **more: Any) -> Resource:
    return kind(
        V1,
        plural,
        name,
        namespaced=False,
        categories=("api-extensions",),
        has_generation=True,
        update_needs_version=True,
        not_acted_on=unused,
        **more,
    )


_POLICIES = "admission policies are stored but not evaluated yet"
_WEBHOOKS = "admission webhooks are stored but not called yet"

ROWS: tuple[Resource, ...] = (
    _row("mutatingadmissionpolicies", "MutatingAdmissionPolicy", _POLICIES),
    _row("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", _POLICIES),
    _row("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", _WEBHOOKS),
    _row("validatingadmissionpolicies", "ValidatingAdmissionPolicy", _POLICIES, subresources=STATUS),
    _row("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", _POLICIES),
    _row("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", _WEBHOOKS),
)
