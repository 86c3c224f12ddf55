"""How Go prints values in error texts (`%v`), and what its JSON decoder calls them."""

from __future__ import annotations

from typing import Any


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
            return format(value, "g")
    return str(value)


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
