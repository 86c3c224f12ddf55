"""The gate: one compiled check that says "this object is already what Kubernetes would make of it".

kube-apiserver decodes a body into Go structs and encodes those again. A body
passes the gate if that round trip would return it unchanged: known fields only,
right types and ranges, canonical quantities, times and base64, no nulls, no empty
values that Go leaves out. Almost all bodies do; the others go to the slow walk
(`schema.godecode`), which finds out what exactly, words it, or normalises it.

`complete` also asks for every field that Go writes although it was not given
(`resources: {}`, `status: {}`): it is checked after defaulting.

*Measured* (jsonschema-rs 0.60): 1.1 µs for a one-container Pod. A check is compiled
when first asked for: 3-6 ms for kinds with a pod template, below 1 ms for others, 14 MB for all 65 kinds together.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from vapi.gvk import GVK
from vapi.schema.gotypes import Form, GoField, GoStruct, GoType, GoTypes

_DAY = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))"
_CLOCK = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d"
TIME = f"^[0-9]{{4}}-{_DAY}T{_CLOCK}Z$"
"""29 February goes the slow way."""
MICRO_TIME = f"^[0-9]{{4}}-{_DAY}T{_CLOCK}\\.\\d{{6}}Z$"

# No factor of 1000 left: up to three digits, or more with the last three not all zero. At most 12 digits: no overflow.
_DECIMAL = "(?:[1-9]\\d{0,2}|[1-9]\\d{0,8}(?:[1-9]\\d\\d|\\d[1-9]\\d|\\d\\d[1-9]))"
# No factor of 1024 left for sure: below 1024, or odd. Other numbers may still be canonical: the slow way finds out.
_BINARY = "(?:[1-9]\\d{0,2}|10[01]\\d|102[0-3]|[1-9]\\d{0,8}[13579])"
QUANTITY = f"^(?:0|{_DECIMAL}[mkMGT]?|{_BINARY}[KMGT]i)$"

# Canonical base64: full groups, and no bits behind the end
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"

_RANGES = {32: (-(2**31), 2**31 - 1), 64: (-(2**63), 2**63 - 1)}
_JSON_BUT_NULL = ["object", "array", "string", "number", "boolean"]
_NULL_ZERO = frozenset({Form.LIST, Form.MAP, Form.BYTES, Form.TIME, Form.MICRO_TIME, Form.RAW})
"""Forms whose zero value Go writes as null."""


class Gate:
    """Compiled checks by kind; kept once made. Runs on the loop, never awaits."""

    def __init__(self, types: GoTypes) -> None:
        self._types = types
        self._loose: dict[GVK, jsonschema_rs.Draft4Validator] = {}
        self._complete: dict[GVK, jsonschema_rs.Draft4Validator] = {}

    def passes(self, gvk: GVK, obj: Any) -> bool:
        """Would Kubernetes leave `obj` as it is? False too if the kind has no Go type."""
        check = self._loose.get(gvk) or self._compile(gvk, self._loose, complete=False)
        return _is_valid(check, obj)

    def is_complete(self, gvk: GVK, obj: Any) -> bool:
        """As `passes`, and every field that Go always writes is there."""
        check = self._complete.get(gvk) or self._compile(gvk, self._complete, complete=True)
        return _is_valid(check, obj)

    def _compile(
        self, gvk: GVK, checks: dict[GVK, jsonschema_rs.Draft4Validator], *, complete: bool
    ) -> jsonschema_rs.Draft4Validator | None:
        path = self._types.path(gvk)
        if not path:
            return None
        checks[gvk] = compiled(self._types, path, complete=complete)
        return checks[gvk]


def _is_valid(check: jsonschema_rs.Draft4Validator | None, obj: Any) -> bool:
    try:
        return check is not None and bool(check.is_valid(obj))
    except ValueError:  # nested too deep for the checker
        return False


def compiled(types: GoTypes, path: str, *, complete: bool) -> jsonschema_rs.Draft4Validator:
    """The check of one struct with all that it refers to. Draft 4: there 1.0 is no integer, as in Go."""
    return jsonschema_rs.Draft4Validator(_Compiler(types, complete=complete).document(path))


class _Compiler:
    def __init__(self, types: GoTypes, *, complete: bool) -> None:
        self._types = types
        self._complete = complete
        self._definitions: dict[str, Any] = {}

    def document(self, path: str) -> dict[str, Any]:
        return {"allOf": [self._reference(path)], "definitions": self._definitions}

    def _reference(self, path: str) -> dict[str, Any]:
        name = path.replace("/", ".")
        if name not in self._definitions:
            self._definitions[name] = {}  # a recursive type finds itself
            self._definitions[name] = self._struct(self._types.struct(path))
        return {"$ref": f"#/definitions/{name}"}

    def _struct(self, struct: GoStruct) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: self._field(field) for name, field in struct.fields.items()},
            "additionalProperties": False,
        }
        if self._complete and struct.always:
            schema["required"] = [field.name for field in struct.always]
        return schema

    def _field(self, field: GoField) -> dict[str, Any]:
        schema = self.value(field.type, keeps_empty=field.keeps_empty)
        if field.emits_zero and (field.pointer or field.type.form in _NULL_ZERO):
            return {"anyOf": [schema, {"type": "null"}]}
        return schema

    def value(self, type_: GoType, *, keeps_empty: bool = True) -> dict[str, Any]:
        """The check of a value; `keeps_empty`: a zero or empty one stays as it is."""
        match type_.form:
            case Form.STRUCT:
                return self._reference(type_.path)
            case Form.LIST:
                assert type_.element
                schema: dict[str, Any] = {"type": "array", "items": self.value(type_.element)}
                return schema if keeps_empty else schema | {"minItems": 1}
            case Form.MAP:
                assert type_.element
                schema = {"type": "object", "additionalProperties": self.value(type_.element)}
                return schema if keeps_empty else schema | {"minProperties": 1}
            case Form.PROPS_OR_ARRAY | Form.PROPS_OR_BOOL | Form.PROPS_OR_STRINGS:
                return self._props_or(type_)
            case _:
                return _scalar(type_, keeps_empty=keeps_empty)

    def _props_or(self, type_: GoType) -> dict[str, Any]:
        assert type_.element
        props = self._reference(type_.element.path)
        other: dict[Form, dict[str, Any]] = {
            Form.PROPS_OR_ARRAY: {"type": "array", "items": props},
            Form.PROPS_OR_BOOL: {"type": "boolean"},
            Form.PROPS_OR_STRINGS: {"type": "array", "items": {"type": "string"}},
        }
        return {"anyOf": [props, other[type_.form]]}


_PATTERNS = {Form.TIME: TIME, Form.MICRO_TIME: MICRO_TIME, Form.QUANTITY: QUANTITY, Form.BYTES: BASE64}


def _scalar(type_: GoType, *, keeps_empty: bool) -> dict[str, Any]:
    match type_.form:
        case Form.STRING:
            return {"type": "string"} if keeps_empty else {"type": "string", "minLength": 1}
        case Form.BOOL:
            return {"type": "boolean"} if keeps_empty else {"enum": [True]}
        case Form.INTEGER:
            low, high = _RANGES[type_.bits]
            schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
            return schema if keeps_empty else schema | {"not": {"enum": [0]}}
        case Form.INT_OR_STRING:
            low, high = _RANGES[32]
            return {"type": ["string", "integer"], "minimum": low, "maximum": high}
        case Form.FLOAT:
            return {"type": "integer"}  # fractions go the slow way: Go spells them in its own manner
        case Form.RAW:
            return {"type": _JSON_BUT_NULL}
        case Form.DURATION:
            return {"type": "string"}
        case form:
            schema = {"type": "string", "pattern": _PATTERNS[form]}
            return schema if keeps_empty else schema | {"minLength": 1}
