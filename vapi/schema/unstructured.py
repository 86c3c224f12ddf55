"""Objects that patches made, checked against their Go type.

JSON and merge patches are decoded like a body (`strategic=False`). A strategic
merge patch is converted value by value, with rules and words of its own: whole
floats become integers, integers are cut to their width. Source: apimachinery
runtime.UnstructuredConverter; checked against a real server.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from vapi import errors
from vapi.gvk import GVK, Obj
from vapi.schema import godecode
from vapi.schema.gotypes import Form, GoStruct, GoType
from vapi.schema.schemas import Schemas


class TypedError(ValueError):
    """What a 422 on field `patch` says behind the value, such as `cannot convert int64 to string`."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`obj` is canonical, without unknown fields; `complaints` are for Warn and Strict (`decode.settle`)."""

    obj: Obj
    complaints: tuple[str, ...] = ()


def check_typed(obj: Obj, gvk: GVK, *, schemas: Schemas, strategic: bool = False) -> Checked:
    """An object of a built-in kind, as decoding it would leave it. `obj` is not edited, but may be returned.

    Raises TypedError. *Measured*: 1.1 µs when the gate passes.
    """
    if schemas.gate.passes(gvk, obj):
        return Checked(obj)
    type_ = schemas.types.for_gvk(gvk)
    if type_ is None:
        return Checked(obj)
    complaints: list[str] = []
    try:
        converted = _Converter(complaints).value(obj, type_, "") if strategic else obj
        decoded, unknown = godecode.decode(converted, type_)
    except godecode.GoDecodeError as error:
        raise TypedError(str(error)) from None
    except RecursionError:
        raise TypedError("exceeded max depth") from None
    return Checked(decoded, tuple(complaints if strategic else unknown))


_UNWRAPPED = frozenset({Form.STRING, Form.BOOL, Form.INTEGER, Form.FLOAT})
_GO_KIND = {Form.STRING: "string", Form.BOOL: "bool", Form.FLOAT: "float64"}


class _Converter:
    """Fields are visited in the order of the Go struct; the first error ends the walk."""

    def __init__(self, complaints: list[str]) -> None:
        self._complaints = complaints

    def value(self, value: Any, type_: GoType, path: str) -> Any:
        if value is None:
            return None
        form = type_.form
        if form in _UNWRAPPED:
            return _scalar(value, type_)
        if form is Form.STRUCT:
            return self._struct(value, type_.struct, path)
        if form is Form.MAP:
            if not isinstance(value, dict):
                raise TypedError(f"cannot restore map from {_source_kind(value)}")
            assert type_.element
            return {name: self.value(item, type_.element, f"{path}.{name}") for name, item in value.items()}
        if form is Form.LIST:
            if not isinstance(value, list):
                raise TypedError(f"cannot restore slice from {_source_kind(value)}")
            assert type_.element
            return [self.value(item, type_.element, f"{path}[{index}]") for index, item in enumerate(value)]
        if form is Form.BYTES:
            return _bytes(value)
        return value

    def _struct(self, value: Any, struct: GoStruct, path: str) -> Obj:
        if not isinstance(value, dict):
            raise TypedError(f"cannot restore struct from: {_source_kind(value)}")
        for name in sorted(value):
            if name not in struct.fields:
                self._complaints.append(f"unknown field {errors.go_quote(f'{path}.{name}'.removeprefix('.'))}")
        return {
            name: self.value(value[name], field.type, f"{path}.{name}")
            for name, field in struct.fields.items()
            if name in value
        }


def _source_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    kinds = {str: "string", int: "int64", float: "float64", dict: "map", list: "slice"}
    return kinds[type(value)]


def _scalar(value: Any, type_: GoType) -> Any:
    """Which pairs are convertible is Go's: an integer to a string is, but refused; a float to a string is not."""
    form, given = type_.form, _source_kind(value)
    if form is Form.INTEGER:
        if given == "int64":
            return _cut(value, type_.bits)
        if given == "float64" and value.is_integer():
            return _cut(int(value), type_.bits)
        if given == "float64":
            raise TypedError(f"cannot convert float64 to {type_.text}")
        raise TypedError(f"unrecognized type: int{type_.bits}")
    accepted = {Form.STRING: ("string",), Form.BOOL: ("bool",), Form.FLOAT: ("int64", "float64")}
    if given in accepted[form]:
        return value
    if form is Form.STRING and given == "int64":
        raise TypedError(f"cannot convert int64 to {type_.text}")
    raise TypedError(f"unrecognized type: {_GO_KIND[form]}")


def _cut(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise TypedError(f"cannot restore slice from {_source_kind(value)}")
    try:
        base64.b64decode(value.encode(), validate=True)
    except (binascii.Error, ValueError):
        try:
            return godecode.canonical_base64(value)
        except godecode.GoDecodeError as error:
            raise TypedError(f"error decoding from json: {error}") from None
    return value
