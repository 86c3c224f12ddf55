"""What changed: which keys a change of the tenant's objects is about. Inside dispatch: keeps keys, does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sync.state import Engine, Key
from sync.translator import (
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    INGRESSCLASSES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
    Ref,
    Translator,
)
from sync.translators.endpointslices import SERVICE_NAME
from sync.translators.ingresses import INGRESSES
from sync.translators.networkpolicies import NETWORKPOLICIES
from sync.views import DNS, Views
from sync.virtual import Record
from vapi.control.workqueue import WorkQueue
from vapi.gvk import GVR

PRIORITIES = 4
ON_DEMAND = frozenset({CONFIGMAPS, SECRETS})
"""Synced only while something on the host names them."""


class VirtualChanges:
    """Runs on the loop, never awaits. A key costs 0.3 µs: all pods of a Namespace of 10,000 are 3 ms (law 9)."""

    def __init__(self, engine: Engine, rows: Mapping[GVR, Translator], views: Views, queue: WorkQueue[Key]) -> None:
        self._engine = engine
        self._rows = rows
        self._views = views
        self._queue = queue
        self._subscriptions: list[Callable[[], None]] = []

    def follow(self) -> None:
        """Until `close`."""
        on_change = self._engine.virtual.on_change
        for row in self._rows.values():
            self._subscriptions.append(on_change(row.resource, self._on_virtual(row)))
        self._subscriptions.append(on_change(NAMESPACES, self._namespace_changed))
        self._subscriptions.append(on_change(ENDPOINTSLICES, self._slice_changed))
        if INGRESSES in self._rows:
            self._subscriptions.append(on_change(INGRESSCLASSES, lambda *_change: self._touch_all(INGRESSES)))

    def close(self) -> None:
        while self._subscriptions:
            self._subscriptions.pop()()

    def _on_virtual(self, row: Translator) -> Callable[[Record, Record | None], None]:
        resource, priority = row.resource, row.priority
        tables, references = self._engine.tables, self._engine.references

        def changed(entry: Record, _old: Record | None) -> None:
            key = (resource, entry.namespace, entry.name)
            if resource in ON_DEMAND:
                ref = Ref(*key)
                if not references.wanted(ref) and key not in tables.settled:
                    return
            if resource == SERVICES:
                tables.held[key] = entry.uid
                self._service_changed(entry)
            going = entry.deleting or self._engine.virtual.cached(*key) is None
            self._queue.add(key, 0 if going else priority)

        return changed

    def _service_changed(self, service: Record) -> None:
        """Whether its Endpoints and slices go out hangs on it."""
        if ENDPOINTS in self._rows:
            self._engine.touch((ENDPOINTS, service.namespace, service.name))
        if ENDPOINTSLICES in self._rows:
            for slice_ in self._views.slices(service.namespace, service.name):
                self._engine.touch((ENDPOINTSLICES, service.namespace, slice_.name))

    def _slice_changed(self, entry: Record, _old: Record | None) -> None:
        """Policies name the tenant's DNS by its addresses where it is no pod."""
        if (entry.namespace, entry.labels.get(SERVICE_NAME)) == DNS:
            self._touch_all(NETWORKPOLICIES)

    def _touch_all(self, resource: GVR) -> None:
        """Look at every object of a kind, if it goes to the host."""
        if resource in self._rows:
            for entry in list(self._engine.virtual.entries(resource)):
                self._engine.touch((resource, entry.namespace, entry.name))

    def _namespace_changed(self, entry: Record, old: Record | None) -> None:
        """Its labels are on all of its pods; workloads of one that is going make no more."""
        if entry.deleting and (old is None or not old.deleting):
            for row in self._rows.values():
                if row.pod_template is not None:
                    for workload in list(self._engine.virtual.entries(row.resource, entry.name)):
                        self._engine.touch((row.resource, entry.name, workload.name))
        if old is None or old.labels == entry.labels:
            return
        for pod in list(self._engine.virtual.entries(PODS, entry.name)):
            self._engine.tables.touched.add((PODS, entry.name, pod.name))
            self._queue.add((PODS, entry.name, pod.name), PRIORITIES - 1)
