"""Field ownership for the write path: patch, managed_fields and apply of this room, bound to the schemas of rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from vapi import errors
from vapi.clock import rfc3339
from vapi.gvk import GVK, Obj
from vapi.registry import apply as apply_module
from vapi.registry import managed_fields, patch, zero_objects
from vapi.registry.caller import Caller, PatchRequest
from vapi.registry.fieldpath import FieldSet
from vapi.registry.patch import PatchType
from vapi.resources.resource import Resource
from vapi.schema import jsontext, unstructured, yamltext
from vapi.schema.decode import FieldValidation, strict_text
from vapi.schema.schemas import Schemas
from vapi.schema.types import SchemaType
from vapi.schema.unstructured import TypedError
from vapi.schema.yamltext import YamlError

STATUS_IS_NOT_WRITTEN: FieldSet = {"f:status": {}}
"""By the main endpoint of a kind with /status."""


class FieldOwnership:
    """Objects are in the row's version. Runs on the loop, never awaits."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._zeros: dict[GVK, Obj] = {}

    def track(
        self, row: Resource, old: Obj | None, new: Obj, *, manager: str, subresource: str, now: dt.datetime
    ) -> None:
        """Set `new`'s managedFields after a create, update or non-apply patch by `manager`."""
        entries = managed_fields.track_update(
            old=old,
            new=new,
            schema=self._schema(row),
            manager=manager,
            api_version=row.gvk.api_version,
            subresource=subresource,
            now=rfc3339(now),
            zero=self._zero(row),
            ignored=_ignored(row, subresource),
        )
        metadata = new["metadata"]
        if entries:
            metadata["managedFields"] = entries
        else:
            metadata.pop("managedFields", None)

    def patch(self, row: Resource, old: Obj, request: PatchRequest, caller: Caller) -> Obj:
        """`old` (not edited) after a JSON, merge or strategic merge patch, decoded again. Raises ApiError."""
        type_ = patch.patch_type(request.content_type, custom=row.custom)
        parsed = patch.parse(type_, request.body, load_yaml=_load_yaml, field_validation=request.field_validation)
        patched = patch.apply_patch(old, parsed, self._schema(row))
        if row.custom:
            return patched.obj
        try:
            checked = unstructured.check_typed(
                patched.obj, row.gvk, schemas=self._schemas, strategic=type_ is PatchType.STRATEGIC
            )
        except TypedError as error:
            raise patch.invalid_result(patched.obj, str(error)) from None
        complaints = [*patched.unknown_fields, *checked.complaints]
        if complaints and request.field_validation == FieldValidation.STRICT:
            raise patch.invalid_result(patched.obj, f"strict decoding error: {strict_text(complaints)}")
        if request.field_validation == FieldValidation.WARN:
            for complaint in complaints:
                caller.warn(complaint)
        return checked.obj

    def apply(
        self,
        row: Resource,
        live: Obj | None,
        request: PatchRequest,
        *,
        caller: Caller,
        subresource: str,
        name: str,
        namespace: str,
        now: dt.datetime,
    ) -> Obj:
        """`live` (None: create) after a server-side apply, managedFields included. Raises ApiError."""
        parsed = patch.parse(
            PatchType.APPLY, request.body, load_yaml=_load_yaml, field_validation=request.field_validation
        )
        config = parsed.value
        if isinstance(config, dict):
            config = _complete(row, config, name=name, namespace=namespace, live=live)
            if live is None:
                apply_module.refuse_uid_on_create(row.gvr, name, config)
        return apply_module.apply(
            live=live,
            config=config,
            schema=self._schema(row),
            gvk=row.gvk,
            manager=caller.field_manager,
            force=request.force,
            subresource=subresource,
            now=rfc3339(now),
            zero=self._zero(row),
            ignored=_ignored(row, subresource),
        )

    def _schema(self, row: Resource) -> SchemaType:
        return self._schemas.definitions.for_gvk(row.gvk)

    def _zero(self, row: Resource) -> Obj:
        zero = self._zeros.get(row.gvk)
        if zero is None:
            zero = self._zeros[row.gvk] = zero_objects.zero_object(self._schemas.types.for_gvk(row.gvk))
        return zero


def _ignored(row: Resource, subresource: str) -> FieldSet | None:
    return STATUS_IS_NOT_WRITTEN if not subresource and "status" in row.subresources else None


def _complete(row: Resource, config: Obj, *, name: str, namespace: str, live: Obj | None) -> Obj:
    """Checks of identity that come before the merge, in upstream's order. Raises ApiError."""
    metadata: Any = config.get("metadata")
    if not isinstance(metadata, Mapping):
        return config
    named = metadata.get("name")
    if named and named != name:
        raise errors.bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")
    placed = metadata.get("namespace")
    if row.namespaced and placed and placed != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    version = metadata.get("resourceVersion")
    if version and (live is None or version != live["metadata"]["resourceVersion"]):
        raise errors.conflict(row.gvr, name)
    return config


def _load_yaml(body: bytes) -> Any:
    """JSON is YAML too, and what clients send. Raises ValueError."""
    try:
        value, _duplicates = yamltext.parse(body)
    except YamlError as error:
        raise ValueError(str(error)) from None
    return jsontext.plain(value)
