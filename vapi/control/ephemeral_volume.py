"""ephemeral-volume-controller: the claim of each generic ephemeral volume: `<pod>-<volume>`, owned by its pod.

A claim of that name that is not the pod's is left alone, and said: the pod must not get somebody else's data.
Source: pkg/controller/volume/ephemeral/controller.go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from vapi.cacher.entry import Change, ChangeType
from vapi.control import kinds
from vapi.control.controller import Controller, Sources, names
from vapi.control.events import WARNING
from vapi.control.informer import Name
from vapi.control.workqueue import Retry
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.strategies import mirrors


class NotOfThePod(Exception):
    """The claim of that name belongs to nobody, or to somebody else."""


class EphemeralVolumeController(Controller[Name]):
    """Keys are pods."""

    name = "ephemeral-volume-controller"

    def sources(self) -> Sources[Name]:
        return {kinds.PODS: _added, kinds.CLAIMS: _pod_of_deleted}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.PODS))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.PODS, *key)
        if entry is None or entry.deleting:
            return
        pod = entry.obj()
        if mirrors.is_child(pod):
            return  # the host has made its claims
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                await self._provide(pod, volume)

    async def _provide(self, pod: Obj, volume: Obj) -> None:
        wanted = claim_of(pod, volume)
        metadata = wanted["metadata"]
        try:
            there = self.client.cached(kinds.CLAIMS, metadata["namespace"], metadata["name"])
            if there is not None:
                _check_owner(there.obj(), pod)
            else:
                await self.client.create(kinds.CLAIMS, wanted)
        except NotOfThePod as error:
            self._say(pod, str(error))
            raise Retry() from None
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._say(pod, f"create PVC {metadata['name']}: {error.message}")
            raise

    def _say(self, pod: Obj, why: str) -> None:
        subject = {**pod, "apiVersion": "v1", "kind": "Pod"}
        self.events.record("ephemeral_volume", subject, WARNING, "FailedBinding", f"ephemeral volume: {why}")


def claim_of(pod: Obj, volume: Obj) -> Obj:
    """The claim as it is created."""
    template = volume["ephemeral"]["volumeClaimTemplate"]
    given = template.get("metadata") or {}
    metadata: Obj = {
        "name": f"{pod['metadata']['name']}-{volume['name']}",
        "namespace": pod["metadata"]["namespace"],
        "ownerReferences": [kinds.controller_reference(kinds.POD, pod)],
    }
    metadata |= {key: dict(given[key]) for key in ("labels", "annotations") if given.get(key)}
    spec = copy.deepcopy(template["spec"])
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _check_owner(claim: Obj, pod: Obj) -> None:
    """Raises NotOfThePod. Source: component-helpers storage/ephemeral VolumeIsForPod."""
    owner = kinds.controller_of(claim)
    if owner is None or owner.get("uid") != pod["metadata"]["uid"]:
        metadata = claim["metadata"]
        raise NotOfThePod(
            f"PVC {metadata['namespace']}/{metadata['name']} was not created for pod "
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']} (pod is not owner)"
        )


def _added(change: Change) -> Iterable[Name]:
    """A pod's volumes never change: only a new one needs a look."""
    return [(change.entry.namespace, change.entry.name)] if change.type is ChangeType.ADDED else ()


def _pod_of_deleted(change: Change) -> Iterable[Name]:
    """A claim that is gone is made again while its pod lives."""
    if change.type is not ChangeType.DELETED or not change.entry.controller:
        return ()
    owner = kinds.controller_of(change.entry.obj())
    return [(change.entry.namespace, owner["name"])] if owner is not None and owner.get("kind") == "Pod" else ()
