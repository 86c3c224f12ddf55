"""Mirrors: classes and volumes that show the host's are the host's; a client that changes or deletes one is told so.

Not of Kubernetes. The syncer would put all of it back; refused at once is clearer. Nodes are not among them: cordons
and taints go through with a warning, as tests and people expect of a cluster.
"""

from __future__ import annotations

from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation
from vapi.registry.plugins.refusal import refuse
from vapi.resources.strategies.mirrors import MIRROR

PROTECTED = frozenset(
    {
        ("", "persistentvolumes"),
        ("", "persistentvolumes/status"),
        ("networking.k8s.io", "ingressclasses"),
        ("node.k8s.io", "runtimeclasses"),
        ("scheduling.k8s.io", "priorityclasses"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "volumeattributesclasses"),
    }
)


def protection() -> AdmissionPlugin:
    def validate(request: AdmissionRequest) -> None:
        if request.caller.in_process:
            return
        if _is_mirror(request.old):
            raise refuse(request, "it shows an object of the host, and can be changed only there")
        if _is_mirror(request.obj):
            raise refuse(request, f"the label {MIRROR} is for what shows an object of the host")

    return AdmissionPlugin(
        "MirrorProtection",
        frozenset({Operation.CREATE, Operation.UPDATE, Operation.DELETE}),
        PROTECTED,
        validate=validate,
    )


def _is_mirror(obj: Obj | None) -> bool:
    return obj is not None and MIRROR in (obj["metadata"].get("labels") or {})
