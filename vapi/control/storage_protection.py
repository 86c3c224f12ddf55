"""pvc-, pv- and vac-protection controllers: what is in use outlives its deletion.

In use is a claim that a pod names, a volume bound to a claim, and a class of volume attributes that a claim or a
volume names. Admission puts the finalizers on (StorageObjectInUseProtection); here they come off, and on where they
are missing. Source: pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.informer import Name, sliced
from vapi.gvk import GVR, Obj

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


def claims_used(pod: Obj) -> tuple[str, ...]:
    """Names of the claims of a pod's volumes, ephemeral ones too; none before it is bound, as no kubelet knows it."""
    if not pod["spec"].get("nodeName"):
        return ()
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{pod['metadata']['name']}-{volume['name']}")
    return tuple(found)


def is_bound(volume: Obj) -> bool:
    return bool((volume.get("status") or {}).get("phase") == "Bound")


def classes_named(obj: Obj) -> tuple[str, ...]:
    """Of a claim: the class it has, the one it asks for and the one it is changing to. Of a volume: the one it has."""
    status = obj.get("status") or {}
    named = (
        obj["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return tuple(dict.fromkeys(name for name in named if name))


class ClaimProtectionController(Controller[Name]):
    """Keys are claims."""

    name = "persistentvolumeclaim-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._used = context.informers.facts(kinds.PODS, claims_used)

    def sources(self) -> Sources[Name]:
        return {kinds.CLAIMS: own_name, kinds.PODS: self._pod_changed}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.CLAIMS))

    def _pod_changed(self, change: Change) -> Iterable[Name]:
        """Only a pod that goes sets a claim free."""
        if change.type is not ChangeType.DELETED:
            return ()
        return [(change.entry.namespace, name) for name in claims_used(change.entry.obj())]

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.CLAIMS, *key)
        if entry is None:
            return
        if not entry.deleting:
            await _put_on(self, kinds.CLAIMS, entry, CLAIM_FINALIZER)
        elif CLAIM_FINALIZER in entry.finalizers and not await self._is_used(entry):
            await _take_off(self, kinds.CLAIMS, entry, CLAIM_FINALIZER)

    async def _is_used(self, claim: Entry) -> bool:
        async for pod in sliced(self.client.entries(kinds.PODS, claim.namespace)):
            if claim.name in self._used.of(pod):
                return True
        return False


class VolumeProtectionController(Controller[Name]):
    """Keys are volumes."""

    name = "persistentvolume-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._bound = context.informers.facts(kinds.VOLUMES, is_bound)

    def sources(self) -> Sources[Name]:
        return {kinds.VOLUMES: own_name}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.VOLUMES))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.VOLUMES, *key)
        if entry is None:
            return
        if not entry.deleting:
            await _put_on(self, kinds.VOLUMES, entry, VOLUME_FINALIZER)
        elif VOLUME_FINALIZER in entry.finalizers and not self._bound.of(entry):
            await _take_off(self, kinds.VOLUMES, entry, VOLUME_FINALIZER)


class AttributesClassProtectionController(Controller[Name]):
    """Keys are classes of volume attributes."""

    name = "volumeattributesclass-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._named = {gvr: context.informers.facts(gvr, classes_named) for gvr in (kinds.CLAIMS, kinds.VOLUMES)}

    def sources(self) -> Sources[Name]:
        return {
            kinds.ATTRIBUTES_CLASSES: own_name,
            kinds.CLAIMS: self._no_longer_named,
            kinds.VOLUMES: self._no_longer_named,
        }

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.ATTRIBUTES_CLASSES))

    def _no_longer_named(self, change: Change) -> Iterable[Name]:
        """Only an object that goes, or that names another class now, sets one free."""
        before = () if change.old is None else classes_named(change.old.obj())
        now = () if change.type is ChangeType.DELETED else classes_named(change.entry.obj())
        return [("", name) for name in before if name not in now]

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.ATTRIBUTES_CLASSES, *key)
        if entry is None:
            return
        if not entry.deleting:
            await _put_on(self, kinds.ATTRIBUTES_CLASSES, entry, CLASS_FINALIZER)
        elif CLASS_FINALIZER in entry.finalizers and not await self._is_named(entry.name):
            await _take_off(self, kinds.ATTRIBUTES_CLASSES, entry, CLASS_FINALIZER)

    async def _is_named(self, name: str) -> bool:
        for gvr, named in self._named.items():
            async for entry in sliced(self.client.entries(gvr)):
                if name in named.of(entry):
                    return True
        return False


async def _put_on(controller: Controller[Name], gvr: GVR, entry: Entry, finalizer: str) -> None:
    if finalizer not in entry.finalizers:
        await _set_finalizers(controller, gvr, entry, lambda finalizers: [*finalizers, finalizer])


async def _take_off(controller: Controller[Name], gvr: GVR, entry: Entry, finalizer: str) -> None:
    await _set_finalizers(controller, gvr, entry, lambda finalizers: [each for each in finalizers if each != finalizer])


async def _set_finalizers(
    controller: Controller[Name], gvr: GVR, entry: Entry, change: Callable[[list[str]], list[str]]
) -> None:
    obj = entry.obj()
    obj["metadata"]["finalizers"] = change(list(entry.finalizers))
    await controller.client.update(gvr, obj)
