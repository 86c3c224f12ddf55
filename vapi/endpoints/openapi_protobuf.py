"""The version 2 document as protobuf: message openapi.v2.Document, which typed Go clients ask for.

An encoder a message, each a table of JSON key → field number and encoder of the
value. Free values (extensions, enums) travel as YAML text; JSON is YAML.
Only what our documents contain is known here. Source: gnostic openapiv2/OpenAPIv2.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vapi import encoding
from vapi.gvk import Obj

Encoder = Callable[[int, Any], bytes]
"""(field number, value) → the field with its tag; nothing for an empty scalar."""


def document(parts: Mapping[str, Any]) -> bytes:
    """The whole document. `parts` are the members of the JSON document."""
    return _members(parts, _DOCUMENT)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _string(field: int, value: str) -> bytes:
    return _bytes(field, value.encode()) if value else b""


def _strings(field: int, values: Iterable[str]) -> bytes:
    return b"".join(_bytes(field, value.encode()) for value in values)


def _bool(field: int, value: bool) -> bytes:
    return _varint(field << 3) + b"\x01" if value else b""


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (1 << 64) - 1) if value else b""


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value) if value else b""


def _any(field: int, value: Any) -> bytes:
    return _bytes(field, _bytes(2, encoding.dumps(value) + b"\n"))


def _each(encoder: Encoder) -> Encoder:
    return lambda field, values: b"".join(encoder(field, value) for value in values)


def _named(encoder: Encoder, entries: int = 1) -> Encoder:
    """A JSON object with free keys: a message of (name, value) pairs under its field `entries`."""

    def encode(field: int, members: Mapping[str, Any]) -> bytes:
        return _bytes(field, b"".join(_pair(entries, name, encoder(2, value)) for name, value in members.items()))

    return encode


def _pair(field: int, name: str, value: bytes) -> bytes:
    return _bytes(field, _string(1, name) + value)


Table = Mapping[str, tuple[int, Encoder]]


def _members(obj: Mapping[str, Any], table: Table, extensions: int = 0) -> bytes:
    out = []
    for key, value in obj.items():
        known = table.get(key)
        if known is not None:
            out.append(known[1](known[0], value))
        elif extensions and key.startswith("x-"):
            out.append(_pair(extensions, key, _any(2, value)))
    return b"".join(out)


def _schema(field: int, schema: Obj) -> bytes:
    return _bytes(field, _members(schema, _SCHEMA, extensions=31))


def _wrapped(number: int, encoder: Encoder) -> Encoder:
    """One choice of a message that is nothing but choices."""
    return lambda field, value: _bytes(field, encoder(number, value))


def _additional(field: int, value: Any) -> bytes:
    return _bytes(field, _bool(2, value) if isinstance(value, bool) else _schema(1, value))


def _type(field: int, value: Any) -> bytes:
    return _bytes(field, _strings(1, [value] if isinstance(value, str) else value))


_SCHEMA: Table = {
    "$ref": (1, _string),
    "format": (2, _string),
    "title": (3, _string),
    "description": (4, _string),
    "default": (5, _any),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _bool),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _bool),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _string),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _bool),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _strings),
    "enum": (20, _each(_any)),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _wrapped(1, _schema)),
    "allOf": (24, _each(_schema)),
    "properties": (25, _named(_schema)),
    "example": (30, _any),
}

_BODY: Table = {
    "description": (1, _string),
    "name": (2, _string),
    "in": (3, _string),
    "required": (4, _bool),
    "schema": (5, _schema),
}
_QUERY: Table = {
    "required": (1, _bool),
    "in": (2, _string),
    "description": (3, _string),
    "name": (4, _string),
    "type": (6, _string),
    "uniqueItems": (20, _bool),
}
_PATH: Table = {
    "required": (1, _bool),
    "in": (2, _string),
    "description": (3, _string),
    "name": (4, _string),
    "type": (5, _string),
    "uniqueItems": (19, _bool),
}


def _parameter(field: int, parameter: Obj) -> bytes:
    match parameter["in"]:
        case "body":
            return _bytes(field, _bytes(1, _members(parameter, _BODY)))
        case "query":
            return _bytes(field, _bytes(2, _bytes(3, _members(parameter, _QUERY))))
        case _:
            return _bytes(field, _bytes(2, _bytes(4, _members(parameter, _PATH))))


def _parameter_item(field: int, item: Obj) -> bytes:
    if "$ref" in item:
        return _bytes(field, _bytes(2, _string(1, item["$ref"])))
    return _bytes(field, _parameter(1, item))


_RESPONSE: Table = {"description": (1, _string), "schema": (2, _wrapped(1, _schema))}


def _response(field: int, response: Obj) -> bytes:
    return _bytes(field, _bytes(1, _members(response, _RESPONSE)))


_OPERATION: Table = {
    "tags": (1, _strings),
    "description": (3, _string),
    "operationId": (5, _string),
    "produces": (6, _strings),
    "consumes": (7, _strings),
    "parameters": (8, _each(_parameter_item)),
    "responses": (9, _named(_response)),
    "schemes": (10, _strings),
}


def _operation(field: int, operation: Obj) -> bytes:
    return _bytes(field, _members(operation, _OPERATION, extensions=13))


_PATH_ITEM: Table = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "options": (6, _operation),
    "head": (7, _operation),
    "patch": (8, _operation),
    "parameters": (9, _each(_parameter_item)),
}


def _path_item(field: int, item: Obj) -> bytes:
    return _bytes(field, _members(item, _PATH_ITEM))


_INFO: Table = {"title": (1, _string), "version": (2, _string)}
_API_KEY: Table = {"type": (1, _string), "name": (2, _string), "in": (3, _string), "description": (4, _string)}


def _info(field: int, info: Obj) -> bytes:
    return _bytes(field, _members(info, _INFO))


def _security_definition(field: int, definition: Obj) -> bytes:
    return _bytes(field, _bytes(2, _members(definition, _API_KEY)))


def _string_array(field: int, values: Iterable[str]) -> bytes:
    return _bytes(field, _strings(1, values))


_DOCUMENT: Table = {
    "swagger": (1, _string),
    "info": (2, _info),
    "paths": (8, _named(_path_item, entries=2)),
    "definitions": (9, _named(_schema)),
    "parameters": (10, _named(_parameter)),
    "security": (12, _each(_named(_string_array))),
    "securityDefinitions": (13, _named(_security_definition)),
}
