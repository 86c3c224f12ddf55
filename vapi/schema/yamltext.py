"""YAML bodies as kube-apiserver reads them: YAML 1.1 of goyaml.v2, turned into JSON with sorted keys.

Only the first document counts. `y`, `on` and the like are booleans, `1e3` is a
number, `017` an octal one, timestamps stay text, `<<` merges. Built from
libyaml's events with a stack of its own, so that no nesting overflows the C stack; aliases are
expanded up to a bound. Sources: sigs.k8s.io/yaml, goyaml.v2 resolve.go and decode.go.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml._yaml import CParser

from vapi.schema.jsontext import JsonObject, NumberText

MAX_DEPTH = 500  # a bound of ours: real manifests stay below 30
MAX_ALIASED_VALUES = 100_000  # that aliases may expand to, beside what the text itself holds; a guess

_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(r"([-+]?)(0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+|0[0-7]*|[1-9][0-9]*)")
_INFINITIES = {
    f"{sign}.{name}": -math.inf if sign == "-" else math.inf
    for sign in ("", "+", "-")
    for name in ("inf", "Inf", "INF")
}
_NAN = frozenset((".nan", ".NaN", ".NAN"))
_TAGS = "tag:yaml.org,2002:"


class YamlError(ValueError):
    """Not YAML, or not what JSON can hold; worded as goyaml words it."""


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    is_map: bool
    anchor: str | None
    items: list[Any] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Mapping:
    """A finished mapping, before keys are made text: pairs of key and value, and the line of each value."""

    pairs: list[tuple[Any, Any]]
    lines: list[int]


def parse(data: bytes) -> tuple[Any, list[str]]:
    """JSON values (JsonObject with sorted keys), and the duplicate keys: `line 4: key "a" already set in map`.

    Raises YamlError.
    """
    try:
        root = _compose(CParser(data.decode("utf-8", "replace")))
    except yaml.MarkedYAMLError as error:
        raise YamlError(_worded(error)) from None
    except yaml.YAMLError as error:
        raise YamlError(f"yaml: {getattr(error, 'reason', error)}") from None
    duplicates: list[str] = []
    converter = _Converter(duplicates, len(data) + MAX_ALIASED_VALUES)
    return converter.value(root), duplicates


def _worded(error: yaml.MarkedYAMLError) -> str:
    """Source: goyaml parser.fail: lines count from 0, a scanner's from 1, and line 0 is left out."""
    line = 0
    for mark in (error.context_mark, error.problem_mark):
        if mark is not None and mark.line:
            line = mark.line + isinstance(error, yaml.scanner.ScannerError)
            break
    where = f"line {line}: " if line else ""
    return f"yaml: {where}{error.problem}"


def _compose(parser: Any) -> Any:
    """The first document as scalars, lists and _Mappings."""
    stack: list[_Open] = []
    anchors: dict[str, Any] = {}
    while True:
        event = parser.get_event()
        if isinstance(event, yaml.ScalarEvent):
            node: Any = _scalar(event)
            if event.anchor:
                anchors[event.anchor] = node
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise YamlError(f"yaml: unknown anchor '{event.anchor}' referenced")
            node = anchors[event.anchor]
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            if len(stack) >= MAX_DEPTH:
                raise YamlError("yaml: exceeded max depth")
            if stack:
                stack[-1].lines.append(_line(event))
            stack.append(_Open(isinstance(event, yaml.MappingStartEvent), event.anchor))
            continue
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            closed = stack.pop()
            node = _closed(closed)
            if closed.anchor:
                anchors[closed.anchor] = node
            if stack:
                stack[-1].items.append(node)
                continue
            return node
        elif isinstance(event, yaml.StreamEndEvent):
            return None
        else:
            continue
        if not stack:
            return node
        stack[-1].items.append(node)
        stack[-1].lines.append(_line(event))


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line


def _closed(done: _Open) -> Any:
    if not done.is_map:
        return done.items
    return _Mapping(list(zip(done.items[::2], done.items[1::2], strict=True)), done.lines[1::2])


class _Merge:
    """The key `<<`."""


_MERGE = _Merge()


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    tag = (event.tag or "").removeprefix(_TAGS)
    plain = event.style is None or event.style == ""
    if tag == "binary":
        try:
            return base64.b64decode(text.encode(), validate=False).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise YamlError("yaml: !!binary value contains invalid base64 data") from None
    if tag == "str" or (not plain and tag not in ("int", "float", "bool", "null")):
        return text
    if tag and tag not in ("int", "float", "bool", "null"):
        return text
    if text == "<<":
        return _MERGE
    return resolve(text)


def resolve(text: str) -> Any:
    """A plain scalar: None, bool, int, float or the text itself."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    first = text[0]
    if first not in "+-.0123456789":
        return text
    if text in _INFINITIES or text in _NAN:
        return _INFINITIES.get(text, math.nan)
    digits = text.replace("_", "")
    integer = _INTEGER.fullmatch(digits)
    if integer and len(digits) < 70:
        number = _integer(integer[2]) * (-1 if integer[1] == "-" else 1)
        if -(2**63) <= number < 2**64:
            return number
    if _FLOAT.fullmatch(digits):
        return float(digits)
    return text


def _integer(digits: str) -> int:
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567":
        return int(digits, 8)
    return int(digits, 0)


class _Converter:
    """To JSON values; counts what aliases expand to."""

    def __init__(self, duplicates: list[str], most: int) -> None:
        self._duplicates = duplicates
        self._left = most
        self._reported: set[int] = set()

    def value(self, node: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise YamlError("yaml: document contains excessive aliasing")
        if isinstance(node, _Mapping):
            return self._object(node)
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if isinstance(node, float):
            return _number(node)
        if isinstance(node, int) and not isinstance(node, bool) and node >= 2**63:
            return NumberText(node)
        return "<<" if node is _MERGE else node

    def _object(self, mapping: _Mapping) -> JsonObject:
        members: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_time = id(mapping) not in self._reported
        self._reported.add(id(mapping))
        for (key, value), line in zip(mapping.pairs, mapping.lines, strict=True):
            if key is _MERGE:
                self._merge(value, merged)
                continue
            name = _key(key, value)
            if name in members and first_time:
                self._duplicates.append(f"line {line + 1}: key {_go_value(key)} already set in map")
            members[name] = self.value(value)
        return JsonObject(sorted((merged | members).items()))

    def _merge(self, value: Any, merged: dict[str, Any]) -> None:
        """Of several mappings the first wins."""
        sources = value if isinstance(value, list) else [value]
        for source in reversed(sources):
            if not isinstance(source, _Mapping):
                raise YamlError("yaml: map merge requires map or sequence of maps as the value")
            merged.update(self._object(source))


def _number(number: float) -> Any:
    if not math.isfinite(number):
        name = "NaN" if math.isnan(number) else ("+Inf" if number > 0 else "-Inf")
        raise YamlError(f"json: unsupported value: {name}")
    if number.is_integer() and abs(number) < 1e21:
        return int(number) if abs(number) < 2**63 else NumberText(int(number))
    return NumberText(re.sub(r"e([+-])0(\d)$", r"e\1\2", repr(number)))


_KEYS: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda key: "true" if key else "false",
    int: str,
    float: lambda key: str(_number(key)),
}


def _key(key: Any, value: Any) -> str:
    spell = _KEYS.get(type(key))
    if spell is None:
        kind = "%!s(<nil>)" if key is None else "map[interface {}]interface {}"
        raise YamlError(f"unsupported map key of type: {kind}, key: {_go_value(key)}, value: {_go_value(value)}")
    return spell(key)


def _go_value(value: Any) -> str:
    """About what Go's %#v prints."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "map[interface {}]interface {}{…}" if isinstance(value, _Mapping) else str(value)
