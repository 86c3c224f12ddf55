"""Views: what translations ask of the virtual cache, decoded once and kept until it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

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
        self._remove: Callable[[], None] = virtual.on_change(SERVICES, self._service_changed)

    def close(self) -> None:
        self._remove()

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
        slices = [
            e.obj() for e in self._virtual.entries(ENDPOINTSLICES, DNS[0]) if e.labels.get(SERVICE_NAME) == DNS[1]
        ]
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
