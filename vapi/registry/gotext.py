"""How Go prints values in error texts (`%v`), and what its JSON decoder calls them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from vapi import errors


def text(value: Any) -> str:
    """`fmt.Sprint` of decoded JSON: `map[a:1 b:[x y] c:<nil>]`, keys sorted."""
    match value:
        case dict():
            return "map[" + " ".join(f"{key}:{text(item)}" for key, item in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(text, value)) + "]"
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
    return str(value)


def syntax(value: Any) -> str:
    """`%#v` of decoded JSON: `map[string]interface {}{"a":1, "b":[]interface {}{"x"}}`, keys sorted."""
    match value:
        case dict():
            members = (f"{errors.go_quote(key)}:{syntax(item)}" for key, item in sorted(value.items()))
            return f"map[string]interface {{}}{{{', '.join(members)}}}"
        case list():
            return f"[]interface {{}}{{{', '.join(map(syntax, value))}}}"
        case str():
            return errors.go_quote(value)
        case None:
            return "interface {}(nil)"
    return text(value)


def _float(value: float) -> str:
    """The shortest digits that give the same float, with an exponent below -4 and from 6 on. Source: strconv %e, %g."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):
        return str(value)  # JSON has neither NaN nor infinities
    power = len(digits) + exponent - 1
    if -4 <= power < 6 or not any(digits):
        return format(Decimal(repr(value)).normalize(), "f")
    first, *rest = map(str, digits)
    fraction = f".{''.join(rest)}" if rest else ""
    return f"{'-' if sign else ''}{first}{fraction}e{power:+03d}"


def as_string(value: Any) -> str:
    """`%s` of decoded JSON, where a string was meant."""
    match value:
        case str():
            return value
        case None:
            return "%!s(<nil>)"
        case dict():
            return "map[" + " ".join(f"{key}:{as_string(item)}" for key, item in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(as_string, value)) + "]"
    return f"%!s({type_name(value)}={text(value)})"


def json_kind(value: Any) -> str:
    """What encoding/json calls a value it cannot decode: `cannot unmarshal array into Go value of …`."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "number"


def type_name(value: Any) -> str:
    """The Go type of decoded JSON."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case float():
            return "float64"
    return "int64"
