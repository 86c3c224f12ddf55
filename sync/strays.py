"""Strays: Endpoints and slices that the host's controllers made for a Service that has lost its selector.

On a cluster of its own they would be the tenant's objects, which it edits or deletes; here they are the host's, and
traffic would go on to them beside what the tenant says. So they go once the host's Service has no selector
(sync-behaviour §2.6, Endpoints), and the tenant's go out in their place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from sync.cluster import Cluster, ClusterError
from sync.informer import HostInformer
from sync.limiter import Limiter
from sync.ownership import Twin
from sync.state import Key
from sync.translator import ENDPOINTS, ENDPOINTSLICES, SERVICES, Context
from sync.translators.endpoints import selectorless
from sync.virtual import Record, VirtualCluster
from sync.worker import work
from vapi.clock import Clock
from vapi.control.workqueue import WorkQueue
from vapi.gvk import GVR

NOT_YET_S = 0.2
"""Until the host's Service has lost its selector."""
AGAIN_S = 5.0
"""A host controller that has not heard of it yet may make one more."""
_MADE_BY: Mapping[str, tuple[str, ...]] = {
    "endpoints.kubernetes.io/managed-by": ("endpoint-controller",),
    "endpointslice.kubernetes.io/managed-by": (
        "endpointslice-controller.k8s.io",
        "endpointslicemirroring-controller.k8s.io",
    ),
}


class Strays:
    """Runs until cancelled. One key at a time: it is rare."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        limiter: Limiter,
        context: Callable[[], Context],
        informers: Callable[[], Mapping[GVR, HostInformer]],
        touch: Callable[[Key], None],
        clock: Clock,
    ) -> None:
        self._virtual = virtual
        self._host = host
        self._limiter = limiter
        self._context = context
        self._informers = informers
        self._touch = touch
        self.queue: WorkQueue[tuple[str, str]] = WorkQueue(clock=clock)

    async def run(self) -> None:
        if not {SERVICES, ENDPOINTS, ENDPOINTSLICES} <= self._informers().keys():
            return
        remove = self._virtual.on_change(SERVICES, self._changed)
        try:
            for count, entry in enumerate(list(self._virtual.entries(SERVICES))):
                self._changed(entry, None)
                if count % 64 == 63:
                    await asyncio.sleep(0)
            await work(self.queue, self._look, failed="stray endpoints left on the host", about="/".join)
        finally:
            remove()
            self.queue.close()

    def _changed(self, service: Record, _old: Record | None) -> None:
        if selectorless(service.name, service.namespace, self._context()):
            self.queue.add((service.namespace, service.name))

    async def _look(self, key: tuple[str, str]) -> None:
        namespace, name = key
        context = self._context()
        if not selectorless(name, namespace, context):
            return
        service = self._informers()[SERVICES].get(context.host_name(name, namespace))
        found = list(self._found(service)) if service is not None else []
        if not found:
            return
        assert service is not None
        if service.value is None or service.obj()["spec"].get("selector"):
            self.queue.add_after((namespace, name), NOT_YET_S)
            return
        for resource, stray in found:
            await self._remove(resource, stray)
        self._touch((ENDPOINTS, namespace, name))
        self.queue.add_after((namespace, name), AGAIN_S)

    def _found(self, service: Twin) -> Iterable[tuple[GVR, Twin]]:
        """They carry the Service's labels, ours with them, and none of our annotations."""
        endpoints = self._informers()[ENDPOINTS].get(service.name)
        if endpoints is not None and not endpoints.kind and not endpoints.deleting:
            yield ENDPOINTS, endpoints
        for piece in self._informers()[ENDPOINTSLICES].twins():
            if not piece.kind and not piece.deleting and service.uid in piece.owners:
                yield ENDPOINTSLICES, piece

    async def _remove(self, resource: GVR, stray: Twin) -> None:
        namespace = self._context().host_namespace
        try:
            await self._limiter.take(0)
            live = await self._host.get(resource, namespace, stray.name)
            labels = live["metadata"].get("labels") or {}
            if not any(labels.get(key) in values for key, values in _MADE_BY.items()):
                return  # somebody else's
            await self._limiter.take(0)
            await self._host.delete(resource, namespace, stray.name, uid=live["metadata"]["uid"])
        except ClusterError as error:
            if error.code not in (404, 409):
                raise
        self._informers()[resource].drop(stray.name, stray.uid)
