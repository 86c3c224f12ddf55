"""pvc- and pv-protection controllers: a claim in use by a pod, and a volume bound to a claim, outlive their deletion.

Admission puts the finalizers on (StorageObjectInUseProtection); here they come off,
and on where they are missing.
Source: pkg/controller/volume/{pvcprotection,pvprotection}.
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
