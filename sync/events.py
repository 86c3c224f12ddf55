"""Events: what the host says of the tenant's pods and Services, told to the tenant in its own names.

Streamed, not cached: each host event is looked at once. It is dropped if it is
not about the present twin of a tenant's object. The copy keeps the suffix of
the name, so the same host event is always the same tenant event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from sync.cluster import Cluster, ClusterError, ClusterEventType
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.translator import CLAIMS, EVENTS, PODS, SERVICES
from sync.virtual import VirtualCluster
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

RELIST_S = 5.0
_KINDS: Mapping[str, GVR] = {"Pod": PODS, "Service": SERVICES, "PersistentVolumeClaim": CLAIMS}
_KEPT = (
    "action",
    "count",
    "eventTime",
    "firstTimestamp",
    "lastTimestamp",
    "reason",
    "reportingComponent",
    "reportingInstance",
    "series",
    "source",
    "type",
)


class Events:
    """Runs until cancelled. Runs on the loop."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        host_namespace: str,
        informers: Callable[[], Mapping[GVR, HostInformer]],
    ) -> None:
        self._virtual = virtual
        self._host = host
        self._namespace = host_namespace
        self._informers = informers

    async def run(self) -> None:
        while True:
            try:
                async for event in self._host.watch(EVENTS, self._namespace):
                    if event.obj is not None and event.type is not ClusterEventType.DELETED:
                        await self._tell(event.obj)
            except ClusterError as error:
                log.warning("host events cannot be watched, again later", extra={"error": error.message})
                await asyncio.sleep(RELIST_S)

    async def _tell(self, event: Obj) -> None:
        involved = event.get("involvedObject") or {}
        gvr = _KINDS.get(involved.get("kind", ""))
        if gvr is None or gvr not in self._informers():
            return
        twin = self._informers()[gvr].get(involved.get("name", ""))
        if twin is None or not twin.object_uid or involved.get("uid", twin.uid) != twin.uid:
            return
        entry = self._virtual.cached(gvr, twin.object_namespace, twin.object_name)
        if entry is None or entry.uid != twin.object_uid:
            return
        try:
            await self._virtual.update(EVENTS, tenant_event(event, twin, self._namespace))
        except ClusterError as error:
            # a terminating namespace, mostly: an event is worth no retry
            log.debug("event not told", extra={"error": error.message})


def tenant_event(event: Obj, twin: Twin, host_namespace: str) -> Obj:
    """The copy, about the virtual object of `twin`. Host names in the text become the tenant's."""
    metadata = event["metadata"]
    suffix = metadata["name"].rpartition(".")[2]
    involved = event["involvedObject"]
    copy: Obj = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{twin.object_name}.{suffix}", "namespace": twin.object_namespace},
        "involvedObject": {
            "apiVersion": involved.get("apiVersion", "v1"),
            "kind": involved["kind"],
            "namespace": twin.object_namespace,
            "name": twin.object_name,
            "uid": twin.object_uid,
        },
        "message": in_tenant_names(event.get("message", ""), twin, host_namespace),
    }
    if involved.get("fieldPath"):
        copy["involvedObject"]["fieldPath"] = involved["fieldPath"]
    for key in _KEPT:
        if key in event:
            copy[key] = event[key]
    return copy


def in_tenant_names(text: str, twin: Twin, host_namespace: str) -> str:
    qualified = f"{host_namespace}/{twin.name}"
    return (
        text.replace(qualified, f"{twin.object_namespace}/{twin.object_name}")
        .replace(f"{twin.name}_{host_namespace}", f"{twin.object_name}_{twin.object_namespace}")
        .replace(twin.name, twin.object_name)
        .replace(twin.uid, twin.object_uid)
    )
