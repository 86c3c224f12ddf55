"""endpointslice controller: for every Service with a selector, slices of at most 100 of its pods.

Terminating pods stay in, told apart by their conditions; a Service without any
pod has one empty slice. Slices go with their Service, as its dependents.
Source: pkg/controller/endpointslice and the endpointslice staging repository.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from vapi.cacher.entry import Change
from vapi.control import kinds
from vapi.control import service_endpoints as backends
from vapi.control.controller import MANY, Context, Controller, Sizes, Sources, is_namespace_terminating, names, own_name
from vapi.control.endpointslice_plan import Group, Plan, Wanted, plan
from vapi.control.informer import Name, sliced
from vapi.control.pods import pod_facts
from vapi.control.service_endpoints import Backend
from vapi.errors import ApiError
from vapi.gvk import Obj

MANAGER = "endpointslice-controller.k8s.io"
MOST = 100
"""Endpoints in a slice. Source: --max-endpoints-per-slice."""
ZONE_LABEL = "topology.kubernetes.io/zone"

RESERVED = (backends.SERVICE_NAME_LABEL, backends.MANAGED_BY_LABEL, backends.HEADLESS_LABEL)


class EndpointSliceController(Controller[Name]):
    """Keys are Services."""

    name = "endpointslice-controller"
    workers = MANY

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._selectors = context.informers.facts(kinds.SERVICES, backends.selector_of)
        self._services = context.informers.selecting(kinds.SERVICES, backends.selector_of)
        self._pods = context.informers.facts(kinds.PODS, pod_facts)
        self._sizes: Sizes[Name] = Sizes()
        self._slices = context.informers.owners(kinds.ENDPOINT_SLICES)

    def sources(self) -> Sources[Name]:
        return {
            kinds.SERVICES: own_name,
            kinds.PODS: partial(backends.services_of_pod, self._services),
            kinds.ENDPOINT_SLICES: lambda change: service_of_slice(change, MANAGER),
        }

    def delay_s(self, key: Name) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.SERVICES))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.SERVICES, *key)
        if entry is None or entry.deleting or self._selectors.of(entry) is None:
            self._sizes.note(key, 0)
            return
        service = entry.obj()
        groups = await self._groups(service)
        self._sizes.note(key, sum(len(group.endpoints) for group in groups))
        existing = [
            each.obj()
            for each in self._slices.controlled_by(entry.uid)
            if each.labels.get(backends.MANAGED_BY_LABEL) == MANAGER and not each.deleting
        ]
        owner = kinds.controller_reference(kinds.SERVICE, service)
        await carry_out(self, key, plan(existing, groups, MOST), slice_labels(service), owner)

    async def _groups(self, service: Obj) -> list[Group]:
        groups: dict[Any, Group] = {}
        families = service["spec"].get("ipFamilies") or ["IPv4"]
        async for backend in self._backends(service):
            ports = slice_ports(service, backend)
            for address_type in families:
                endpoint = slice_endpoint(service, backend, address_type, self._zone(backend.pod.node))
                if endpoint is not None:
                    group = Group(address_type, ports)
                    groups.setdefault(group.key(), group).endpoints[backend.entry.uid] = endpoint
        served = {group.address_type for group in groups.values()}
        return [*groups.values(), *(Group(each, []) for each in families if each not in served)]

    async def _backends(self, service: Obj) -> AsyncIterator[Backend]:
        selector = backends.selector_of(service)
        async for entry in sliced(self.client.entries(kinds.PODS, service["metadata"]["namespace"])):
            if backends.selects(selector, entry.labels):
                pod = self._pods.of(entry)
                if backends.belongs(pod, with_terminating=True):
                    yield Backend(entry, pod)

    def _zone(self, node: str) -> str:
        entry = self.client.cached(kinds.NODES, "", node) if node else None
        return entry.labels.get(ZONE_LABEL, "") if entry else ""


def slice_ports(service: Obj, backend: Backend) -> list[Obj]:
    ports = []
    for port in service["spec"].get("ports") or ():
        number = backends.port_number(backend.pod, port)
        if number is not None:
            made = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
            if port.get("appProtocol"):
                made["appProtocol"] = port["appProtocol"]
            ports.append(made)
    return ports


def slice_endpoint(service: Obj, backend: Backend, address_type: str, zone: str) -> Obj | None:
    """None: the pod has no address of that type."""
    pod = backend.pod
    addresses = [address.ip for address in pod.addresses if address.family == address_type]
    if not addresses:
        return None
    always_ready = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Obj = {
        "addresses": addresses,
        "conditions": {
            "ready": always_ready or (pod.ready and not pod.deleting),
            "serving": pod.ready,
            "terminating": pod.deleting,
        },
        "targetRef": backend.reference(),
    }
    optional = {"nodeName": pod.node, "zone": zone, "hostname": backends.hostname_of(backend, service)}
    endpoint.update({key: value for key, value in optional.items() if value})
    return endpoint


def slice_labels(service: Obj) -> dict[str, str]:
    """The Service's labels, but for the reserved ones, which say whose slice it is."""
    metadata = service["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in RESERVED}
    if backends.is_headless(service):
        labels[backends.HEADLESS_LABEL] = ""
    return {**labels, backends.SERVICE_NAME_LABEL: metadata["name"], backends.MANAGED_BY_LABEL: MANAGER}


def service_of_slice(change: Change, manager: str) -> Iterable[Name]:
    """The Service that a slice of `manager` is about, now or before."""
    entries = (change.entry,) if change.old is None else (change.entry, change.old)
    return {
        (entry.namespace, entry.labels.get(backends.SERVICE_NAME_LABEL, ""))
        for entry in entries
        if entry.labels.get(backends.MANAGED_BY_LABEL) == manager
    }


async def carry_out(
    controller: Controller[Name],
    key: Name,
    wanted: Plan,
    labels: Mapping[str, str],
    owner: Obj,
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Write the plan: new slices first, so that no endpoint is missing meanwhile, deletions last."""
    client = controller.client
    for each in sorted(wanted.writes, key=lambda each: each.slice is not None):
        if each.slice is None:
            new = _new_slice(key, each, labels, owner, annotations or {})
            try:
                controller.written(key, kinds.ENDPOINT_SLICES, await client.create(kinds.ENDPOINT_SLICES, new))
            except ApiError as error:
                if is_namespace_terminating(error):
                    return
                raise
        else:
            each.slice.update(ports=each.ports, endpoints=each.endpoints)
            await _update(controller, key, each.slice, labels, annotations)
    for kept in wanted.keep:
        if not _is_labelled(kept, labels, annotations):
            await _update(controller, key, kept, labels, annotations)
    for unwanted in wanted.delete:
        metadata = unwanted["metadata"]
        try:
            await client.delete(kinds.ENDPOINT_SLICES, key[0], metadata["name"], uid=metadata["uid"])
        except ApiError as error:
            if error.code != 404:
                raise


def _is_labelled(obj: Obj, labels: Mapping[str, str], annotations: Mapping[str, str] | None) -> bool:
    metadata = obj["metadata"]
    return metadata.get("labels") == labels and (
        annotations is None or (metadata.get("annotations") or {}) == annotations
    )


async def _update(
    controller: Controller[Name],
    key: Name,
    obj: Obj,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None,
) -> None:
    obj["metadata"]["labels"] = dict(labels)
    if annotations is not None:
        obj["metadata"]["annotations"] = dict(annotations)
    controller.written(key, kinds.ENDPOINT_SLICES, await controller.client.update(kinds.ENDPOINT_SLICES, obj))


def _new_slice(key: Name, wanted: Wanted, labels: Mapping[str, str], owner: Obj, annotations: Mapping[str, str]) -> Obj:
    metadata: Obj = {
        "generateName": f"{key[1]}-",
        "namespace": key[0],
        "labels": dict(labels),
        "ownerReferences": [owner],
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    endpoints: Sequence[Obj] = wanted.endpoints
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": wanted.address_type,
        "ports": wanted.ports,
        "endpoints": list(endpoints),
    }
