"""Bodies to objects: JSON, YAML or protobuf of the expected kind, as kube-apiserver decodes them.

The fast path is one orjson.loads, one gate and one count of keys (*measured*:
6 µs for a small Pod, 42 µs on the slow path). What does not pass is read again with order and
duplicates kept and walked by `godecode`, which words errors and normalises. Decoding is pure and does not
await; a YAML body over 64 KB is slow (6 µs a line): call it in a thread.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vapi import encoding, errors
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.schema import godecode, jsontext, protobuf, yamltext
from vapi.schema.gotypes import META, GoTypes
from vapi.schema.schemas import Schemas

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = (JSON, YAML, PROTOBUF)
SCHEME = "pkg/api/legacyscheme/scheme.go:30"
"""The place that released binaries name."""


class FieldValidation(StrEnum):
    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


@dataclass(frozen=True, slots=True)
class Decoded:
    """`obj` is private, canonical, and has apiVersion, kind and (if its kind has one) metadata."""

    obj: Obj
    warnings: tuple[str, ...] = ()
    """For Warning headers, without the `299 - ` and the quotes."""


def unsupported_media_type() -> errors.ApiError:
    """The 415 of POST and PUT."""
    return errors.unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(ACCEPTED)}"
    )


def decode_body(
    data: bytes,
    content_type: str,
    *,
    expected: GVK,
    field_validation: FieldValidation,
    schemas: Schemas,
    accepted: Sequence[GVK] = (),
) -> Decoded:
    """The object of a POST or PUT of a built-in kind.

    `content_type`: media type with or without parameters, "" is JSON. `accepted`:
    other kinds that may come (policy/v1beta1 Eviction). Raises ApiError only:
    400 with the words of kube-apiserver, 415.
    """
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    if media_type == JSON:
        found = _fast(data, expected, schemas)
        if found is not None:
            return found
    elif media_type == PROTOBUF:
        return _from_protobuf(data, expected, accepted, schemas)
    elif media_type != YAML:
        raise unsupported_media_type()
    return _slow(data, media_type, expected, accepted, field_validation, schemas)


def _fast(data: bytes, expected: GVK, schemas: Schemas) -> Decoded | None:
    """None: not JSON, not canonical, not of the expected kind, or with duplicates. The slow path says which."""
    try:
        obj = encoding.loads(data)
    except ValueError:
        return None
    if type(obj) is not dict or obj.get("kind") != expected.kind or obj.get("apiVersion") != expected.api_version:
        return None
    if not schemas.gate.passes(expected, obj) or may_have_duplicates(data, obj):
        return None
    if "metadata" not in obj and _has_metadata(expected, schemas):
        obj["metadata"] = {}
    return Decoded(obj)


_BLANK_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:')


def may_have_duplicates(data: bytes, obj: Any) -> bool:
    """False: no key of the JSON text `data`, decoded to `obj`, stands twice in one object.

    Counts `":` in the text and in `obj` encoded anew; a duplicate is in the
    first only. What could hide one (blanks before a colon, escaped quotes and
    colons) makes the answer True. *Measured*: 2 µs for a small Pod, against 5 µs of a parser with hooks.
    """
    if b"\\u00" in data or _BLANK_BEFORE_COLON.search(data):
        return True
    try:
        return data.count(b'":') != encoding.dumps(obj).count(b'":')
    except TypeError:  # nested too deep to be encoded
        return True


def _slow(
    data: bytes,
    media_type: str,
    expected: GVK,
    accepted: Sequence[GVK],
    field_validation: FieldValidation,
    schemas: Schemas,
) -> Decoded:
    value, complaints = _parsed(data, media_type, expected)
    gvk = body_gvk(value, data, expected)
    _check_kind(gvk, expected, accepted, schemas.types)
    type_ = schemas.types.for_gvk(gvk)
    if type_ is None:
        raise errors.internal(f"no type for {gvk.api_version} {gvk.kind}")
    try:
        obj, unknown = godecode.decode(jsontext.JsonObject() if value is None else value, type_)
    except godecode.GoDecodeError as error:
        raise cannot_be_handled(gvk, expected, str(error)) from None
    except RecursionError:
        raise cannot_be_handled(gvk, expected, jsontext.TOO_DEEP) from None
    obj["apiVersion"], obj["kind"] = gvk.api_version, gvk.kind
    if "metadata" in type_.struct.fields:
        obj.setdefault("metadata", {})
    return Decoded(obj, settle([*complaints, *unknown], len(complaints), gvk, field_validation, expected=expected))


def settle(
    complaints: Sequence[str],
    yaml_lines: int,
    gvk: GVK,
    field_validation: FieldValidation,
    *,
    expected: GVK | None = None,
) -> tuple[str, ...]:
    """What strict decoding complains about as warnings (Warn), nothing (Ignore) or a 400 (Strict).

    The first `yaml_lines` complaints are duplicate keys of a YAML text, which Strict words as one error.
    """
    if not complaints or field_validation is FieldValidation.IGNORE:
        return ()
    if field_validation is FieldValidation.WARN:
        return tuple(complaints)
    raise cannot_be_handled(gvk, expected or gvk, f"strict decoding error: {strict_text(complaints, yaml_lines)}")


def strict_text(complaints: Sequence[str], yaml_lines: int = 0) -> str:
    parts = list(complaints[yaml_lines:])
    if yaml_lines:
        parts.insert(0, "yaml: unmarshal errors:\n" + "\n".join(f"  {line}" for line in complaints[:yaml_lines]))
    return ", ".join(parts)


# --- documents and kinds ---------------------------------------------------------------------------

_VERSION_STRUCT = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)


def _parsed(data: bytes, media_type: str, expected: GVK) -> tuple[Any, list[str]]:
    """The document with order and duplicates, and a YAML text's duplicate keys."""
    try:
        if media_type == YAML:
            return yamltext.parse(data)
        return jsontext.parse(data), []
    except yamltext.YamlError as error:
        raise _unrecognized(data, expected, str(error)) from None
    except jsontext.JsonSyntaxError as error:
        raise _unrecognized(data, expected, f"couldn't get version/kind; json parse error: {error}") from None


def body_gvk(value: Any, data: bytes, expected: GVK) -> GVK:
    """The kind that a parsed document claims; what it leaves out is taken from `expected`. Raises ApiError."""
    if value is None:
        return expected
    if not isinstance(value, jsontext.JsonObject | dict):
        kind = godecode.json_kind(value)
        raise _not_versioned(data, expected, kind, f"value of type {_VERSION_STRUCT}")
    names = {"apiVersion": "", "kind": ""}
    for name, member in value if isinstance(value, jsontext.JsonObject) else value.items():
        if name in names and member is not None:
            if not isinstance(member, str) or isinstance(member, jsontext.NumberText):
                raise _not_versioned(data, expected, godecode.json_kind(member), f"struct field .{name} of type string")
            names[name] = member
    api_version, kind = names["apiVersion"], names["kind"] or expected.kind
    if api_version in ("", "/"):  # Go's ParseGroupVersion takes both for nothing
        return GVK(expected.group, expected.version, kind)
    if api_version.count("/") > 1:
        raise _unrecognized(data, expected, f"unexpected GroupVersion string: {api_version}")
    group_version = GroupVersion.parse(api_version)
    return GVK(group_version.group, group_version.version, kind)


def _not_versioned(data: bytes, expected: GVK, kind: str, target: str) -> errors.ApiError:
    problem = f"json: cannot unmarshal {kind} into Go {target}"
    return _unrecognized(data, expected, f"couldn't get version/kind; json parse error: {problem}")


def _check_kind(gvk: GVK, expected: GVK, accepted: Sequence[GVK], types: GoTypes) -> None:
    """Source: apiserver createHandler, and what decoding into another kind answers."""
    if gvk == expected or gvk in accepted:
        return
    if not types.is_registered(gvk):
        quoted = errors.go_quote(gvk.kind), errors.go_quote(gvk.api_version)
        problem = f'no kind {quoted[0]} is registered for version {quoted[1]} in scheme "{SCHEME}"'
        raise cannot_be_handled(gvk, expected, problem)
    if gvk.kind == expected.kind and _internal(gvk) == _internal(expected):
        raise wrong_version(gvk, expected)
    theirs, ours = f"{gvk.version}.{gvk.kind}", f"{_internal(expected)}.{expected.kind}"
    raise cannot_be_handled(gvk, expected, f"converting ({theirs}) to ({ours}): unknown conversion")


def wrong_version(gvk: GVK, expected: GVK) -> errors.ApiError:
    return errors.bad_request(
        f"the API version in the data ({gvk.api_version}) does not match "
        f"the expected API version ({expected.api_version})"
    )


_MOVED = {"extensions": {"Deployment": "apps", "DaemonSet": "apps", "ReplicaSet": "apps", "Ingress": "networking"}}
"""Kinds that one internal type serves under an older group too."""


def _internal(gvk: GVK) -> str:
    """The package of the internal type."""
    moved = _MOVED.get(gvk.group, {}).get(gvk.kind)
    if moved or gvk.group in ("", "events.k8s.io"):
        return moved or "core"
    if gvk.group == "extensions" and gvk.kind == "NetworkPolicy":
        return "networking"
    return gvk.group.split(".")[0]


def cannot_be_handled(gvk: GVK, expected: GVK, problem: str) -> errors.ApiError:
    return errors.bad_request(
        f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {expected.kind}: {problem}'
    )


def _unrecognized(data: bytes, expected: GVK, problem: str) -> errors.ApiError:
    return errors.bad_request(
        f"the object provided is unrecognized (must be of type {expected.kind}): {problem} ({_summary(data)})"
    )


_SUMMARY_BYTES = 30


def _summary(data: bytes) -> str:
    """Source: apiserver summarizeData."""
    if not data:
        return "<empty>"
    head = data[:_SUMMARY_BYTES]
    text = head.decode("utf-8", "replace") if data.startswith(b"{") else binascii.hexlify(head).decode()
    return f"{text} ..." if len(data) > _SUMMARY_BYTES else text


def _has_metadata(gvk: GVK, schemas: Schemas) -> bool:
    type_ = schemas.types.for_gvk(gvk)
    return type_ is not None and "metadata" in type_.struct.fields


# --- protobuf --------------------------------------------------------------------------------------


def _from_protobuf(data: bytes, expected: GVK, accepted: Sequence[GVK], schemas: Schemas) -> Decoded:
    try:
        envelope = protobuf.open_envelope(data)
    except protobuf.ProtobufError as error:
        raise _unrecognized(data, expected, str(error)) from None
    claimed = {"apiVersion": envelope.api_version, "kind": envelope.kind}
    gvk = body_gvk(claimed, data, expected)
    _check_kind(gvk, expected, accepted, schemas.types)
    type_ = schemas.types.for_gvk(gvk)
    if type_ is None:
        raise unsupported_media_type()  # a custom resource
    try:
        obj = protobuf.decode_message(envelope.raw, type_)
    except protobuf.ProtobufError as error:
        raise cannot_be_handled(gvk, expected, str(error)) from None
    obj["apiVersion"], obj["kind"] = gvk.api_version, gvk.kind
    if "metadata" in type_.struct.fields:
        obj.setdefault("metadata", {})
    return Decoded(obj)


# --- custom resources --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DecodedCustom:
    """A custom resource before pruning: `complaints` so far are duplicates, then unknown metadata fields."""

    obj: Obj
    complaints: tuple[str, ...]
    yaml_lines: int
    """How many of them are a YAML text's duplicate keys; for `settle`."""


def decode_custom_body(data: bytes, content_type: str, *, expected: GVK, schemas: Schemas) -> DecodedCustom:
    """The object of a POST or PUT of a custom resource; nulls are kept, metadata is decoded as Go's ObjectMeta.

    The caller prunes by its schema, adds the unknown fields that it found
    (sorted by path) to `complaints`, and calls `settle`. Raises ApiError.
    """
    media_type = content_type.partition(";")[0].strip().lower() or JSON
    if media_type not in (JSON, YAML):
        raise unsupported_media_type()
    value, complaints = _parsed(data, media_type, expected)
    gvk = body_gvk(value, data, expected)
    if gvk.kind == expected.kind and gvk != expected:
        raise wrong_version(gvk, expected)
    if gvk != expected:
        theirs = f"{gvk.group}/{gvk.version}, Kind={gvk.kind}"
        raise cannot_be_handled(gvk, expected, f"unstructured object of {theirs}: unknown conversion")
    members = value if isinstance(value, jsontext.JsonObject) else jsontext.JsonObject()
    try:
        found = [*complaints, *duplicate_fields(members)]
        obj = jsontext.plain(members)
        obj["metadata"], unknown = decode_metadata(dict(members).get("metadata"), schemas)
    except (godecode.GoDecodeError, jsontext.NumberRangeError) as error:
        raise cannot_be_handled(gvk, expected, str(error)) from None
    except RecursionError:
        raise cannot_be_handled(gvk, expected, jsontext.TOO_DEEP) from None
    obj["apiVersion"], obj["kind"] = gvk.api_version, gvk.kind
    return DecodedCustom(obj, (*found, *unknown), len(complaints))


def decode_metadata(value: Any, schemas: Schemas) -> tuple[Obj, list[str]]:
    """ObjectMeta in canonical form, and its unknown fields (`unknown field "metadata.foo"`). Raises GoDecodeError."""
    if value is None:
        return {}, []
    wrapped, complaints = godecode.decode(
        {"metadata": value}, schemas.types.type(f"{META}.PartialObjectMetadata", "v1")
    )
    return wrapped["metadata"], [text for text in complaints if text.startswith("unknown")]


def duplicate_fields(value: Any, path: str = "") -> list[str]:
    """`duplicate field "spec.replicas"`, each once, in the order of the text."""
    found: list[str] = []
    if isinstance(value, jsontext.JsonObject):
        seen: set[str] = set()
        for name, member in value:
            place = f"{path}.{name}" if path else name
            if name in seen:
                found.append(f"duplicate field {errors.go_quote(place)}")
            seen.add(name)
            found += duplicate_fields(member, place)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += duplicate_fields(item, f"{path}[{index}]")
    return list(dict.fromkeys(found))
