"""Field ownership for the write path: patch, managed_fields and apply of this room, bound to the schemas of rows."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

from vapi import errors
from vapi.clock import rfc3339
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.registry import apply as apply_module
from vapi.registry import go_order, gotext, managed_fields, patch, zero_objects
from vapi.registry.caller import Caller, PatchRequest
from vapi.registry.fieldpath import FieldSet
from vapi.registry.patch import Patch, PatchType
from vapi.resources.resource import Catalog, Resource
from vapi.schema import jsontext, unstructured, yamltext
from vapi.schema.decode import SCHEME, FieldValidation, strict_text
from vapi.schema.schemas import Schemas
from vapi.schema.types import SchemaType
from vapi.schema.unstructured import TypedError
from vapi.schema.yamltext import YamlError

STATUS_IS_NOT_WRITTEN: FieldSet = {"f:status": {}}
"""By the main endpoint of a kind with /status."""


NAMESPACE_DIFFERS = "the namespace of the provided object does not match the namespace sent on the request"


class FieldOwnership:
    """Objects are in the row's version. Runs on the loop, never awaits."""

    def __init__(self, schemas: Schemas, catalog: Catalog | None = None) -> None:
        """`catalog`: the built-in rows, for owners by another version of a kind; None: they keep what they have."""
        self._schemas = schemas
        self._catalog = catalog
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
            known=partial(self._is_convertible, row),
            convert=partial(self._in_version, row) if _converts(row, self._catalog) else None,
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
        strategic = type_ is PatchType.STRATEGIC
        try:
            if not strategic:
                self._check_version_and_kind(row, patched.obj)
            checked = unstructured.check_typed(patched.obj, row.gvk, schemas=self._schemas, strategic=strategic)
        except TypedError as error:
            raise self._invalid_result(row, old, parsed, str(error)) from None
        # a merged document is encoded with sorted keys and read again
        found = checked.complaints if strategic else sorted(checked.complaints)
        complaints = [*patched.unknown_fields, *found]
        if complaints and request.field_validation == FieldValidation.STRICT:
            why = f"strict decoding error: {strict_text(complaints)}"
            raise self._invalid_result(row, old, parsed, why)
        if request.field_validation == FieldValidation.WARN:
            for complaint in complaints:
                caller.warn(complaint)
        return checked.obj

    def _invalid_result(self, row: Resource, old: Obj, parsed: Patch, why: str) -> errors.ApiError:
        """The refusal shows what the patch made of the object as Go encodes it."""
        shown = go_order.ordered(old, self._schemas.types.for_gvk(row.gvk))
        patched = patch.apply_patch(shown, parsed, self._schema(row)).obj
        return patch.invalid_result(go_order.sorted_where_patched(patched, parsed.value), why, parsed)

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
        obj = apply_module.apply(
            live=live,
            config=parsed.value,
            schema=self._schema(row),
            gvk=row.gvk,
            manager=caller.field_manager,
            force=request.force,
            subresource=subresource,
            now=rfc3339(now),
            zero=self._zero(row),
            ignored=_ignored(row, subresource),
            known=partial(self._is_convertible, row),
            convert=partial(self._in_version, row) if _converts(row, self._catalog) else None,
        )
        if not row.custom:
            obj = self._converted(row, obj)
        _check_identity(row, obj, name=name, namespace=namespace, live=live)
        return obj

    def _is_convertible(self, row: Resource, api_version: str) -> bool:
        """Whether an owner's version is one that the object can be converted to; others are forgotten.

        So an Event's are once it is written through its other group. Source: structured-merge-diff
        IsMissingVersionError; measured on 1.37.1.
        """
        if row.custom or api_version == row.gvk.api_version:
            return True
        found = GroupVersion.parse(api_version)
        registered = self._schemas.types.is_registered(GVK(found.group, found.version, row.kind))
        return found.group == row.gvk.group and registered

    def _in_version(self, row: Resource, obj: Obj, api_version: str) -> tuple[Obj, SchemaType] | None:
        """`obj`, of `row`'s version, in another one of its group."""
        if api_version == row.gvk.api_version:
            return obj, self._schema(row)
        found = GroupVersion.parse(api_version)
        other = self._catalog.find(found.group, found.version, row.gvr.resource) if self._catalog else None
        if other is None or other.stored is not row.stored:
            return None
        stored = row.to_stored(obj) if row.to_stored else obj
        return other.from_stored(stored) if other.from_stored else stored, self._schema(other)

    def _converted(self, row: Resource, obj: Obj) -> Obj:
        """What an apply made in the form of its Go type, so without nulls and the like. Raises ApiError 500."""
        try:
            return unstructured.check_typed(obj, row.gvk, schemas=self._schemas, strategic=True).obj
        except TypedError as error:
            kind = f"{row.gvk.api_version if row.gvk.group else '/' + row.gvk.version}, Kind={row.kind}"
            metadata = obj.get("metadata") or {}
            place = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {kind}"
            raise errors.bare_error(
                500,
                f"failed to convert new object ({place}) to proper version: "
                f"unable to convert unstructured object to {kind}: {error}",
            ) from None

    def _check_version_and_kind(self, row: Resource, obj: Obj) -> None:
        """Raises TypedError: the decoder looks for both before it knows a type."""
        if obj.get("kind") == row.kind and obj.get("apiVersion") == row.gvk.api_version:
            return
        for name in ("apiVersion", "kind"):
            value = obj.get(name)
            if value is not None and not isinstance(value, str):
                problem = f"cannot unmarshal {gotext.json_kind(value)} into Go struct field .{name} of type string"
                raise TypedError(f"couldn't get version/kind; json parse error: json: {problem}")
        api_version, kind = obj.get("apiVersion") or row.gvk.api_version, obj.get("kind") or row.kind
        if api_version.count("/") > 1:
            raise TypedError(f"unexpected GroupVersion string: {api_version}")
        group_version = GroupVersion.parse(api_version)
        if not self._schemas.types.is_registered(GVK(group_version.group, group_version.version, kind)):
            raise TypedError(f'no kind "{kind}" is registered for version "{api_version}" in scheme "{SCHEME}"')

    def _schema(self, row: Resource) -> SchemaType:
        return self._schemas.definitions.for_gvk(row.gvk)

    def _zero(self, row: Resource) -> Obj:
        zero = self._zeros.get(row.gvk)
        if zero is None:
            zero = self._zeros[row.gvk] = zero_objects.zero_object(self._schemas.types.for_gvk(row.gvk))
        return zero


def _ignored(row: Resource, subresource: str) -> FieldSet | None:
    return STATUS_IS_NOT_WRITTEN if not subresource and "status" in row.subresources else None


def _check_identity(row: Resource, obj: Obj, *, name: str, namespace: str, live: Obj | None) -> None:
    """Whether what an apply made is for this place. Raises ApiError. Source: apiserver patchResource, checkName."""
    metadata: Obj = obj.get("metadata") or {}
    named = metadata.get("name")
    if not named:
        raise errors.bad_request(nameless(name))
    if named != name:
        raise errors.bad_request(f"the name of the object ({named}) does not match the name on the URL ({name})")
    placed = metadata.get("namespace")
    if row.namespaced and placed and placed != namespace:
        raise errors.bad_request(NAMESPACE_DIFFERS)
    version = metadata.get("resourceVersion")
    if version and (live is None or version != live["metadata"]["resourceVersion"]):
        raise errors.conflict(row.gvr, name)
    if live is None:
        apply_module.refuse_uid_on_create(row.gvr, name, obj)


def nameless(name: str) -> str:
    """Source: apiserver handlers checkName."""
    return f"the name of the object ({name} based on URL) was undeterminable: name must be provided"


def _converts(row: Resource, catalog: Catalog | None) -> bool:
    """Whether its kind has a version that is not stored as it is: autoscaling's."""
    return catalog is not None and row.gvr.group == "autoscaling" and row.stored is not None


def _load_yaml(body: bytes) -> Any:
    """JSON is YAML too, and what clients send. Raises ValueError."""
    try:
        value, _duplicates = yamltext.parse(body)
    except YamlError as error:
        raise ValueError(f"error converting YAML to JSON: {error}") from None
    return jsontext.plain(value)
