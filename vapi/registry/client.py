"""Client: the registry for in-process callers (controllers, the syncer), in dicts.

A thin convenience over `Registry`: one named system caller, rows found by
group and plural, objects in the *stored* version of the preferred row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping

from vapi import errors
from vapi.cacher.entry import Change, Entry
from vapi.gvk import GVR, Obj
from vapi.registry.caller import Caller, DeleteOptions, PatchRequest, Preconditions, system_caller
from vapi.registry.plugins.topology import topology_labels
from vapi.registry.pod_calls import PODS, bound
from vapi.registry.registry import Registry
from vapi.resources.resource import Catalog, Propagation, Resource

SERVICES = GVR("", "v1", "services")

Handler = Callable[[Change], None]
"""Synchronous, runs on the loop inside dispatch: keep a key, do not work."""


class Client:
    """Errors are ApiError, as a remote client would get them."""

    def __init__(self, registry: Registry, component: str, *, dry_run: bool = False) -> None:
        self._registry = registry
        self._component = component
        self._dry_run = dry_run

    @property
    def catalog(self) -> Catalog:
        """The rows as they are now."""
        return self._registry.catalog

    def row(self, gvr: GVR) -> Resource:
        row = self._registry.catalog.find(gvr.group, gvr.version, gvr.resource)
        if row is None:
            raise KeyError(f"no such resource: {gvr}")
        return row

    def caller(self) -> Caller:
        """A fresh one: warnings belong to one request."""
        caller = system_caller(self._component)
        caller.dry_run = self._dry_run
        return caller

    # --- reads, from the watch cache: synchronous, current as of the last event ---------------------

    def cached(self, gvr: GVR, namespace: str, name: str) -> Entry | None:
        """The entry in the view, or None. `entry.obj()` is a private copy."""
        return self._registry.cached(gvr, namespace, name)

    def entries(self, gvr: GVR, namespace: str = "") -> Iterable[Entry]:
        """All entries of the view, in key order; "" for all namespaces."""
        return self._registry.entries(gvr, namespace)

    def on_change(self, gvr: GVR, handler: Handler) -> Callable[[], None]:
        """Calls `handler` for every change from now on; the answer takes it off. Combine with `entries` to start."""
        return self._registry.on_change(gvr, handler)

    # --- reads and writes through the registry ------------------------------------------------------

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj:
        """Not older than the latest acknowledged write. Raises ApiError 404."""
        return (await self._registry.get(self.row(gvr), namespace, name)).obj()

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        namespace = obj["metadata"].get("namespace", "")
        return (await self._registry.create(self.caller(), self.row(gvr), namespace, obj)).entry.obj()

    async def copy(self, gvr: GVR, obj: Obj) -> Obj:
        """As `create`, of what is there already on the host: uid and age are kept, no admission is asked."""
        namespace = obj["metadata"].get("namespace", "")
        caller = self.caller()
        caller.copies = True
        return (await self._registry.create(caller, self.row(gvr), namespace, obj)).entry.obj()

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        """Compare-and-swap on metadata.resourceVersion, if it is there. Raises ApiError 409."""
        return (await self.put(gvr, obj, subresource=subresource)).obj()

    async def put(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Entry:
        """As `update` of `obj`, which becomes the registry's own; for who only wants to know the revision."""
        metadata = obj["metadata"]
        written = await self._registry.update(
            self.caller(), self.row(gvr), metadata.get("namespace", ""), metadata["name"], obj, subresource=subresource
        )
        return written.entry

    async def patch(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        body: bytes,
        *,
        content_type: str,
        subresource: str = "",
        force: bool = False,
    ) -> Obj:
        """`force`: of server-side apply."""
        patch = PatchRequest(content_type=content_type, body=body, force=force, field_validation="Ignore")
        written = await self._registry.patch(
            self.caller(), self.row(gvr), namespace, name, patch, subresource=subresource
        )
        return written.entry.obj()

    async def bind(
        self,
        namespace: str,
        name: str,
        node: str,
        *,
        uid: str,
        annotations: Mapping[str, str] | None = None,
        scheduled: dt.datetime | None = None,
    ) -> Obj:
        """Put a Pod on a node, once, with what a Binding brings: labels, annotations. Raises ApiError 404, 409.

        `scheduled`: since when it is, of the condition PodScheduled; now, if nobody knows better.
        """
        binding = {"uid": uid, "labels": topology_labels(self.cached, node), "annotations": annotations}
        written = await self._registry.change(
            self.caller(),
            self.row(PODS),
            namespace,
            name,
            lambda pod: bound(pod, name, node, binding, scheduled or self._registry.clock.now()),
            subresource="binding",
            tracked=True,
        )
        return written.entry.obj()

    async def renumber(self, namespace: str, name: str, change: Callable[[Obj], None], *, uid: str) -> Obj:
        """Edit the spec of a Service past its strategy: no update changes an address. Raises ApiError 404, 409."""

        def renumbered(service: Obj) -> Obj:
            if service["metadata"]["uid"] != uid:
                raise errors.conflict(SERVICES, name)
            change(service["spec"])
            return service

        written = await self._registry.change(
            self.caller(), self.row(SERVICES), namespace, name, renumbered, subresource="numbers", tracked=True
        )
        return written.entry.obj()

    async def delete(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period_s: int | None = None,
        propagation: Propagation | None = None,
    ) -> bool:
        """Whether the object is gone now (False: it is deleting). Raises ApiError 404, 409."""
        options = DeleteOptions(
            grace_period_s=grace_period_s,
            propagation=propagation,
            preconditions=Preconditions(uid=uid, resource_version=resource_version),
        )
        written = await self._registry.delete(self.caller(), self.row(gvr), namespace, name, options)
        return written.removed

    def named(self, component: str) -> Client:
        """The same registry under another component's name."""
        return Client(self._registry, component)

    def rehearsing(self) -> Client:
        """The same, whose writes are dry runs."""
        return Client(self._registry, self._component, dry_run=True)
