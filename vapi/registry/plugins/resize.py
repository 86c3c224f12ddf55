"""PersistentVolumeClaimResize: a claim grows only when it is bound and its class allows that."""

from __future__ import annotations

from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse
from vapi.schema import quantity

STORAGE_CLASSES = GVR("storage.k8s.io", "v1", "storageclasses")


def claim_resize(lookup: Lookup) -> AdmissionPlugin:
    expands: EntryMemo[bool] = EntryMemo(lambda obj: obj.get("allowVolumeExpansion") is True)

    def validate(request: AdmissionRequest) -> None:
        new, old = request.obj, request.old
        if new is None or old is None or _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise refuse(request, "Only bound persistent volume claims can be expanded")
        name = _class(new)
        entry = lookup.cached(STORAGE_CLASSES, "", name) if name and name == _class(old) else None
        if entry is None or not expands.of(entry):
            raise refuse(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                "must support resize",
            )

    return AdmissionPlugin(
        "PersistentVolumeClaimResize",
        frozenset({Operation.UPDATE}),
        frozenset({("", "persistentvolumeclaims")}),
        validate=validate,
    )


def _size(claim: Obj) -> int:
    """In billionths of a byte; 0 where none is asked for. Runs after validation: the quantity is one."""
    text = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    return quantity.parse(str(text)).nanos if text is not None else 0


def _class(claim: Obj) -> str:
    annotations = claim["metadata"].get("annotations") or {}
    return annotations.get("volume.beta.kubernetes.io/storage-class") or claim["spec"].get("storageClassName") or ""
