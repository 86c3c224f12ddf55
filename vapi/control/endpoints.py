"""endpoints controller: the Endpoints of every Service with a selector, for those who still read them.

At most 1,000 addresses; the annotation says when there would be more.
Source: pkg/controller/endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from vapi.cacher.entry import Change, ChangeType
from vapi.control import kinds
from vapi.control import service_endpoints as backends
from vapi.control.controller import MANY, Context, Controller, Sizes, Sources, is_namespace_terminating, names, own_name
from vapi.control.informer import Name, sliced
from vapi.control.pods import pod_facts
from vapi.control.service_endpoints import Backend
from vapi.errors import ApiError
from vapi.gvk import Obj

MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MOST = 1000

PortKey = tuple[Any, ...] | None
"""None: no port at all."""
ByPort = dict[PortKey, dict[str, tuple[bool, Obj]]]
"""Port → pod's uid → (ready, address)."""


class EndpointsController(Controller[Name]):
    """Keys are Services."""

    name = "endpoints-controller"
    workers = MANY

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._selectors = context.informers.facts(kinds.SERVICES, backends.selector_of)
        self._services = context.informers.selecting(kinds.SERVICES, backends.selector_of)
        self._pods = context.informers.facts(kinds.PODS, pod_facts)
        self._sizes: Sizes[Name] = Sizes()

    def sources(self) -> Sources[Name]:
        return {
            kinds.SERVICES: own_name,
            kinds.PODS: partial(backends.services_of_pod, self._services),
            kinds.ENDPOINTS: _ours,
        }

    def delay_s(self, key: Name) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[Name]:
        yield from names(self.client.entries(kinds.SERVICES))
        ours = (each for each in self.client.entries(kinds.ENDPOINTS) if each.labels.get(MANAGED_BY_LABEL) == MANAGER)
        yield from names(ours)

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.SERVICES, *key)
        current = self.client.cached(kinds.ENDPOINTS, *key)
        if entry is None:
            self._sizes.note(key, 0)
            if current is not None:
                await self._delete(key, current.uid)
            return
        if entry.deleting or self._selectors.of(entry) is None:
            return
        builder = EndpointsBuilder(entry.obj())
        selector = self._selectors.of(entry)
        async for pod in sliced(self.client.entries(kinds.PODS, key[0])):
            if backends.selects(selector, pod.labels):
                builder.add(Backend(pod, self._pods.of(pod)))
        self._sizes.note(key, builder.count)
        wanted = builder.build()
        if current is None:
            await self._create(key, wanted)
            return
        endpoints = current.obj()
        if _same(endpoints, wanted):
            return
        annotations = {**(endpoints["metadata"].get("annotations") or {})}
        annotations.pop(OVER_CAPACITY, None)
        annotations.update(wanted["metadata"].get("annotations") or {})
        endpoints["metadata"].update(labels=wanted["metadata"]["labels"], annotations=annotations)
        endpoints.pop("subsets", None)
        endpoints.update({key: wanted[key] for key in ("subsets",) if key in wanted})
        self.written(key, kinds.ENDPOINTS, await self.client.update(kinds.ENDPOINTS, endpoints))

    async def _create(self, key: Name, wanted: Obj) -> None:
        try:
            self.written(key, kinds.ENDPOINTS, await self.client.create(kinds.ENDPOINTS, wanted))
        except ApiError as error:
            if not is_namespace_terminating(error):
                raise

    async def _delete(self, key: Name, uid: str) -> None:
        try:
            await self.client.delete(kinds.ENDPOINTS, *key, uid=uid)
        except ApiError as error:
            if error.code != 404:
                raise


def _ours(change: Change) -> Iterable[Name]:
    """Nobody's Endpoints without a Service are left alone; ours come back."""
    if change.type is ChangeType.DELETED or change.entry.labels.get(MANAGED_BY_LABEL) == MANAGER:
        return own_name(change)
    return ()


class EndpointsBuilder:
    """The Endpoints of a Service out of its pods, one after the other; pure."""

    def __init__(self, service: Obj) -> None:
        self._service = service
        spec = service["spec"]
        self._not_ready_too = bool(spec.get("publishNotReadyAddresses"))
        self._family = (spec.get("ipFamilies") or ["IPv4"])[0]
        self._by_port: ByPort = {}
        self._ports: dict[PortKey, Obj] = {}
        self.count = 0

    def add(self, backend: Backend) -> None:
        self.count += 1
        if not backends.belongs(backend.pod, with_terminating=self._not_ready_too):
            return
        address = _address(self._service, backend, self._family)
        if address is None:
            return
        ready = self._not_ready_too or backend.pod.ready
        for port in _ports(self._service, backend):
            key = backends.port_key(port) if port else None
            self._ports[key] = port
            self._by_port.setdefault(key, {})[backend.entry.uid] = (ready, address)

    def build(self) -> Obj:
        metadata = self._service["metadata"]
        subsets, truncated = _truncated(_subsets(self._by_port, self._ports))
        labels = {**(metadata.get("labels") or {}), MANAGED_BY_LABEL: MANAGER}
        labels.pop(backends.HEADLESS_LABEL, None)
        if backends.is_headless(self._service):
            labels[backends.HEADLESS_LABEL] = ""
        made: Obj = {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels}
        if truncated:
            made["annotations"] = {OVER_CAPACITY: "truncated"}
        endpoints: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": made}
        if subsets:
            endpoints["subsets"] = subsets
        return endpoints


def _address(service: Obj, backend: Backend, family: str) -> Obj | None:
    ip = next((address.ip for address in backend.pod.addresses if address.family == family), None)
    if ip is None:
        return None
    address: Obj = {"ip": ip, "targetRef": backend.reference()}
    if backend.pod.node:
        address["nodeName"] = backend.pod.node
    hostname = backends.hostname_of(backend, service)
    return {**address, "hostname": hostname} if hostname else address


def _ports(service: Obj, backend: Backend) -> list[Obj]:
    """A headless Service may have none: then one empty port stands for "no port"."""
    spec = service["spec"]
    if not spec.get("ports"):
        return [{}] if backends.is_headless(service) else []
    found = []
    for port in spec["ports"]:
        number = backends.port_number(backend.pod, port)
        if number is not None:
            made = {"port": number, "protocol": port.get("protocol", "TCP")}
            optional = {key: port[key] for key in ("name", "appProtocol") if port.get(key)}
            found.append({**made, **optional})
    return found


def _subsets(by_port: ByPort, ports: dict[PortKey, Obj]) -> list[Obj]:
    """Ports with the same addresses share a subset, in an order that depends on nothing else."""
    shared: dict[frozenset[str], list[PortKey]] = {}
    for key, addresses in by_port.items():
        shared.setdefault(frozenset(addresses), []).append(key)
    subsets = []
    for keys in shared.values():
        subset: Obj = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            chosen = [address for ready, address in by_port[keys[0]].values() if ready is wanted]
            if chosen:
                subset[field] = sorted(chosen, key=lambda each: (each["ip"], each["targetRef"]["uid"]))
        real = [ports[key] for key in keys if key is not None]
        if real:
            subset["ports"] = sorted(real, key=backends.port_key)
        subsets.append(subset)
    return sorted(subsets, key=_subset_order)


def _subset_order(subset: Obj) -> tuple[Any, ...]:
    first = (subset.get("addresses") or subset.get("notReadyAddresses") or [{"ip": ""}])[0]
    return [backends.port_key(port) for port in subset.get("ports") or ()], first["ip"]


def _truncated(subsets: list[Obj]) -> tuple[list[Obj], bool]:
    """At most MOST addresses, the ready ones first. Source: truncateEndpoints."""
    counts = [len(subset.get("addresses") or ()) + len(subset.get("notReadyAddresses") or ()) for subset in subsets]
    if sum(counts) <= MOST:
        return subsets, False
    left = MOST
    for field in ("addresses", "notReadyAddresses"):
        for subset in subsets:
            kept = (subset.pop(field, None) or [])[:left]
            left -= len(kept)
            if kept:
                subset[field] = kept
    return [each for each in subsets if each.get("addresses") or each.get("notReadyAddresses")], True


def _same(endpoints: Obj, wanted: Obj) -> bool:
    metadata, other = endpoints["metadata"], wanted["metadata"]
    return (
        (endpoints.get("subsets") or []) == wanted.get("subsets", [])
        and metadata.get("labels") == other["labels"]
        and (metadata.get("annotations") or {}).get(OVER_CAPACITY)
        == (other.get("annotations") or {}).get(OVER_CAPACITY)
    )
