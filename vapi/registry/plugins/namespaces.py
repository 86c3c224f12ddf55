"""NamespaceLifecycle: nothing is created in a namespace that is missing or ending, and three of them never end.

The commit itself is guarded too (design §3, invariant 10); this comes first so
that a missing namespace is named before anything that is missing in it.
"""

from __future__ import annotations

from vapi import errors
from vapi.errors import Cause
from vapi.gvk import GVR
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.refusal import refuse

NAMESPACES = GVR("", "v1", "namespaces")
IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


def existence(lookup: Lookup) -> AdmissionPlugin:
    def mutate(request: AdmissionRequest) -> None:
        if not request.namespace or not request.row.namespaced:
            return
        entry = lookup.cached(NAMESPACES, "", request.namespace)
        if entry is None:
            raise errors.not_found(NAMESPACES, request.namespace)
        if entry.deleting:
            error = refuse(
                request,
                f"unable to create new content in namespace {request.namespace} because it is being terminated",
            )
            text = f"namespace {request.namespace} is being terminated"
            cause = Cause("NamespaceTerminating", text, "metadata.namespace")
            error.details = {**(error.details or {}), "causes": [cause.as_json()]}
            raise error

    return AdmissionPlugin("NamespaceLifecycle", frozenset({Operation.CREATE}), None, mutate=mutate)


def protection() -> AdmissionPlugin:
    def mutate(request: AdmissionRequest) -> None:
        if request.name in IMMORTAL:
            raise errors.forbidden(NAMESPACES, request.name, "this namespace may not be deleted")

    return AdmissionPlugin(
        "NamespaceLifecycle", frozenset({Operation.DELETE}), frozenset({("", "namespaces")}), mutate=mutate
    )
