"""What Endpoints and EndpointSlices have in common: which pods a Service means, and at which ports. Pure.

Source: endpointslice staging utils.go, util/controller_utils.go; pkg/controller/endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vapi.cacher.entry import Change, Entry
from vapi.control.informer import Name, Selector, SelectorIndex
from vapi.control.pods import PodFacts
from vapi.gvk import Obj

HEADLESS_LABEL = "service.kubernetes.io/headless"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"

NONE = "None"


def selector_of(service: Obj) -> Selector | None:
    """None: no controller makes endpoints for it."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return None
    return dict(spec.get("selector") or {}) or None


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    return selector is not None and selector.items() <= labels.items()


def services_of_pod(services: SelectorIndex, change: Change) -> Iterable[Name]:
    """The Services that mean the pod now or meant it before."""
    entry, old = change.entry, change.old
    found = services.meaning(entry.namespace, entry.labels)
    if old is not None and old.labels != entry.labels:
        found += services.meaning(entry.namespace, old.labels)
    return [(entry.namespace, name) for name in dict.fromkeys(found)]


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod that a Service means."""

    entry: Entry
    pod: PodFacts

    def reference(self) -> Obj:
        return {"kind": "Pod", "namespace": self.entry.namespace, "name": self.entry.name, "uid": self.entry.uid}


def belongs(pod: PodFacts, *, with_terminating: bool) -> bool:
    """Whether the pod is an endpoint at all, ready or not."""
    return bool(pod.addresses) and not pod.finished and (with_terminating or not pod.deleting)


def hostname_of(backend: Backend, service: Obj) -> str:
    """The name it has in the DNS of a headless Service that is its subdomain; else ""."""
    metadata = service["metadata"]
    same = backend.pod.subdomain == metadata["name"] and backend.entry.namespace == metadata["namespace"]
    return backend.pod.hostname if same else ""


def port_number(pod: PodFacts, port: Obj) -> int | None:
    """Of a Service port in that pod; None: it has no port of that name."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    protocol = port.get("protocol", "TCP")
    return next((p.number for p in pod.ports if p.name == target and p.protocol == protocol), None)


def is_headless(service: Obj) -> bool:
    return (service["spec"].get("clusterIP") or NONE) == NONE


def port_key(port: Obj) -> tuple[Any, ...]:
    return port.get("name") or "", port.get("protocol") or "TCP", port.get("port"), port.get("appProtocol") or ""
