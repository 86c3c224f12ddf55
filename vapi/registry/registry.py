"""Registry: create, get, list, update, patch, delete and watch for any row; the one write path of the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vapi.cacher.entry import Entry
from vapi.cacher.watcher import Watcher
from vapi.gvk import Obj
from vapi.registry.caller import Caller, DeleteOptions, ListOptions, PatchRequest, WatchOptions
from vapi.resources.resource import Catalog, Resource


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind, in the stored version.

    `entry` is the object as now stored (or, on dry run, as it would be, with
    revision 0: no resourceVersion is shown). `created`: it did not exist before.
    `removed`: the write deleted it (a DELETE at once, or an update that emptied
    the finalizers of a deleting object).
    """

    entry: Entry
    created: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in key order at one revision. `remaining` is None when a selector makes it unknown or nothing follows."""

    entries: Sequence[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


class Registry:
    """All methods take rows of `catalog` and raise only ApiError (and CancelledError)."""

    catalog: Catalog

    async def create(self, caller: Caller, row: Resource, namespace: str, obj: Obj) -> Written:
        """`obj` is decoded, in the row's version, and becomes the registry's own."""
        raise NotImplementedError

    async def get(self, row: Resource, namespace: str, name: str, *, resource_version: str = "") -> Entry:
        raise NotImplementedError

    async def list(self, row: Resource, namespace: str, options: ListOptions) -> Listing:
        """`namespace` "" lists all namespaces."""
        raise NotImplementedError

    async def update(
        self, caller: Caller, row: Resource, namespace: str, name: str, obj: Obj, *, subresource: str = ""
    ) -> Written:
        """PUT; subresource "" or "status" (and the others whose body is the object itself)."""
        raise NotImplementedError

    async def patch(
        self, caller: Caller, row: Resource, namespace: str, name: str, patch: PatchRequest, *, subresource: str = ""
    ) -> Written:
        """Any of the four patch types; apply may create."""
        raise NotImplementedError

    async def delete(self, caller: Caller, row: Resource, namespace: str, name: str, options: DeleteOptions) -> Written:
        raise NotImplementedError

    async def delete_collection(
        self, caller: Caller, row: Resource, namespace: str, list_options: ListOptions, options: DeleteOptions
    ) -> Listing:
        """The entries that were deleted (or marked)."""
        raise NotImplementedError

    async def watch(self, row: Resource, namespace: str, name: str, options: WatchOptions) -> Watcher:
        """Option errors are raised here, before the first byte; a too old version is an ERROR event of the watcher."""
        raise NotImplementedError
