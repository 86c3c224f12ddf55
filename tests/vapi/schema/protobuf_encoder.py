"""Protobuf bodies as a Go client sends them: the inverse of vapi.schema.protobuf, for tests.

Like gogo-proto it writes fields by number and zero values of non-pointer fields too.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import struct
from typing import Any

from vapi.gvk import Obj
from vapi.schema.gotypes import Form, GoType, ProtoField
from vapi.schema.protobuf import PREFIX


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def envelope(obj: Obj, type_: GoType, *, api_version: str | None = None, kind: str | None = None) -> bytes:
    names = delimited(1, (obj["apiVersion"] if api_version is None else api_version).encode())
    names += delimited(2, (obj["kind"] if kind is None else kind).encode())
    raw = message(obj, type_)
    return PREFIX + delimited(1, names) + delimited(2, raw) + delimited(3, b"") + delimited(4, b"")


def message(obj: Obj, type_: GoType) -> bytes:
    parts = []
    for number in sorted(type_.struct.messages):
        field = type_.struct.messages[number]
        if not field.name:
            parts.append(delimited(number, message(obj, field.type)))
        elif obj.get(field.name) is not None:
            parts.append(_field(field, obj[field.name]))
        elif not field.pointer:
            parts.append(_zero(field))
    return b"".join(parts)


def _zero(field: ProtoField) -> bytes:
    match field.type.form:
        case Form.STRING:
            return delimited(field.number, b"")
        case Form.INTEGER | Form.BOOL:
            return whole(field.number, 0)
        case Form.STRUCT:
            return delimited(field.number, message({}, field.type))
        case Form.TIME | Form.MICRO_TIME:
            return delimited(field.number, b"")
        case Form.QUANTITY:
            return delimited(field.number, delimited(1, b"0"))
        case Form.INT_OR_STRING:
            return delimited(field.number, whole(1, 0) + whole(2, 0) + delimited(3, b""))
        case _:
            return b""


def _field(field: ProtoField, value: Any) -> bytes:
    element = field.type.element
    if field.type.form is Form.LIST:
        assert element
        return b"".join(_value(field.number, item, element) for item in value)
    if field.type.form is Form.MAP:
        assert element
        return b"".join(delimited(field.number, _entry(key, value[key], element)) for key in sorted(value))
    return _value(field.number, value, field.type)


def _entry(key: str, value: Any, element: GoType) -> bytes:
    if element.form is Form.LIST:
        assert element.element
        items = b"".join(_value(1, item, element.element) for item in value)
        return delimited(1, key.encode()) + delimited(2, items)
    return delimited(1, key.encode()) + _value(2, value, element)


def _value(number: int, value: Any, type_: GoType) -> bytes:
    match type_.form:
        case Form.INTEGER | Form.BOOL:
            return whole(number, int(value))
        case Form.FLOAT:
            return varint(number << 3 | 1) + struct.pack("<d", value)
        case Form.STRING:
            return delimited(number, value.encode())
        case Form.BYTES:
            return delimited(number, base64.b64decode(value))
        case Form.STRUCT:
            return delimited(number, message(value, type_))
        case Form.RAW:
            return delimited(number, delimited(1, json.dumps(value).encode()))
        case _:
            return delimited(number, _special(value, type_))


def _special(value: Any, type_: GoType) -> bytes:
    match type_.form:
        case Form.QUANTITY:
            return delimited(1, value.encode())
        case Form.INT_OR_STRING:
            text = isinstance(value, str)
            return whole(1, int(text)) + whole(2, 0 if text else value) + delimited(3, value.encode() if text else b"")
        case Form.TIME | Form.MICRO_TIME:
            moment = dt.datetime.fromisoformat(value)
            return whole(1, math.floor(moment.timestamp())) + whole(2, moment.microsecond * 1000)
        case Form.PROPS_OR_BOOL if isinstance(value, bool):
            return whole(1, int(value))
        case Form.PROPS_OR_BOOL:
            assert type_.element
            return whole(1, 1) + delimited(2, message(value, type_.element))
        case Form.PROPS_OR_ARRAY | Form.PROPS_OR_STRINGS:
            assert type_.element
            if isinstance(value, dict):
                return delimited(1, message(value, type_.element))
            return b"".join(
                delimited(2, item.encode() if isinstance(item, str) else message(item, type_.element)) for item in value
            )
        case form:
            raise AssertionError(form)
