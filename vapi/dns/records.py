"""Records: what of Services and EndpointSlices names depend on, and an index of it. Pure; knows no cache and no DNS."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vapi.gvk import Obj

NO_PORT = -1
"""Of endpoints without ports: they have an address and no SRV record."""

Name = tuple[str, str]
"""(namespace, Service)."""


@dataclass(frozen=True, slots=True)
class Port:
    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """`addresses` is empty for a headless one and for an ExternalName, which has `external_name`."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    external_name: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`label`: its hostname, or its address as the slice writes it, with dashes."""

    address: str
    label: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The ready endpoints of one EndpointSlice. `type`: of their records, A or AAAA."""

    type: str
    ports: tuple[Port, ...]
    endpoints: tuple[Endpoint, ...]


def service(obj: Obj) -> Service:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    external = spec.get("type") == "ExternalName"
    addresses = () if external else spec.get("clusterIPs") or (spec.get("clusterIP") or "",)
    return Service(
        metadata["namespace"],
        metadata["name"],
        tuple(a for a in addresses if a not in ("", "None")),
        spec.get("externalName", "") if external else "",
        _ports(spec.get("ports") or ()),
    )


def slice_of(obj: Obj) -> Slice:
    """A `ready` that is not said counts as true. Slices of names (FQDN) have no addresses."""
    ports = tuple(p for p in _ports(obj.get("ports") or ()) if p.port)
    endpoints = [] if obj.get("addressType") == "FQDN" else obj.get("endpoints") or []
    return Slice(
        "AAAA" if obj.get("addressType") == "IPv6" else "A",
        ports or (Port("", "TCP", NO_PORT),),
        tuple(
            Endpoint(_canonical(address), (endpoint.get("hostname") or _dashed(address)).lower())
            for endpoint in endpoints
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint.get("addresses") or ()
        ),
    )


def _ports(ports: Iterable[Obj]) -> tuple[Port, ...]:
    return tuple(
        Port((p.get("name") or "").lower(), (p.get("protocol") or "TCP").lower(), p.get("port") or 0) for p in ports
    )


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def family(address: str) -> str:
    """A or AAAA, of what is known to be an address."""
    return "AAAA" if ":" in address else "A"


def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address)) if ":" in address else address


class Index:
    """All that a lookup asks. Runs on the loop, never awaits. One entry a Service, a slice and an address."""

    def __init__(self) -> None:
        self.serial = 0
        """Of the SOA record: grows with every change."""
        self._namespaces: set[str] = set()
        self._services: dict[Name, Service] = {}
        self._slices: dict[Name, dict[str, Slice]] = {}
        self._service_of: dict[tuple[str, str], Name] = {}
        """(namespace, slice) → its Service."""
        self._by_address: dict[str, dict[Name, None]] = {}
        self._slices_at: dict[str, dict[tuple[str, str], None]] = {}
        """Address of an endpoint → its slices."""

    # --- reading ----------------------------------------------------------------------------------------

    def has_namespace(self, name: str) -> bool:
        return name in self._namespaces

    def service(self, namespace: str, name: str) -> Service | None:
        return self._services.get((namespace, name))

    def slices(self, namespace: str, name: str) -> Collection[Slice]:
        return self._slices.get((namespace, name), {}).values()

    def service_at(self, address: str) -> Name | None:
        """Whose cluster IP it is."""
        return next(iter(self._by_address.get(address, ())), None)

    def labels_at(self, address: str) -> list[tuple[str, Name]]:
        """(label, Service) of the endpoints that have it."""
        found = []
        for namespace, slice_name in self._slices_at.get(address, ()):
            name = self._service_of[namespace, slice_name]
            for endpoint in self._slices[name][slice_name].endpoints:
                if endpoint.address == address:
                    found.append((endpoint.label, name))
        return list(dict.fromkeys(found))

    # --- keeping ----------------------------------------------------------------------------------------

    def put_namespace(self, name: str) -> None:
        self._namespaces.add(name)

    def drop_namespace(self, name: str) -> None:
        self._namespaces.discard(name)

    def put_service(self, found: Service) -> None:
        self.drop_service(found.namespace, found.name)
        name = (found.namespace, found.name)
        self._services[name] = found
        for address in found.addresses:
            self._by_address.setdefault(_canonical(address), {})[name] = None

    def drop_service(self, namespace: str, name: str) -> None:
        old = self._services.pop((namespace, name), None)
        for address in old.addresses if old is not None else ():
            _discard(self._by_address, _canonical(address), (namespace, name))

    def put_slice(self, namespace: str, slice_name: str, service_name: str, found: Slice) -> None:
        """`service_name` is "" where no label says it: then the slice is of nobody."""
        self.drop_slice(namespace, slice_name)
        if not service_name:
            return
        name = (namespace, service_name)
        self._service_of[namespace, slice_name] = name
        self._slices.setdefault(name, {})[slice_name] = found
        for endpoint in found.endpoints:
            self._slices_at.setdefault(endpoint.address, {})[namespace, slice_name] = None

    def drop_slice(self, namespace: str, slice_name: str) -> None:
        name = self._service_of.pop((namespace, slice_name), None)
        if name is None:
            return
        old = self._slices[name].pop(slice_name)
        if not self._slices[name]:
            del self._slices[name]
        for endpoint in old.endpoints:
            _discard(self._slices_at, endpoint.address, (namespace, slice_name))


def _discard(table: dict[str, dict[Name, None]], key: str, value: Name) -> None:
    values = table.get(key)
    if values is not None:
        values.pop(value, None)
        if not values:
            del table[key]


def labels_service(labels: Mapping[str, str]) -> str:
    """The Service that a slice belongs to, or ""."""
    return labels.get("kubernetes.io/service-name", "")
