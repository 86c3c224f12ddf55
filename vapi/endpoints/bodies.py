"""Bodies: how the bytes of a request become the object its handler expects, and how many bytes may wait at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vapi import encoding, errors
from vapi.endpoints.http import JSON, MAX_BODIES_BYTES
from vapi.gvk import GVK, Obj
from vapi.resources.resource import Resource
from vapi.schema import decode, godecode, jsontext, protobuf
from vapi.schema.decode import PROTOBUF, SCHEME, Decoded, FieldValidation
from vapi.schema.schemas import Schemas

CustomDecoder = Callable[[bytes, str, Resource, FieldValidation], Decoded]
"""Of custom resources: (data, media type, row, field validation); raises ApiError."""

DELETE_OPTIONS = GVK("", "v1", "DeleteOptions")

_VALIDATIONS = {validation.value: validation for validation in FieldValidation}


class SchemaDecoder:
    """`handlers.Decoder` over the built-in schemas. `custom`: what decodes rows of CRDs; None where there are none."""

    def __init__(self, schemas: Schemas, custom: CustomDecoder | None = None) -> None:
        self._schemas = schemas
        self._custom = custom

    def decode(
        self,
        data: bytes,
        content_type: str,
        row: Resource,
        gvk: GVK,
        field_validation: str,
        accepted: Sequence[GVK] = (),
    ) -> Decoded:
        validation = _VALIDATIONS[field_validation]
        if row.custom and gvk == row.gvk:
            if self._custom is None:
                raise errors.internal(f"no decoder for {gvk.api_version} {gvk.kind}")
            return self._custom(data, content_type, row, validation)
        return decode.decode_body(
            data,
            content_type,
            expected=gvk,
            field_validation=validation,
            schemas=self._schemas,
            accepted=accepted,
        )

    def decode_options(self, data: bytes, content_type: str) -> Obj:
        """DeleteOptions; clients name it by the group of what they delete, or not at all. Raises ApiError 400."""
        if content_type == PROTOBUF:
            return self._options_of_protobuf(data)
        value = _loaded(data) if content_type == JSON else None
        if value is not None:
            kind, api_version = value.get("kind"), value.get("apiVersion")
            _check_texts(value)
            if kind not in (None, "", DELETE_OPTIONS.kind):
                raise _unknown_kind(kind, api_version or "meta.k8s.io/v1")
            if _plain_options(value):
                return value
            # the same under the name the schemas have for it, so that what is wrong gets its words
            data = _encoded({**value, "kind": DELETE_OPTIONS.kind, "apiVersion": DELETE_OPTIONS.api_version})
        try:
            decoded = decode.decode_body(
                data,
                content_type,
                expected=DELETE_OPTIONS,
                field_validation=FieldValidation.IGNORE,
                schemas=self._schemas,
            )
        except errors.ApiError as error:
            # upstream decodes options without wrapping what goes wrong
            raise errors.bad_request(error.message.removeprefix(_WRAPPED)) from None
        return decoded.obj

    def _options_of_protobuf(self, data: bytes) -> Obj:
        try:
            envelope = protobuf.open_envelope(data)
            if envelope.kind not in ("", DELETE_OPTIONS.kind):
                raise _unknown_kind(envelope.kind, envelope.api_version)
            type_ = self._schemas.types.for_gvk(DELETE_OPTIONS)
            assert type_ is not None
            return protobuf.decode_message(envelope.raw, type_)
        except protobuf.ProtobufError as error:
            raise errors.bad_request(str(error)) from None


def _encoded(value: Obj) -> bytes:
    try:
        return encoding.dumps(value)
    except TypeError:  # nested deeper than the encoder goes
        raise errors.bad_request(jsontext.TOO_DEEP) from None


_WRAPPED = 'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: '


def _check_texts(value: Obj) -> None:
    """Raises ApiError 400 for a kind or apiVersion that is no text."""
    for name in ("apiVersion", "kind"):
        member = value.get(name)
        if member is not None and not isinstance(member, str):
            problem = f"cannot unmarshal {godecode.json_kind(member)} into Go struct field .{name} of type string"
            raise errors.bad_request(f"couldn't get version/kind; json parse error: json: {problem}")


def _unknown_kind(kind: str, api_version: str) -> errors.ApiError:
    quoted = errors.go_quote(kind), errors.go_quote(api_version)
    return errors.bad_request(f'no kind {quoted[0]} is registered for version {quoted[1]} in scheme "{SCHEME}"')


def _loaded(data: bytes) -> Obj | None:
    try:
        value = encoding.loads(data)
    except ValueError:
        return None
    return value if type(value) is dict else None


_OPTION_TYPES: Mapping[str, type] = {
    "kind": str,
    "apiVersion": str,
    "gracePeriodSeconds": int,
    "propagationPolicy": str,
    "orphanDependents": bool,
    "dryRun": list,
}


def _plain_options(value: Obj) -> bool:
    """Whether every field is of its type, so that nothing has to be worded."""
    for name, member in value.items():
        if name == "preconditions":
            if type(member) is not dict or not all(type(v) is str for v in member.values()):
                return False
        elif type(member) is not _OPTION_TYPES.get(name):
            return False
    return all(type(v) is str for v in value.get("dryRun", ()))


class BodyBudget:
    """The bytes of all bodies in flight. Runs on the loop, never awaits."""

    def __init__(self, limit: int = MAX_BODIES_BYTES) -> None:
        self._limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Raises ApiError 429 if there is no room; else give them back with `release`."""
        if self.used + size > self._limit:
            raise errors.too_many_requests("Too many requests, please try again later.", retry_after_s=1)
        self.used += size

    def release(self, size: int) -> None:
        self.used -= size
