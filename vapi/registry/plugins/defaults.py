"""What a new claim or Ingress is given (DefaultStorageClass, DefaultIngressClass, StorageObjectInUseProtection)."""

from __future__ import annotations

from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo

STORAGE_CLASSES = GVR("storage.k8s.io", "v1", "storageclasses")
INGRESS_CLASSES = GVR("networking.k8s.io", "v1", "ingressclasses")
_STORAGE_DEFAULT = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_INGRESS_DEFAULT = ("ingressclass.kubernetes.io/is-default-class",)
_CREATE = frozenset({Operation.CREATE})

PROTECTED = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}
"""The finalizer each gets; its controller takes it off."""


def default_storage_class(lookup: Lookup) -> AdmissionPlugin:
    newest = _NewestDefault(lookup, STORAGE_CLASSES, _STORAGE_DEFAULT)

    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        spec = request.obj["spec"]
        annotations = request.obj["metadata"].get("annotations") or {}
        if spec.get("storageClassName") is None and "volume.beta.kubernetes.io/storage-class" not in annotations:
            name = newest.name()
            if name:
                spec["storageClassName"] = name

    resources = frozenset({("", "persistentvolumeclaims")})
    return AdmissionPlugin("DefaultStorageClass", _CREATE, resources, mutate=mutate)


def default_ingress_class(lookup: Lookup) -> AdmissionPlugin:
    newest = _NewestDefault(lookup, INGRESS_CLASSES, _INGRESS_DEFAULT)

    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        spec = request.obj.setdefault("spec", {})
        annotations = request.obj["metadata"].get("annotations") or {}
        if spec.get("ingressClassName") is None and "kubernetes.io/ingress.class" not in annotations:
            name = newest.name()
            if name:
                spec["ingressClassName"] = name

    resources = frozenset({("networking.k8s.io", "ingresses")})
    return AdmissionPlugin("DefaultIngressClass", _CREATE, resources, mutate=mutate)


def storage_protection() -> AdmissionPlugin:
    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        finalizer = PROTECTED[request.row.gvr.group, request.row.gvr.resource]
        metadata = request.obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        if finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]

    return AdmissionPlugin("StorageObjectInUseProtection", _CREATE, frozenset(PROTECTED), mutate=mutate)


class _NewestDefault:
    """The class annotated as default; of several the newest, then the first by name."""

    def __init__(self, lookup: Lookup, gvr: GVR, annotations: tuple[str, ...]) -> None:
        self._lookup = lookup
        self._gvr = gvr
        self._annotations = annotations
        self._created: EntryMemo[str] = EntryMemo(self._when)

    def name(self) -> str:
        newest, since = "", ""
        for entry in self._lookup.entries(self._gvr):
            created = self._created.of(entry)
            if created > since:
                newest, since = entry.name, created
        return newest

    def _when(self, obj: Obj) -> str:
        """The creationTimestamp of a default class, "" of any other."""
        annotations = obj["metadata"].get("annotations") or {}
        if not any(annotations.get(key) == "true" for key in self._annotations):
            return ""
        created: str = obj["metadata"]["creationTimestamp"]
        return created
