"""PATCH: from a content type and a body to the patched object, for all types but server-side apply. Pure.

`parse` reads the body as soon as it is there and knows only JSON and YAML; what
the JSON must be is looked at in `apply_patch`, after the object was found (a 404
goes before a malformed patch, upstream, too). Server-side apply is `registry.apply`.
Source: apiserver endpoints/handlers/patch.go; contract §3.10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vapi import encoding, errors
from vapi.errors import ApiError, Cause
from vapi.gvk import GVK, Obj
from vapi.registry import gotext, json_patch, strategic_merge
from vapi.schema import jsontext
from vapi.schema.types import SchemaType

MAX_JSON_PATCH_OPERATIONS = 10_000  # upstream maxJSONPatchOperations


class PatchType(StrEnum):
    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Patch:
    """`value` is decoded JSON, of any shape yet, and never edited: a retry applies it again."""

    type: PatchType
    value: Any
    strict: bool = True
    """fieldValidation is Warn or Strict: JSON patches are read field by field, with other words for errors."""


@dataclass(frozen=True, slots=True)
class Patched:
    obj: Obj
    unknown_fields: tuple[str, ...] = ()
    """Of a JSON patch's own operations, worded for a warning or strict error: `json patch unknown field "[0].foo"`."""


def patch_type(content_type: str, *, custom: bool = False) -> PatchType:
    """Of a Content-Type header, parameters included. Raises ApiError 415; strategic merge is not for `custom` kinds."""
    media_type = content_type.partition(";")[0] if content_type.find(";") > 0 else content_type
    try:
        found = PatchType(media_type)
    except ValueError:
        raise errors.unsupported_media_type("415: Unsupported Media Type") from None
    if custom and found is PatchType.STRATEGIC:
        names = ", ".join((PatchType.JSON, PatchType.MERGE, PatchType.APPLY))
        text = f"the body of the request was in an unknown format - accepted media types include: {names}"
        raise ApiError(415, "UnsupportedMediaType", text)
    return found


def parse(type_: PatchType, body: bytes, *, load_yaml: Callable[[bytes], Any], field_validation: str = "Warn") -> Patch:
    """The patch of a request. Raises ApiError 400; `load_yaml` (of apply's body) raises ValueError."""
    strict = field_validation != "Ignore"
    try:
        if type_ is PatchType.APPLY:
            return Patch(type_, load_yaml(body), strict)
        return Patch(type_, _loads(body), strict)
    except ValueError as error:
        text = f"error decoding patch: {error}" if type_ is PatchType.APPLY else "invalid JSON patch"
        raise errors.bad_request(text) from None
    except RecursionError:
        raise errors.bad_request("invalid JSON patch") from None


def _loads(body: bytes) -> Any:
    """Raises ValueError. Go takes what orjson refuses: lone surrogates, numbers of 70 bits, bytes that are no UTF-8."""
    try:
        return encoding.loads(body)
    except ValueError:
        return jsontext.plain(jsontext.parse(body))


def check_options(type_: PatchType, *, field_manager: str, force: bool | None) -> None:
    """What PatchOptions may say for this type. Raises ApiError 422. Source: ValidatePatchOptions."""
    causes: list[Cause] = []
    if type_ is PatchType.APPLY:
        if not field_manager:
            causes.append(errors.field_required("fieldManager", "is required for apply patch"))
    elif force is not None:
        causes.append(errors.field_forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        raise errors.invalid(errors.options_gvk("PatchOptions"), "", causes)


def apply_patch(live: Obj, patch: Patch, schema: SchemaType) -> Patched:
    """`live` (as the client sees it, in the request's version) after a JSON, merge or strategic merge patch.

    Not validated, not defaulted. It may share parts with `live`: copy before
    editing in place. Raises ApiError.
    """
    try:
        match patch.type:
            case PatchType.JSON:
                return _json(live, patch)
            case PatchType.MERGE:
                return Patched(_merge(live, patch))
            case PatchType.STRATEGIC:
                return Patched(strategic_merge.strategic_merge(live, patch.value, schema))
            case PatchType.APPLY:
                raise ValueError("server-side apply is apply.apply()")
    except RecursionError:
        raise errors.bad_request("error decoding patch: exceeded max depth") from None


def invalid_result(patched: Any, why: str, patch: Patch | None = None) -> ApiError:
    """422 for a patched object that the kind's decoder refused, worded as upstream.

    It shows the object, key by key as that was encoded, but for a strategic merge `patch` the patch as Go prints it.
    """
    try:
        if patch is not None and patch.type is PatchType.STRATEGIC:
            text = gotext.text(patch.value)
        else:
            text = encoding.dumps(patched).decode()
    except (TypeError, RecursionError):  # nested too deep to be shown
        text = ""
    return errors.invalid(GVK("", "", ""), "", [errors.field_invalid("patch", text, why)])


# --- JSON patch ----------------------------------------------------------------------------------

_TEXTS = ("op", "path", "from")


def _json(live: Obj, patch: Patch) -> Patched:
    operations = patch.value if patch.value is not None else []
    unknown = _check_operations(operations, strict=patch.strict)
    if len(operations) > MAX_JSON_PATCH_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MAX_JSON_PATCH_OPERATIONS}, got {len(operations)}",
        )
    try:
        patched = json_patch.json_patch(live, [operation or {} for operation in operations])
    except json_patch.PatchFailed:
        raise strategic_merge.rejected() from None
    if not isinstance(patched, dict):
        raise invalid_result(patched, "json: cannot unmarshal array into Go value of type struct")
    return Patched(patched, tuple(unknown))


def _check_operations(operations: Any, *, strict: bool) -> list[str]:
    """Unknown fields of the operations. Raises ApiError 400, in the words of the decoder that upstream uses."""
    prefix, whole, item = (
        ("error decoding patch: ", "[]handlers.jsonPatchOp", "handlers.jsonPatchOp")
        if strict
        else ("", "jsonpatch.Patch", "jsonpatch.Operation")
    )
    if not isinstance(operations, list):
        raise errors.bad_request(f"{prefix}{_cannot(operations)} Go value of type {whole}")
    unknown = []
    for index, operation in enumerate(operations):
        if operation is not None and not isinstance(operation, dict):
            raise errors.bad_request(f"{prefix}{_cannot(operation)} Go value of type {item}")
        for name, value in (operation or {}).items():
            if not strict:
                continue
            if name in _TEXTS and value is not None and not isinstance(value, str):
                raise errors.bad_request(f"{prefix}{_cannot(value)} Go struct field jsonPatchOp.{name} of type string")
            if name not in _TEXTS and name != "value":
                unknown.append(f'json patch unknown field "[{index}].{name}"')
    return unknown


def _cannot(value: Any) -> str:
    return f"json: cannot unmarshal {gotext.json_kind(value)} into"


# --- merge patch ---------------------------------------------------------------------------------


def _merge(live: Obj, patch: Patch) -> Obj:
    if patch.value is None:
        raise errors.bad_request("Invalid JSON Patch")
    if not isinstance(patch.value, dict):
        if not patch.strict and isinstance(patch.value, list):
            raise invalid_result(patch.value, "json: cannot unmarshal array into Go value of type struct")
        if not patch.strict:
            raise errors.bad_request("Invalid JSON Patch")
        raise errors.bad_request(
            f"error decoding patch: {_cannot(patch.value)} Go value of type map[string]interface {{}}"
        )
    return json_patch.merge_patch(live, patch.value)
