"""Field ownership for the write path: managed_fields and apply of this room, bound to the schemas of the rows."""

from __future__ import annotations

import datetime as dt
from typing import Protocol

from vapi.gvk import Obj
from vapi.registry.caller import Caller, PatchRequest
from vapi.resources.resource import Resource
from vapi.schema.definitions import Definitions


class FieldOwnership(Protocol):
    """`now` stamps entries whose set changes. Objects are in the row's version."""

    def track(
        self, row: Resource, old: Obj | None, new: Obj, *, manager: str, subresource: str, now: dt.datetime
    ) -> None:
        """Set `new`'s managedFields after a create, update or non-apply patch by `manager`."""

    def patch(self, row: Resource, old: Obj, patch: PatchRequest) -> Obj:
        """`old` (not edited) after a JSON, merge or strategic merge patch. Raises ApiError."""

    def apply(
        self,
        row: Resource,
        live: Obj | None,
        patch: PatchRequest,
        *,
        caller: Caller,
        subresource: str,
        name: str,
        namespace: str,
        now: dt.datetime,
    ) -> Obj:
        """`live` (None: create) after a server-side apply, managedFields included. Raises ApiError."""


class SchemaOwnership:
    """The real one. Until `managed_fields` and `apply` of this room are there it tracks nothing."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def track(
        self, row: Resource, old: Obj | None, new: Obj, *, manager: str, subresource: str, now: dt.datetime
    ) -> None:
        return

    def patch(self, row: Resource, old: Obj, patch: PatchRequest) -> Obj:
        raise NotImplementedError

    def apply(
        self,
        row: Resource,
        live: Obj | None,
        patch: PatchRequest,
        *,
        caller: Caller,
        subresource: str,
        name: str,
        namespace: str,
        now: dt.datetime,
    ) -> Obj:
        raise NotImplementedError
