"""A rig with mirrors: the tenant sees the host's classes and its own volumes; a binder of a few lines at the host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sync import metadata as md
from sync.cluster import Cluster
from sync.hooks import NoHooks
from sync.mirror_rows import CLASSES, PERSISTENT_VOLUMES
from sync.mirrors import ClassRule, Mirrors
from sync.translator import CLAIMS, STORAGECLASSES, VOLUMES
from sync.virtual import InProcessCluster, VirtualCluster
from tests.sync.rig import Rig, rig
from vapi.gvk import GVR, Obj

QUIET_TURNS = 30
ALL = {row.group: ClassRule() for row in (*CLASSES, PERSISTENT_VOLUMES)}


class _Hooks(NoHooks):
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def before_bound(self, claim: Obj) -> None:
        await self._storage.mirrors.before_bound(claim)


@dataclass
class Storage:
    rig: Rig
    rules: Mapping[str, ClassRule]
    host: Cluster | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """Of the mirrors: (object, reason, message)."""
    _task: asyncio.Task[None] | None = None
    _mirrors: Mirrors | None = None

    @property
    def mirrors(self) -> Mirrors:
        assert self._mirrors is not None
        return self._mirrors

    async def start(self) -> None:
        rig = self.rig
        made = self._mirrors = Mirrors(
            virtual=rig.virtual_cluster or VirtualCluster(rig.tenant.client("vapi-syncer")),
            host=self.host or rig.host_cluster or InProcessCluster(rig.host.client("vapi")),
            host_namespace=rig.host_namespace,
            rules=self.rules,
            patterns=md.KeyPatterns(),
            claims=lambda: rig.syncer.informers.get(CLAIMS) if rig.syncer is not None else None,
            changed=lambda: rig.syncer.reconsider() if rig.syncer is not None else None,
            events=lambda _component, obj, _type, reason, text: self.events.append(
                (obj["metadata"]["name"], reason, text)
            ),
            clock=rig.clock,
        )
        rig.hooks = _Hooks(self)
        rig.settings = {
            "withheld_class": made.withheld_class,
            "default_storage_class": made.default_storage_class,
            "is_mirror": made.is_mirror,
            "priority_class": made.priority_class,
        }
        rig.before_start = lambda started: started.syncer.on_twin(made.claim_changed) if started.syncer else None
        self._task = asyncio.create_task(made.run())
        await rig.start()
        await self.settle()

    async def kill(self) -> None:
        await self.rig.kill()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def settle(self) -> None:
        """Until neither the syncer nor the mirrors have anything to do."""
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            self.mirrors.tick()
            if self.rig.syncer is not None:
                self.rig.syncer.queue.tick()
                self.rig.syncer.limiter.tick()
            idle = self.mirrors.idle and (self.rig.syncer is None or self.rig.syncer.queue.idle)
            quiet = quiet + 1 if idle else 0

    async def advance(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)
        await self.settle()

    # --- the host -----------------------------------------------------------------------------------------

    async def host_class(self, gvr: GVR, name: str, *, labels: Obj | None = None, **fields: Any) -> Obj:
        made = await self.rig.admin.create(gvr, {"metadata": {"name": name, "labels": labels or {}}, **fields})
        await self.settle()
        return made

    async def host_storage_class(self, name: str, *, default: bool = False, labels: Obj | None = None) -> Obj:
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
        metadata = {"name": name, "labels": labels or {}, "annotations": {"owner": "somebody", **annotations}}
        made = await self.rig.admin.create(STORAGECLASSES, {"metadata": metadata, "provisioner": "disks.example.com"})
        await self.settle()
        return made

    async def bind(self, name: str, *, policy: str = "Delete", volume: str = "") -> str:
        """What a provisioner and the binder of the host do for a tenant's claim; the volume's name."""
        admin, claim = self.rig.admin, self.rig.the_twin(CLAIMS, name)
        volume = volume or f"pvc-{claim['metadata']['uid']}"
        await admin.create(VOLUMES, volume_for(claim, volume, policy))
        made = await admin.get(VOLUMES, "", volume)
        await admin.update(VOLUMES, {**made, "status": {"phase": "Bound"}}, subresource="status")
        claim["spec"]["volumeName"] = volume
        claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
        claim = await admin.update(CLAIMS, claim)
        status = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
        await admin.update(CLAIMS, {**claim, "status": status}, subresource="status")
        await self.settle()
        return volume

    async def release(self, volume: str, phase: str = "Released") -> None:
        """The binder sees that a volume's claim is gone."""
        made = await self.rig.admin.get(VOLUMES, "", volume)
        await self.rig.admin.update(VOLUMES, {**made, "status": {"phase": phase}}, subresource="status")
        await self.settle()

    async def delete_there(self, gvr: GVR, namespace: str, name: str) -> None:
        """By somebody at the host, where nothing holds it."""
        await self.rig.admin.delete(gvr, namespace, name)
        await self.settle()

    def mirror(self, gvr: GVR, name: str) -> Obj | None:
        return self.rig.here(gvr, name, "")

    def the_mirror(self, gvr: GVR, name: str) -> Obj:
        return self.rig.the(gvr, name, "")


def volume_for(claim: Obj, name: str, policy: str) -> Obj:
    metadata = claim["metadata"]
    return {
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "disks.example.com", "x": "y"}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": claim["spec"].get("storageClassName", ""),
            "csi": {
                "driver": "disks.example.com",
                "volumeHandle": name,
                "nodeStageSecretRef": {"name": "keys", "namespace": "storage-system"},
            },
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def claim(name: str, *, annotations: Obj | None = None, labels: Obj | None = None, **spec: Any) -> Obj:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": annotations or {},
            "labels": labels or {},
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


@contextlib.asynccontextmanager
async def storage(host: Cluster | None = None, /, **rules: ClassRule) -> AsyncIterator[Storage]:
    """`rules` by group, beside everything."""
    async with rig(started=False) as it:
        made = Storage(it, {**ALL, **rules}, host)
        await made.start()
        try:
            yield made
        finally:
            await made.kill()
