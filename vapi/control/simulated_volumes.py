"""The embedded host's storage: every claim with a class, or with none named, gets a volume that holds nothing.

What a provisioner and the binder would leave behind: a PersistentVolume bound to the
claim, the claim bound to it, and the volume gone after the claim.
Source: pkg/controller/volume/persistentvolume.
"""

from __future__ import annotations

from collections.abc import Iterable

from vapi.cacher.entry import Change, ChangeType
from vapi.control.controller import Controller, Sources, names, own_name
from vapi.control.events import NORMAL, involved_object
from vapi.control.informer import Name
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj

CLAIMS = GVR("", "v1", "persistentvolumeclaims")
VOLUMES = GVR("", "v1", "persistentvolumes")
PROVISIONER = "simulated"
BIND_ANNOTATIONS = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}


STORAGE_CLASS = "simulated"


def storage_class() -> Obj:
    """The embedded host's only class, its default one: the tenant sees it as it would see a real host's."""
    return {
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def is_bound(claim: Obj) -> bool:
    return bool((claim.get("status") or {}).get("phase") == "Bound")


def volume_of(claim: Obj) -> Obj:
    """Named after the claim's uid, as provisioners do: a second look makes no second one."""
    spec, metadata = claim["spec"], claim["metadata"]
    reference = involved_object({**claim, "apiVersion": "v1", "kind": "PersistentVolumeClaim"})
    name = f"pvc-{metadata['uid']}"
    wanted: Obj = {
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
        "volumeMode": spec.get("volumeMode", "Filesystem"),
        "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": reference,
        "hostPath": {"path": f"/simulated/{name}"},
    }
    if spec.get("storageClassName"):
        wanted["storageClassName"] = spec["storageClassName"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": wanted,
    }


class SimulatedVolumes(Controller[Name]):
    """Keys are claims, and volumes under namespace ""."""

    name = "simulated-volumes"

    def sources(self) -> Sources[Name]:
        return {CLAIMS: self._claim_changed, VOLUMES: own_name}

    def all_keys(self) -> Iterable[Name]:
        yield from names(self.client.entries(CLAIMS))
        yield from names(self.client.entries(VOLUMES))

    def _claim_changed(self, change: Change) -> Iterable[Name]:
        if change.type is ChangeType.DELETED:
            return [("", f"pvc-{change.entry.uid}")]
        return own_name(change)

    async def reconcile(self, key: Name) -> None:
        namespace, name = key
        if not namespace:
            await self._reclaim(name)
            return
        entry = self.client.cached(CLAIMS, namespace, name)
        if entry is None or entry.deleting:
            return
        claim = entry.obj()
        # "" asks for a volume that somebody made by hand; there is nobody
        if not is_bound(claim) and claim["spec"].get("storageClassName") != "":
            await self._bind(claim)

    async def _bind(self, claim: Obj) -> None:
        wanted = volume_of(claim)
        name = wanted["metadata"]["name"]
        if self.client.cached(VOLUMES, "", name) is None:
            try:
                await self.client.create(VOLUMES, wanted)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        volume = await self.client.get(VOLUMES, "", name)
        if (volume.get("status") or {}).get("phase") != "Bound":
            volume.setdefault("status", {})["phase"] = "Bound"
            await self.client.update(VOLUMES, volume, subresource="status")
        if claim["spec"].get("volumeName") != name:
            claim["spec"]["volumeName"] = name
            claim["metadata"].setdefault("annotations", {}).update(BIND_ANNOTATIONS)
            claim = await self.client.update(CLAIMS, claim)
        claim["status"] = {
            "phase": "Bound",
            "accessModes": wanted["spec"]["accessModes"],
            "capacity": wanted["spec"]["capacity"],
        }
        await self.client.update(CLAIMS, claim, subresource="status")
        message = f"Successfully provisioned volume {name}"
        self.events.record(PROVISIONER, claim, NORMAL, "ProvisioningSucceeded", message)

    async def _reclaim(self, name: str) -> None:
        """Its claim is gone: so is the volume, if it is one of ours."""
        entry = self.client.cached(VOLUMES, "", name)
        if entry is None or entry.deleting:
            return
        volume = entry.obj()
        if (volume["metadata"].get("annotations") or {}).get("pv.kubernetes.io/provisioned-by") != PROVISIONER:
            return
        reference = volume["spec"].get("claimRef") or {}
        claim = self.client.cached(CLAIMS, reference.get("namespace", ""), reference.get("name", ""))
        if claim is None or claim.uid != reference.get("uid"):
            await self.client.delete(VOLUMES, "", name, uid=entry.uid)
