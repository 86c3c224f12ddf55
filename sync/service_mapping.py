"""ServiceMapping: single Services that cross the border: a host's seen in the tenant, a tenant's under a host name.

From the host: the tenant's Service has the ports, the ClusterIP and the load balancer of its source, and Endpoints
with that address (of a headless source: its endpoints), so it is reached as the host's is. It goes to no host again
(`translators.services.is_mapped`). To the host: a Service in HOSTNS with the name of the configuration and a selector
of the tenant's pods. What is there under a target's name without being ours is left alone, with an event. Both are put
back when edited, end with their source, and end when they are no longer configured. While the host does not let its
Services be read, what is there stays. Source of the behaviour: sync-behaviour §2.6, Service replication, with its
"do better".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterError, ClusterEventType, PatchType
from sync.limiter import Limiter
from sync.state import COMPONENT, SYNC_WARNING, EventSink
from sync.translator import ENDPOINTS, NAMESPACES, SERVICES, Context
from sync.translators.plain import contains
from sync.virtual import Record, VirtualCluster
from sync.worker import work
from vapi import encoding
from vapi.clock import Clock
from vapi.control.workqueue import Retry, WorkQueue
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

RELIST_S = 5.0
TAKEN_S = 30.0
"""Between two looks at a target that somebody else's Service occupies."""
AGAIN_S = 5.0
"""Between two looks at a namespace of the tenant's that is going: it is made anew when it has gone."""
_PORT_KEYS = ("name", "port", "protocol", "appProtocol")
_EXACT = ("selector", "externalIPs", "externalName", "publishNotReadyAddresses")
"""Of a Service's spec: what leads its traffic elsewhere if somebody adds to it."""
_NUMBERS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


@dataclass(frozen=True, slots=True)
class Mapped:
    """`target_namespace` "" where the target is in HOSTNS."""

    namespace: str
    name: str
    target_namespace: str
    target: str

    @property
    def source(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def place(self) -> str:
        """Of the target."""
        return f"{self.target_namespace}/{self.target}" if self.target_namespace else self.target


def from_host(pairs: Iterable[tuple[str, str]]) -> tuple[Mapped, ...]:
    """Of `namespace/name` pairs, as the configuration has checked them."""
    return tuple(Mapped(*_split(source), *_split(target)) for source, target in pairs)


def to_host(pairs: Iterable[tuple[str, str]]) -> tuple[Mapped, ...]:
    """The target is a name in HOSTNS."""
    return tuple(Mapped(*_split(source), "", target) for source, target in pairs)


def _split(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    return namespace, name


# --- pure ---------------------------------------------------------------------------------------------


def _is_ours(obj: Obj, way: str) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get(md.MAPPED) == way)


def _is_a_copy(service: Obj) -> bool:
    """Of the tenant's Services with our label: whether somebody made it of another, label and all."""
    metadata = service["metadata"]
    place = (metadata.get("annotations") or {}).get(md.MAPPED_AS)
    return bool(place != f"{metadata['namespace']}/{metadata['name']}")


def _in_tenant(mapped: Mapped) -> dict[str, Any]:
    """Nothing in it tells where on the host it comes from."""
    return {
        "name": mapped.target,
        "namespace": mapped.target_namespace,
        "labels": {md.MAPPED: md.FROM_HOST},
        "annotations": {md.MAPPED_AS: mapped.place},
    }


def _is_as_wanted(service: Obj, wanted: Obj) -> bool:
    """All of `wanted`, and nothing that leads traffic elsewhere."""
    spec, want = service["spec"], wanted["spec"]
    return contains(service, wanted) and all(spec.get(k) == want.get(k) for k in _EXACT if spec.get(k))


def _over(current: Obj, wanted: Obj) -> Obj:
    """`current` with the spec, or the subsets, of `wanted`; labels and annotations of others stay."""
    metadata = dict(current["metadata"])
    for kind in ("labels", "annotations"):
        metadata[kind] = {**(metadata.get(kind) or {}), **wanted["metadata"][kind]}
    parts: Obj = {key: wanted.get(key) or [] for key in ("spec", "subsets") if key in current or key in wanted}
    return {**current, "metadata": metadata, **parts}


def _merge_patch(live: Obj, wanted: Obj) -> Obj:
    """What makes a Service of the host `wanted`; its numbers, and labels and annotations of others, stay."""
    have, want = live["spec"], wanted["spec"]
    spec: dict[str, Any] = {**{key: None for key in (*_EXACT, "ports") if key in have}, **want}
    spec["selector"] = {**dict.fromkeys(have.get("selector") or (), None), **want["selector"]}
    metadata = wanted["metadata"]
    kept = {"uid": live["metadata"]["uid"], "labels": metadata["labels"], "annotations": metadata["annotations"]}
    return {"metadata": kept, "spec": spec}


def tenant_service(mapped: Mapped, source: Obj) -> Obj:
    """The tenant's Service for a host's."""
    theirs: Obj = source["spec"]
    spec: dict[str, Any] = {"type": "ClusterIP"}
    if theirs.get("ports"):
        spec["ports"] = [_port(p) for p in theirs["ports"]]
    if theirs.get("type") == "ExternalName":
        spec = {"type": "ExternalName", "externalName": theirs["externalName"]}
    else:
        spec |= {key: theirs[key] for key in _NUMBERS if theirs.get(key)}
    if theirs.get("type") == "LoadBalancer":
        spec |= {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _in_tenant(mapped),
        "spec": spec,
        "status": {"loadBalancer": (source.get("status") or {}).get("loadBalancer") or {}},
    }


def _port(port: Obj) -> Obj:
    return {key: port[key] for key in _PORT_KEYS if port.get(key)}


def tenant_endpoints(mapped: Mapped, source: Obj, endpoints: Obj | None) -> Obj | None:
    """Those of `tenant_service`; None where it has none. `endpoints`: of the source, which matter if it is headless."""
    theirs: Obj = source["spec"]
    if theirs.get("type") == "ExternalName":
        return None
    if _has_no_address(source):
        subsets = [_subset(s) for s in (endpoints or {}).get("subsets") or ()]
    else:
        ports = [{k: p[k] for k in ("name", "port", "protocol") if p.get(k)} for p in theirs.get("ports") or ()]
        subsets = [{"addresses": [{"ip": theirs["clusterIP"]}], "ports": ports}]
    made: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": _in_tenant(mapped)}
    return {**made, "subsets": subsets} if subsets else made


def _has_no_address(source: Obj) -> bool:
    """So that its endpoints on the host are needed."""
    return source["spec"].get("type") != "ExternalName" and source["spec"].get("clusterIP", "") in ("", "None")


def _subset(subset: Obj) -> Obj:
    """Without what names the host's pods and nodes."""
    kept = dict(subset)
    for kind in ("addresses", "notReadyAddresses"):
        if subset.get(kind):
            kept[kind] = [{k: v for k, v in a.items() if k in ("ip", "hostname")} for a in subset[kind]]
    return kept


def host_service(mapped: Mapped, source: Obj, context: Context) -> Obj:
    """The Service in HOSTNS for a tenant's; its selector meets only this tenant's pods of that namespace."""
    theirs: Obj = source["spec"]
    metadata: dict[str, Any] = {
        "name": mapped.target,
        "namespace": context.host_namespace,
        "labels": {md.MAPPED: md.TO_HOST, md.MANAGED_BY: context.cluster},
        "annotations": {md.MAPPED_FROM: mapped.source},
    }
    if context.anchor_uid:
        anchor = names.anchor_name(context.cluster)
        metadata["ownerReferences"] = [
            md.owner_reference(anchor=anchor, anchor_uid=context.anchor_uid, controller=False)
        ]
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "selector": context.selector_labels(theirs["selector"], mapped.namespace),
    }
    if theirs.get("ports"):
        spec["ports"] = [{**_port(p), "targetPort": p.get("targetPort", p["port"])} for p in theirs["ports"]]
    if theirs.get("publishNotReadyAddresses"):
        spec["publishNotReadyAddresses"] = True
    if theirs.get("clusterIP") == "None":
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


# --- at work ------------------------------------------------------------------------------------------


class ServiceMapping:
    """`run` until cancelled. Runs on the loop."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        limiter: Limiter,
        context: Callable[[], Context],
        from_host: Sequence[Mapped],
        to_host: Sequence[Mapped],
        events: EventSink,
        clock: Clock,
    ) -> None:
        self._virtual = virtual
        self._host = host
        self._limiter = limiter
        self._context = context
        self._incoming = from_host
        self._outgoing = to_host
        self._events = events
        self._queue: WorkQueue[Mapped] = WorkQueue(clock=clock)
        self._seen: dict[tuple[GVR, str, str], bytes] = {}
        """Host Services and Endpoints that are sources, or targets in HOSTNS."""
        self._listed: set[tuple[GVR, str]] = set()
        """What has been listed once: before that absence means nothing."""
        self._told: set[Mapped] = set()

    def tick(self) -> None:
        """Look at the clock, for who has moved it."""
        self._queue.tick()

    async def run(self) -> None:
        await self._remove_unconfigured_here()
        off = [self._virtual.on_change(gvr, self._virtual_changed) for gvr in (SERVICES, ENDPOINTS)]
        for mapped in (*self._incoming, *self._outgoing):
            self._queue.add(mapped)
        followed = {(gvr, m.namespace) for m in self._incoming for gvr in (SERVICES, ENDPOINTS)}
        if self._outgoing:
            followed.add((SERVICES, self._context().host_namespace))
        try:
            async with asyncio.TaskGroup() as group:
                for gvr, namespace in sorted(followed):
                    group.create_task(self._follow(gvr, namespace), name=f"mapped {gvr.resource} of {namespace}")
                looks = work(self._queue, self._look, failed="service not mapped, again later", about=_text)
                group.create_task(looks, name="map services")
                group.create_task(self._remove_unconfigured_there(), name="services mapped no more")
        finally:
            for remove in off:
                remove()
            self._queue.close()

    # --- what changed -------------------------------------------------------------------------------------

    def _virtual_changed(self, entry: Record, _old: Record | None) -> None:
        for mapped in self._incoming:
            if (mapped.target_namespace, mapped.target) == (entry.namespace, entry.name):
                self._queue.add(mapped)
        for mapped in self._outgoing:
            if (mapped.namespace, mapped.name) == (entry.namespace, entry.name):
                self._queue.add(mapped)

    def _host_changed(self, namespace: str, name: str) -> None:
        for mapped in self._incoming:
            if (mapped.namespace, mapped.name) == (namespace, name):
                self._queue.add(mapped)
        for mapped in self._outgoing:
            if (self._context().host_namespace, mapped.target) == (namespace, name):
                self._queue.add(mapped)

    async def _follow(self, gvr: GVR, namespace: str) -> None:
        concerned = {m.name for m in self._incoming if m.namespace == namespace}
        if namespace == self._context().host_namespace:
            concerned |= {m.target for m in self._outgoing}
        said = False
        while True:
            try:
                async for event in self._host.watch(gvr, namespace):
                    if event.type is ClusterEventType.REFUSED and not said:
                        said = True
                        log.warning("host refuses what a mapped Service needs", extra={"error": event.message})
                    if event.type is ClusterEventType.SYNCED:
                        self._listed.add((gvr, namespace))
                        for mapped in (*self._incoming, *self._outgoing):
                            self._queue.add(mapped)
                    if event.obj is None or event.obj["metadata"]["name"] not in concerned:
                        continue
                    key = (gvr, namespace, event.obj["metadata"]["name"])
                    if event.type is ClusterEventType.DELETED:
                        self._seen.pop(key, None)
                    else:
                        self._seen[key] = encoding.dumps(event.obj)
                    self._host_changed(namespace, key[2])
            except ClusterError as error:
                log.warning("mapped Services cannot be watched, again later", extra={"error": error.message})
                await asyncio.sleep(RELIST_S)

    def _host_object(self, gvr: GVR, namespace: str, name: str) -> Obj | None:
        """Raises Retry while it is not known whether it exists."""
        if (gvr, namespace) not in self._listed:
            raise Retry(RELIST_S)
        body = self._seen.get((gvr, namespace, name))
        if body is None:
            return None
        found: Obj = encoding.loads(body)
        return found

    # --- work ---------------------------------------------------------------------------------------------

    async def _look(self, mapped: Mapped) -> None:
        await (self._bring_in(mapped) if mapped.target_namespace else self._send_out(mapped))

    async def _bring_in(self, mapped: Mapped) -> None:
        source = self._host_object(SERVICES, mapped.namespace, mapped.name)
        asked = source is not None and _has_no_address(source)
        endpoints = self._host_object(ENDPOINTS, mapped.namespace, mapped.name) if asked else None
        there = self._virtual.cached(SERVICES, mapped.target_namespace, mapped.target)
        current = there.obj() if there is not None else None
        if current is not None and not _is_ours(current, md.FROM_HOST):
            self._tell_taken(mapped, current)
            raise Retry(TAKEN_S)
        if source is None or "deletionTimestamp" in source["metadata"]:
            await self._end(mapped.target_namespace, mapped.target)
            return
        await self._need_namespace(mapped.target_namespace)
        await self._put_service(tenant_service(mapped, source), current)
        await self._put_endpoints(tenant_endpoints(mapped, source, endpoints), mapped)
        self._told.discard(mapped)

    async def _put_service(self, wanted: Obj, current: Obj | None) -> None:
        """Service, then its status; one whose address has changed is made anew."""
        status = wanted["status"]
        body = {key: value for key, value in wanted.items() if key != "status"}
        if current is not None and current["spec"].get("clusterIP") != body["spec"].get("clusterIP"):
            metadata = current["metadata"]
            await self._virtual.delete(SERVICES, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            current = None
        if current is None:
            current = await self._virtual.create(SERVICES, body)
        elif not _is_as_wanted(current, body):
            current = await self._virtual.update(SERVICES, _over(current, body))
        if (current.get("status") or {}).get("loadBalancer", {}) != status["loadBalancer"]:
            shown = {**(current.get("status") or {}), **status}
            await self._virtual.update(SERVICES, {**current, "status": shown}, subresource="status")

    async def _put_endpoints(self, wanted: Obj | None, mapped: Mapped) -> None:
        entry = self._virtual.cached(ENDPOINTS, mapped.target_namespace, mapped.target)
        if wanted is None:
            await self._end_one(ENDPOINTS, mapped.target_namespace, mapped.target)
        elif entry is None:
            await self._virtual.create(ENDPOINTS, wanted)
        else:
            current = entry.obj()
            if not contains(current, wanted) or current.get("subsets") != wanted.get("subsets"):
                await self._virtual.update(ENDPOINTS, _over(current, wanted))

    async def _need_namespace(self, name: str) -> None:
        """Raises Retry while it is going."""
        entry = self._virtual.cached(NAMESPACES, "", name)
        if entry is not None and entry.deleting:
            raise Retry(AGAIN_S)
        if entry is None:
            await self._virtual.create(
                NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )

    async def _end(self, namespace: str, name: str) -> None:
        for gvr in (SERVICES, ENDPOINTS):
            await self._end_one(gvr, namespace, name)

    async def _end_one(self, gvr: GVR, namespace: str, name: str) -> None:
        entry = self._virtual.cached(gvr, namespace, name)
        if entry is None or entry.labels.get(md.MAPPED) != md.FROM_HOST:
            return
        try:
            await self._virtual.delete(gvr, namespace, name, uid=entry.uid)
        except ClusterError as error:
            if error.code not in (404, 409):
                raise

    async def _send_out(self, mapped: Mapped) -> None:
        context = self._context()
        current = self._host_object(SERVICES, context.host_namespace, mapped.target)
        entry = self._virtual.cached(SERVICES, mapped.namespace, mapped.name)
        source = entry.obj() if entry is not None and not entry.deleting else None
        if current is not None and not self._is_our_target(current):
            if source is not None:
                self._tell_taken(mapped, source)
            raise Retry(TAKEN_S)
        if source is not None and not source["spec"].get("selector"):
            self._tell(mapped, source, "only a Service with a selector can be mapped to the host")
            source = None
        if source is None:
            if current is not None:
                await self._delete_host(current)
            return
        await self._put_on_host(host_service(mapped, source, context), current)
        self._told.discard(mapped)

    async def _put_on_host(self, wanted: Obj, current: Obj | None) -> None:
        """An apply would leave ports that the tenant has taken away: they are of our create."""
        if current is None:
            await self._limiter.take(1)
            await self._host.create(SERVICES, wanted)
            return
        live: Obj = current["spec"]
        headless = wanted["spec"].get("clusterIP") == "None"
        if headless != (live.get("clusterIP") == "None"):
            await self._delete_host(current)
            raise Retry(0.1)
        if not _is_as_wanted(current, wanted):
            await self._limiter.take(1)
            metadata, patch = current["metadata"], _merge_patch(current, wanted)
            await self._host.patch(
                SERVICES, metadata["namespace"], metadata["name"], patch, content_type=PatchType.MERGE
            )

    def _is_our_target(self, service: Obj) -> bool:
        labels = service["metadata"].get("labels") or {}
        return _is_ours(service, md.TO_HOST) and bool(labels.get(md.MANAGED_BY) == self._context().cluster)

    async def _delete_host(self, service: Obj) -> None:
        metadata = service["metadata"]
        await self._limiter.take(0)
        try:
            await self._host.delete(SERVICES, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        except ClusterError as error:
            if error.code not in (404, 409):
                raise

    # --- at the start, and what is told -------------------------------------------------------------------

    async def _remove_unconfigured_here(self) -> None:
        """Mapped Services of a configuration that has changed meanwhile."""
        kept = {(m.target_namespace, m.target) for m in self._incoming}
        for entry in list(self._virtual.entries(SERVICES)):
            if entry.labels.get(md.MAPPED) != md.FROM_HOST or (entry.namespace, entry.name) in kept:
                continue
            if _is_a_copy(entry.obj()):
                continue
            try:
                await self._end(entry.namespace, entry.name)
            except ClusterError as error:
                log.warning("a mapped Service is left in the tenant", extra={"error": error.message})

    async def _remove_unconfigured_there(self) -> None:
        """The same of the host, as soon as it answers."""
        context, said = self._context(), False
        selector = f"{md.MAPPED}={md.TO_HOST},{md.MANAGED_BY}={context.cluster}"
        kept = {m.target for m in self._outgoing}
        while True:
            try:
                for service in await self._host.list(SERVICES, context.host_namespace, label_selector=selector):
                    if service["metadata"]["name"] not in kept:
                        await self._delete_host(service)
                return
            except ClusterError as error:
                if not said:
                    log.warning("mapped Services are left on the host, again later", extra={"error": error.message})
                said = True
                await asyncio.sleep(RELIST_S)

    def _tell_taken(self, mapped: Mapped, about: Obj) -> None:
        text = f"not mapped to {mapped.place}: there is another Service of that name, which is left alone"
        self._tell(mapped, about, text)

    def _tell(self, mapped: Mapped, about: Obj, message: str) -> None:
        """Once, until it has been mapped."""
        if mapped not in self._told:
            self._told.add(mapped)
            self._events(COMPONENT, about, "Warning", SYNC_WARNING, message)


def _text(mapped: Mapped) -> str:
    return f"{mapped.source} as {mapped.place}"
