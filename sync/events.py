"""Events: what the host says of the twins of a tenant's objects, told to the tenant in its own names.

Streamed, not cached: each host event is looked at once. It is dropped if it is
not about the present twin of a tenant's object. The copy keeps the suffix of
the name, so the same host event is always the same tenant event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sync.cluster import Cluster, ClusterError, ClusterEventType
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.translator import EVENTS, PODS
from sync.translators import podnames
from sync.virtual import Record, VirtualCluster
from sync.wording import in_tenant_words
from sync.workloads.events import About, ChildEvents
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

RELIST_S = 5.0
_NAMING = frozenset({PODS})
"""Whose events tell of the ConfigMaps, Secrets and claims that they name."""
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
        places_itself: bool = False,
        children: ChildEvents | None = None,
    ) -> None:
        """`children`: of what the host's controllers made for workloads of the tenant."""
        self._children = children
        self._again: asyncio.Queue[Obj] = asyncio.Queue()
        """Events whose mirror has come; bounded by those that are held for one."""
        if children is not None:
            children.again = self._again.put_nowait
        self._virtual = virtual
        self._host = host
        self._places_itself = places_itself
        self._namespace = host_namespace
        self._informers = informers

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._tell_held())

    async def _tell_held(self) -> None:
        while True:
            await self._tell(await self._again.get())

    async def _follow(self) -> None:
        refused = False
        while True:
            try:
                async for event in self._host.watch(EVENTS, self._namespace):
                    if event.type is ClusterEventType.REFUSED and not refused:
                        log.warning("host refuses its events, none are told", extra={"error": event.message})
                    refused = event.type is ClusterEventType.REFUSED
                    if event.obj is not None and event.type is not ClusterEventType.DELETED:
                        await self._tell(event.obj)
            except ClusterError as error:
                log.warning("host events cannot be watched, again later", extra={"error": error.message})
                await asyncio.sleep(RELIST_S)

    async def _tell(self, event: Obj) -> None:
        found = self._about(event)
        if found is None:
            return
        gvr, twin, known = found
        entry = self._virtual.cached(gvr, twin.object_namespace, twin.object_name)
        if entry is None or entry.uid != twin.object_uid:
            return
        if self._places_itself and _is_of_placing(event.get("reason", ""), entry):
            return
        if gvr in _NAMING:
            known = {**known, **podnames.host_names(entry.obj(), twin.managed_by)}
        try:
            await self._virtual.update(EVENTS, tenant_event(event, twin, self._namespace, known))
        except ClusterError as error:
            # a terminating namespace, mostly: an event is worth no retry
            log.debug("event not told", extra={"error": error.message})

    def _about(self, event: Obj) -> About | None:
        involved = event.get("involvedObject") or {}
        informer = self._informer(involved)
        twin = informer.get(involved.get("name", "")) if informer is not None else None
        if informer is not None and twin is not None and informer.is_twin(twin):
            return (informer.row.resource, twin, {}) if involved.get("uid", twin.uid) == twin.uid else None
        if self._children is None:
            return None
        found = self._children.about(involved)
        if found is None:
            self._children.holds(event)
        return found

    def _informer(self, involved: Obj) -> HostInformer | None:
        """Of the kind that the event is about, if that is synced."""
        group = involved.get("apiVersion", "v1").rpartition("/")[0]
        for informer in self._informers().values():
            if (informer.row.gvk.kind, informer.row.gvk.group) == (involved.get("kind"), group):
                return informer
        return None


def _uid(twin: Twin, kind: str) -> Mapping[str, str]:
    """A claim's is part of its volume's name, which is the same in the tenant."""
    return {} if kind == "PersistentVolumeClaim" else {twin.uid: twin.object_uid}


def _is_of_placing(reason: str, pod: Record) -> bool:
    """What the tenant's scheduler says itself: where the pod goes, and in the end why the host did not take it."""
    return reason == "Scheduled" or (reason == "FailedScheduling" and not pod.fields.get("spec.nodeName"))


def tenant_event(event: Obj, twin: Twin, host_namespace: str, known: Mapping[str, str] = MappingProxyType({})) -> Obj:
    """The copy, about the virtual object of `twin`. Host names in the text become the tenant's.

    `known`: host name → the tenant's, of what the object names (a ConfigMap that is missing).
    """
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
        "message": in_tenant_words(
            event.get("message", ""),
            {twin.name: twin.object_name, **_uid(twin, involved["kind"]), **known},
            cluster=twin.managed_by,
            host_namespace=host_namespace,
            namespace=twin.object_namespace,
        ),
    }
    if involved.get("fieldPath"):
        copy["involvedObject"]["fieldPath"] = involved["fieldPath"]
    for key in _KEPT:
        if key in event:
            copy[key] = event[key]
    return copy
