"""Installer: keeps the objects of `manifest` in the tenant's kube-system.

Server-side apply under a manager of its own: what the tenant sets of fields
that we leave out stays (replicas, a sidecar), what it changes of ours is put
back, what it deletes is made again. An apply that changes nothing writes nothing, so our own events end the loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from vapi import encoding
from vapi.cacher.entry import Change
from vapi.control.controller import Context, Controller, Sources
from vapi.control.workqueue import Retry
from vapi.dns import manifest
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj

FIELD_MANAGER = "vapi-dns"
APPLY = "application/apply-patch+yaml"

WITHOUT_NUMBERS_S = 0.2
"""Nothing tells when the host is there; a look costs nothing."""

Key = tuple[GVR, str, str]


class DnsInstaller(Controller[Key]):
    name = "dns-installer"

    def __init__(
        self, context: Context, settings: manifest.Settings, numbers_given: Callable[[], bool] = lambda: True
    ) -> None:
        """`numbers_given`: whether somebody is there who gives Services their numbers."""
        super().__init__(context)
        self._numbers_given = numbers_given
        self._numbers: dict[Key, Obj] = {}
        """Of a Service that was deleted to be made anew: pods know them."""
        self.client = context.client.named(FIELD_MANAGER)
        self._settings = settings
        self._wanted = {_key(obj): obj for obj in manifest.objects(settings)}
        self._surplus = {(gvr, manifest.NAMESPACE, name) for gvr, name in manifest.surplus(settings)}

    def sources(self) -> Sources[Key]:
        keys = frozenset(self.all_keys())
        return {gvr: _ours(gvr, keys) for gvr in {key[0] for key in keys}}

    def all_keys(self) -> Iterable[Key]:
        return [*self._wanted, *self._surplus]

    async def reconcile(self, key: Key) -> None:
        if key in self._surplus:
            await self._remove(key)
            return
        wanted = self._wanted[key]
        if key[0] == manifest.SERVICES:
            wanted = await self._replaceable(key, wanted)
        try:
            await self.client.patch(*key, encoding.dumps(wanted), content_type=APPLY, force=True)
        except ApiError as error:
            if error.code != 503:
                raise
            raise Retry(None, error.message) from None  # a Service gets its number once the host is there

    async def _remove(self, key: Key) -> None:
        entry = self.client.cached(*key)
        if entry is None or entry.deleting:
            return
        managers = entry.obj()["metadata"].get("managedFields") or ()
        if any(m.get("manager") == FIELD_MANAGER for m in managers):
            await _gone(self.client.delete(*key, uid=entry.uid))

    async def _replaceable(self, key: Key, wanted: Obj) -> Obj:
        """A Service that gets or loses its selector is made anew, with its old address.

        Else the host's controllers would leave their slices, and with them the old server's address, behind for ever.
        """
        if not self._numbers_given():
            raise Retry(WITHOUT_NUMBERS_S)
        entry = self.client.cached(*key)
        if entry is not None:
            spec = entry.obj()["spec"]
            if bool(spec.get("selector")) == bool(wanted["spec"].get("selector")):
                self._numbers.pop(key, None)
                return wanted
            self._numbers[key] = {k: spec[k] for k in ("clusterIP", "clusterIPs") if spec.get(k)}
            await _gone(self.client.delete(*key, uid=entry.uid))
        return {**wanted, "spec": {**wanted["spec"], **self._numbers.get(key, {})}}


def _ours(gvr: GVR, keys: frozenset[Key]) -> Callable[[Change], Iterable[Key]]:
    def concerned(change: Change) -> Iterable[Key]:
        key = (gvr, change.entry.namespace, change.entry.name)
        return (key,) if key in keys else ()

    return concerned


async def _gone(deletion: Awaitable[object]) -> None:
    """A race with the tenant's own delete."""
    try:
        await deletion
    except ApiError as error:
        if error.code != 404:
            raise


def _key(obj: Obj) -> Key:
    metadata = obj["metadata"]
    return manifest.RESOURCES[obj["kind"]], metadata.get("namespace", ""), metadata["name"]
