"""Views: what translations ask of the virtual cache, decoded once and kept until it changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sync.translator import ENDPOINTSLICES, NAMESPACES, SERVICES, ServiceLink
from sync.translators.endpointslices import SERVICE_NAME
from sync.translators.podenv import service_link
from sync.virtual import Record, VirtualCluster
from vapi.gvk import GVR, Obj

SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
DNS = ("kube-system", "kube-dns")
MAX_KEPT = 1_000
"""Decoded Services kept; beyond that all are dropped and read anew."""


class Views:
    """Subscribed until `close`. Runs on the loop, never awaits."""

    def __init__(self, virtual: VirtualCluster) -> None:
        self._virtual = virtual
        self._links: dict[str, dict[str, ServiceLink]] = {}
        self._services: dict[tuple[str, str], Obj] = {}
        self._slices: dict[str, dict[str, dict[str, Record]]] = {}
        """Namespace that was asked for → Service → name → EndpointSlice."""
        self._off = [
            virtual.on_change(SERVICES, self._service_changed),
            virtual.on_change(ENDPOINTSLICES, self._slice_changed),
        ]

    def close(self) -> None:
        while self._off:
            self._off.pop()()

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        entry = self._virtual.cached(NAMESPACES, "", namespace)
        return entry.labels if entry is not None else {}

    def namespaces(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        return ((e.name, e.labels) for e in self._virtual.entries(NAMESPACES))

    def service(self, namespace: str, name: str) -> Obj | None:
        """Shared: read only."""
        kept = self._services.get((namespace, name))
        if kept is None:
            entry = self._virtual.cached(SERVICES, namespace, name)
            if entry is None:
                return None
            if len(self._services) >= MAX_KEPT:
                self._services.clear()
            kept = self._services[namespace, name] = entry.obj()
        return kept

    def slices(self, namespace: str, service: str) -> Collection[Record]:
        """EndpointSlices that name a Service as theirs. At the first a look at all of the namespace, 0.2 µs each."""
        known = self._slices.get(namespace)
        if known is None:
            known = self._slices[namespace] = {}
            for entry in self._virtual.entries(ENDPOINTSLICES, namespace):
                known.setdefault(entry.labels.get(SERVICE_NAME, ""), {})[entry.name] = entry
        return list(known.get(service, {}).values())

    def _slice_changed(self, entry: Record, old: Record | None) -> None:
        known = self._slices.get(entry.namespace)
        if known is None:
            return
        if old is not None:
            of_old = old.labels.get(SERVICE_NAME, "")
            known.get(of_old, {}).pop(entry.name, None)
            if not known.get(of_old, True):
                del known[of_old]
        live = self._virtual.cached(ENDPOINTSLICES, entry.namespace, entry.name)
        if live is not None:
            known.setdefault(live.labels.get(SERVICE_NAME, ""), {})[live.name] = live

    def terminating(self, namespace: str) -> bool:
        entry = self._virtual.cached(NAMESPACES, "", namespace)
        return entry is not None and entry.deleting

    def account(self, namespace: str, name: str) -> Obj | None:
        """A ServiceAccount, private."""
        entry = self._virtual.cached(SERVICE_ACCOUNTS, namespace, name)
        return entry.obj() if entry is not None else None

    def dns_endpoints(self) -> Collection[tuple[str, int]]:
        """(address, port) behind the tenant's DNS Service where no pods are, else nothing."""
        service = self.service(*DNS)
        if service is None or service["spec"].get("selector"):
            return ()
        slices = [entry.obj() for entry in self.slices(*DNS)]
        return {
            (address, port["port"])
            for each in slices
            for endpoint in each.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
            for port in each.get("ports") or ()
            if port.get("port")
        }

    def service_links(self, namespace: str) -> Collection[ServiceLink]:
        """Of the Services of a namespace that have an address."""
        links = self._links.get(namespace)
        if links is None:
            links = self._links[namespace] = {}
            for entry in self._virtual.entries(SERVICES, namespace):
                self._link(links, entry)
        return links.values()

    def _link(self, links: dict[str, ServiceLink], entry: Record) -> None:
        link = service_link(entry.obj())
        if link is None:
            links.pop(entry.name, None)
        else:
            links[entry.name] = link

    def _service_changed(self, entry: Record, _old: Record | None) -> None:
        """One Service, not its namespace anew: with 5,000 of them that would hold the loop for 50 ms a change."""
        self._services.pop((entry.namespace, entry.name), None)
        links = self._links.get(entry.namespace)
        if links is None:
            return
        if self._virtual.cached(SERVICES, entry.namespace, entry.name) is None:
            links.pop(entry.name, None)
        else:
            self._link(links, entry)
