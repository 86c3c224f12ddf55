"""JSON read slowly: order, duplicates and spelling of numbers kept, errors worded as Go's scanner words them.

The fast path reads bodies with orjson. This module is for those that need a
second look: not JSON, or not in the form Kubernetes would write. Depth is bounded by the interpreter's
recursion limit (about 1,000 levels; Go: 10,000); deeper bodies are refused by name.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

TOO_DEEP = "exceeded max depth"
END = "unexpected end of JSON input"


class JsonObject(list[tuple[str, Any]]):
    """The members of an object in the order of the text, duplicates included."""


class NumberText(str):
    """A number that is not a plain integer of 64 bits, as it was spelled."""

    __slots__ = ()


class JsonSyntaxError(ValueError):
    """Worded as encoding/json words it."""


class _ConstantError(ValueError):
    """NaN or Infinity: Python takes them, JSON does not."""


def parse(data: bytes) -> Any:
    """JsonObject, list, str, int, NumberText, bool or None. Raises JsonSyntaxError.

    Bytes that are not UTF-8 and lone surrogates become U+FFFD, as in Go.
    """
    text = data.decode("utf-8", "replace")
    try:
        value = _DECODER.decode(text)
        return cleaned(value) if "\\u" in text else value
    except RecursionError:
        raise JsonSyntaxError(TOO_DEEP) from None
    except _ConstantError as constant:
        name = str(constant)
        where = "in numeric literal" if name[0] == "-" else "looking for beginning of value"
        raise JsonSyntaxError(f"invalid character {_quoted(name.lstrip('-')[0])} {where}") from None
    except json.JSONDecodeError as error:
        raise JsonSyntaxError(_worded(text, error)) from None


def plain(value: Any) -> Any:
    """Ordinary dicts, lists and numbers from what `parse` returned; of duplicates the last. Raises NumberRangeError."""
    if isinstance(value, JsonObject):
        return {clean(name): plain(member) for name, member in value}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, NumberText):
        return _number(value)
    if isinstance(value, str):
        return clean(value)
    return value


def clean(text: str) -> str:
    """Lone surrogates replaced: they have no bytes."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cleaned(value: Any) -> Any:
    """What was parsed, with every name and text clean."""
    if isinstance(value, JsonObject):
        return JsonObject((clean(name), cleaned(member)) for name, member in value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, str) and not isinstance(value, NumberText):
        return clean(value)
    return value


class NumberRangeError(ValueError):
    """A number beyond what float64 holds; worded as Go words it."""


def _number(text: NumberText) -> int | float:
    number = float(text)
    if math.isinf(number):
        raise NumberRangeError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return shortest(number)


def shortest(number: float) -> int | float:
    """As Go writes a float64: without fraction where it has none. Within 64 bits: encoders take no more."""
    return int(number) if abs(number) < 2**63 and number.is_integer() else number


def _integer(text: str) -> int | NumberText:
    if len(text) < 20 and not text.startswith("-0"):
        number = int(text)
        if -(2**63) <= number < 2**63:
            return number
    return NumberText(text)


def _constant(name: str) -> Any:
    raise _ConstantError(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=JsonObject, parse_float=NumberText, parse_int=_integer, parse_constant=_constant
)

# --- errors ------------------------------------------------------------------------------------

_SPACE = " \t\r\n"
_LITERALS = ("true", "false", "null")


def _worded(text: str, error: json.JSONDecodeError) -> str:
    """Go's words for what Python found; `error.pos` is where."""
    message, position = error.msg, error.pos
    if message.startswith("Unterminated string"):
        return _unterminated(text, position)
    if message.startswith("Invalid control character"):
        return f"invalid character {_quoted(text[position])} in string literal"
    if message.startswith("Invalid \\"):
        return _escape(text, position)
    while position < len(text) and text[position] in _SPACE:
        position += 1
    if position >= len(text):
        return END
    if message.startswith("Expecting property name"):
        return _found(text, position, "looking for beginning of object key string")
    if message.startswith("Illegal trailing comma"):  # 3.13 names the comma, Go what stands behind it
        where = "object key string" if "object" in message else "value"
        position = re.compile(r",\s*").match(text, position).end()  # type: ignore[union-attr]
        return _found(text, position, f"looking for beginning of {where}")
    if message.startswith("Expecting ':'"):
        return _found(text, position, "after object key")
    if message.startswith("Expecting value"):
        return _value(text, position)
    return _after_value(text, position, message)


def _after_value(text: str, position: int, message: str) -> str:
    number = re.search(r"-?\d+(\.\d+)?([eE][+-]?\d+)?\Z", text[max(0, position - 400) : position])
    if number and not number[2] and (text[position] in "eE" or (text[position] == "." and not number[1])):
        return _broken_number(text, position)
    if message.startswith("Extra data"):
        return _found(text, position, "after top-level value")
    return _found(text, position, f"after {_container(text[:position])}")


def _broken_number(text: str, position: int) -> str:
    """Behind digits stands `.` or `e` without digits of its own."""
    where = "after decimal point in numeric literal" if text[position] == "." else "in exponent of numeric literal"
    behind = re.compile(r"\.|[eE][+-]?").match(text, position)
    assert behind
    return _within(text, behind.end(), where)


def _container(before: str) -> str:
    """Is the innermost open container an object or an array? A comma tells: Python expects a name or a value."""
    try:
        json.loads(before + ",")
    except json.JSONDecodeError as error:
        is_object = "property name" in error.msg or "in object" in error.msg
        return "object key:value pair" if is_object else "array element"
    except RecursionError:
        pass
    return "array element"


def _value(text: str, position: int) -> str:
    for literal in _LITERALS:
        if text[position] == literal[0]:
            for offset, expected in enumerate(literal):
                at = position + offset
                if text[at : at + 1] != expected:
                    return _within(text, at, f"in literal {literal} (expecting '{expected}')")
    if text[position] == "-":
        return _within(text, position + 1, "in numeric literal")
    return _found(text, position, "looking for beginning of value")


def _unterminated(text: str, start: int) -> str:
    """The text ends in the string that begins at `start`, perhaps in an escape."""
    escape = re.search(r"(?:[^\\]|^)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z", text[start:])
    if escape is None:
        return END
    return _within(
        text, len(text), "in \\u hexadecimal character escape" if "u" in escape[1] else "in string escape code"
    )


_HEX = frozenset("0123456789abcdefABCDEF")


def _escape(text: str, position: int) -> str:
    """`position` is the backslash's or, in some cases, one shortly behind it."""
    position = text.rfind("\\", 0, position + 1)
    if text[position + 1 : position + 2] == "u":
        for at in range(position + 2, position + 6):
            if text[at : at + 1] not in _HEX:
                return _within(text, at, "in \\u hexadecimal character escape")
        return END
    return _within(text, position + 1, "in string escape code")


def _found(text: str, position: int, where: str) -> str:
    if position >= len(text):
        return END
    return f"invalid character {_quoted(text[position])} {where}"


def _within(text: str, position: int, where: str) -> str:
    """Inside a token; there Go meets the end as a blank."""
    return f"invalid character {_quoted(text[position] if position < len(text) else ' ')} {where}"


def _quoted(character: str) -> str:
    """Go looks at bytes: of a character beyond ASCII it names the first."""
    byte = chr(character.encode("utf-8", "surrogatepass")[0])
    if byte in "'\\":
        return f"'\\{byte}'"
    if byte.isprintable():
        return f"'{byte}'"
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    escape = named.get(byte) or (f"\\x{ord(byte):02x}" if ord(byte) < 0x80 else f"\\u{ord(byte):04x}")
    return f"'{escape}'"
