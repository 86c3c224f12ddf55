"""Label and field selectors: their texts parsed, refused in the words of Kubernetes, and compiled to predicates.

A parsed selector is immutable and cheap to ask: `matches` runs over the labels
or fields of every entry of a list and of every watch event. Parsing is memoised
by text, since informers send the same few selectors again and again.
Source: apimachinery pkg/labels/selector.go and pkg/fields/selector.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from vapi import errors, names
from vapi.errors import ApiError

Labels = Mapping[str, str]
Predicate = Callable[[Labels], bool]

MEMO_SIZE = 512  # a guess: selectors in use at one time; a memo entry is some hundred bytes


class Operator(StrEnum):
    """In the words of metav1.LabelSelectorRequirement where it has one."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term. `values` in no order; one number for Gt and Lt, none for the two existence operators."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def predicate(self) -> Predicate:
        return _PREDICATES[self.operator](self.key, self.values)


def _in(key: str, values: frozenset[str]) -> Predicate:
    if len(values) == 1:
        (only,) = values
        return lambda labels: labels.get(key) == only
    return lambda labels: labels.get(key) in values


def _not_in(key: str, values: frozenset[str]) -> Predicate:
    return lambda labels: labels.get(key) not in values


def _exists(key: str, _values: frozenset[str]) -> Predicate:
    return lambda labels: key in labels


def _does_not_exist(key: str, _values: frozenset[str]) -> Predicate:
    return lambda labels: key not in labels


def _compares(key: str, values: frozenset[str], *, greater: bool) -> Predicate:
    (text,) = values
    bound = int(text)

    def compare(labels: Labels) -> bool:
        try:
            number = int(labels[key])
        except (KeyError, ValueError):
            return False
        return number > bound if greater else number < bound

    return compare


_PREDICATES: Mapping[Operator, Callable[[str, frozenset[str]], Predicate]] = {
    Operator.IN: _in,
    Operator.NOT_IN: _not_in,
    Operator.EXISTS: _exists,
    Operator.DOES_NOT_EXIST: _does_not_exist,
    Operator.GREATER: lambda key, values: _compares(key, values, greater=True),
    Operator.LESS: lambda key, values: _compares(key, values, greater=False),
}


def _everything(_labels: Labels) -> bool:
    return True


def _nothing(_labels: Labels) -> bool:
    return False


def _all_of(predicates: tuple[Predicate, ...]) -> Predicate:
    match predicates:
        case ():
            return _everything
        case (only,):
            return only
        case (first, second):
            return lambda labels: first(labels) and second(labels)
    return lambda labels: all(predicate(labels) for predicate in predicates)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """`empty`: no requirement at all. `matches(labels)` is the compiled predicate."""

    requirements: tuple[Requirement, ...]
    matches: Predicate = field(compare=False, repr=False)

    @property
    def empty(self) -> bool:
        return not self.requirements and self.matches is not _nothing


EVERYTHING = LabelSelector((), _everything)
NOTHING = LabelSelector((), _nothing)
"""What a null selector of an API object means."""


def _selector(requirements: Iterable[Requirement]) -> LabelSelector:
    terms = tuple(requirements)
    return LabelSelector(terms, _all_of(tuple(term.predicate() for term in terms))) if terms else EVERYTHING


# --- the text form of label selectors -------------------------------------------------------------


class _Token(StrEnum):
    CLOSE = ")"
    COMMA = ","
    NOT = "!"
    DOUBLE_EQUALS = "=="
    EQUALS = "="
    GREATER = ">"
    IN = "in"
    LESS = "<"
    NOT_EQUALS = "!="
    NOT_IN = "notin"
    OPEN = "("
    IDENTIFIER = "identifier"
    END = "end"
    ERROR = "error"


_SYMBOLS = frozenset("=!(),><")
_SPACE = frozenset(" \t\r\n")
_SYMBOL_TOKENS = {token.value: token for token in _Token if token.value[0] in _SYMBOLS}
_OPERATORS = {
    _Token.IN: Operator.IN,
    _Token.NOT_IN: Operator.NOT_IN,
    _Token.EQUALS: Operator.IN,
    _Token.DOUBLE_EQUALS: Operator.IN,
    _Token.NOT_EQUALS: Operator.NOT_IN,
    _Token.GREATER: Operator.GREATER,
    _Token.LESS: Operator.LESS,
}
_STARTS = (_Token.IDENTIFIER, _Token.NOT)


def _tokens(text: str) -> list[tuple[_Token, str]]:
    """Tokens with their literals, ended by END. A symbol is the longest that the table knows."""
    tokens: list[tuple[_Token, str]] = []
    index, length = 0, len(text)
    while index < length:
        char = text[index]
        if char in _SPACE:
            index += 1
            continue
        start = index
        if char in _SYMBOLS:
            index += 2 if text[index : index + 2] in _SYMBOL_TOKENS else 1
            tokens.append((_SYMBOL_TOKENS[text[start:index]], text[start:index]))
            continue
        while index < length and text[index] not in _SYMBOLS and text[index] not in _SPACE:
            index += 1
        word = text[start:index]
        tokens.append((_Token(word) if word in ("in", "notin") else _Token.IDENTIFIER, word))
    tokens.append((_Token.END, ""))
    return tokens


class _ParseError(Exception):
    """What is wrong, in the server's words."""


class _LabelParser:
    """Recursive descent over `_tokens`. `in` and `notin` are identifiers wherever a value or key may stand."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    def _peek(self) -> tuple[_Token, str]:
        token, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        return (_Token.IDENTIFIER if token in (_Token.IN, _Token.NOT_IN) else token), literal

    def _take(self) -> tuple[_Token, str]:
        taken = self._peek()
        self._position += 1
        return taken

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            token, literal = self._peek()
            if token is _Token.END:
                return requirements
            if token not in _STARTS:
                raise _ParseError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except _ParseError as wrong:
                raise _ParseError(f"unable to parse requirement: {wrong}") from None
            token, literal = self._take()
            if token is _Token.END:
                return requirements
            if token is not _Token.COMMA:
                raise _ParseError(f"found '{literal}', expected: ',' or 'end of string'")
            token, literal = self._peek()
            if token not in _STARTS:
                raise _ParseError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        token, key = self._take()
        negated = token is _Token.NOT
        if negated:
            token, key = self._take()
        if token is not _Token.IDENTIFIER:
            raise _ParseError(f"found '{key}', expected: identifier")
        if problem := names.qualified_name(key):
            raise _ParseError(f"<nil>: Invalid value: {errors.quote_value(key)}: {problem}")
        if negated:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._peek()[0] in (_Token.END, _Token.COMMA):
            return Requirement(key, Operator.EXISTS)
        token, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        self._position += 1
        operator = _OPERATORS.get(token)
        if operator is None:
            raise _ParseError(f"found '{literal}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if token in (_Token.IN, _Token.NOT_IN) else self._exact_value()
        _check_values(key, operator, values)
        return Requirement(key, operator, frozenset(values))

    def _exact_value(self) -> set[str]:
        token, _ = self._peek()
        if token in (_Token.END, _Token.COMMA):
            return {""}
        token, literal = self._take()
        if token is _Token.IDENTIFIER:
            return {literal}
        raise _ParseError(f"found '{literal}', expected: identifier")

    def _values(self) -> set[str]:
        token, literal = self._take()
        if token is not _Token.OPEN:
            raise _ParseError(f"found '{literal}' expected: '('")
        token, literal = self._peek()
        if token is _Token.CLOSE:
            self._take()
            return {""}
        if token not in (_Token.IDENTIFIER, _Token.COMMA):
            raise _ParseError(f"found '{literal}', expected: ',', ')' or identifier")
        values = self._identifiers()
        if self._take()[0] is not _Token.CLOSE:
            raise _ParseError(f"found '{literal}', expected: ')'")
        return values

    def _identifiers(self) -> set[str]:
        values: set[str] = set()
        while True:
            token, literal = self._take()
            following, text = self._peek()
            if token is _Token.IDENTIFIER:
                values.add(literal)
                if following is _Token.CLOSE:
                    return values
                if following is not _Token.COMMA:
                    raise _ParseError(f"found '{text}', expected: ',' or ')'")
            elif token is _Token.COMMA:
                if not values:
                    values.add("")
                if following is _Token.CLOSE:
                    values.add("")
                    return values
                if following is _Token.COMMA:
                    self._take()
                    values.add("")
            else:
                raise _ParseError(f"found '{literal}', expected: ',', or identifier")


def _check_values(key: str, operator: Operator, values: set[str]) -> None:
    problems: list[str] = []
    ordered = sorted(values)
    if operator in (Operator.GREATER, Operator.LESS):
        for index, value in enumerate(ordered):
            if not _is_int64(value):
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                problems.append(f"values[{index}]: Invalid value: {errors.quote_value(value)}: {detail}")
    for index, value in enumerate(ordered):
        if problem := names.label_value(value):
            problems.append(f"values[{index}][{key}]: Invalid value: {errors.quote_value(value)}: {problem}")
    if problems:
        raise _ParseError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def _is_int64(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit() and -(1 << 63) <= int(text) < 1 << 63


def parse_label_selector(text: str) -> LabelSelector:
    """Of a labelSelector option; "" selects everything. Raises ApiError 400, worded as Kubernetes does."""
    if not text:
        return EVERYTHING
    try:
        return _parse_labels(text)
    except _ParseError as wrong:
        raise errors.bad_request(str(wrong)) from None


@lru_cache(MEMO_SIZE)
def _parse_labels(text: str) -> LabelSelector:
    return _selector(_LabelParser(text).parse())


_OBJECT_OPERATORS = {
    operator.value: operator for operator in (Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST)
}


def label_selector_from_obj(selector: Mapping[str, Any] | None) -> LabelSelector:
    """Of a metav1.LabelSelector in an object: None selects nothing, {} everything.

    The object has been validated; an unknown operator all the same raises ApiError 400.
    Source: metav1.LabelSelectorAsSelector.
    """
    if selector is None:
        return NOTHING
    requirements = [
        Requirement(key, Operator.IN, frozenset((value,)))
        for key, value in sorted((selector.get("matchLabels") or {}).items())
    ]
    for expression in selector.get("matchExpressions") or ():
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise errors.bad_request(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        requirements.append(Requirement(expression["key"], operator, frozenset(expression.get("values") or ())))
    return _selector(requirements)


# --- field selectors ------------------------------------------------------------------------------

ALWAYS_SELECTABLE = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """`label` as the stored kind spells it; a field that is not set is ""."""

    label: str
    value: str
    negated: bool = False

    def predicate(self) -> Predicate:
        label, value = self.label, self.value
        if self.negated:
            return lambda fields: fields.get(label, "") != value
        return lambda fields: fields.get(label, "") == value


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """`matches(fields)` over `Entry.fields`."""

    terms: tuple[FieldTerm, ...]
    matches: Predicate = field(compare=False, repr=False)

    @property
    def empty(self) -> bool:
        return not self.terms

    def exact(self, label: str) -> str | None:
        """The one value that a match must have in this field, or None."""
        return next((term.value for term in self.terms if term.label == label and not term.negated), None)


ANY_FIELDS = FieldSelector((), _everything)


def parse_field_selector(text: str, allowed: Mapping[str, str] | None = None, *, custom: bool = False) -> FieldSelector:
    """Of a fieldSelector option; "" selects everything.

    `allowed` is the row's `field_labels`: label as clients of this version spell it → label in `Entry.fields`;
    metadata.name and metadata.namespace always are. `custom`: of a custom resource (it words the refusal).
    Raises ApiError 400.
    """
    if not text:
        return ANY_FIELDS
    labels = allowed or {}
    terms = tuple(
        FieldTerm(_stored_label(term.label, labels, custom), term.value, term.negated)
        for term in _parse_field_terms(text)
    )
    return FieldSelector(terms, _all_of(tuple(term.predicate() for term in terms)))


def _stored_label(label: str, labels: Mapping[str, str], custom: bool) -> str:
    if label in labels:
        return labels[label]
    if label in ALWAYS_SELECTABLE:
        return label
    if labels or custom:
        raise errors.bad_request(f"field label not supported: {label}")
    known = ", ".join(errors.quote_value(name) for name in ALWAYS_SELECTABLE)
    raise errors.bad_request(f"{errors.quote_value(label)} is not a known field selector: only {known}")


@lru_cache(MEMO_SIZE)
def _parse_field_terms(text: str) -> tuple[FieldTerm, ...]:
    return tuple(_field_term(text, part) for part in sorted(_split_terms(text)) if part)


def _split_terms(text: str) -> list[str]:
    """At commas that no backslash escapes."""
    parts: list[str] = []
    start = 0
    escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


_FIELD_OPERATORS = ("!=", "==", "=")


def _field_term(text: str, part: str) -> FieldTerm:
    for index in range(len(part)):
        for operator in _FIELD_OPERATORS:
            if part.startswith(operator, index):
                value = _unescape(part[index + len(operator) :])
                return FieldTerm(part[:index], value, operator == "!=")
    raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")


def _unescape(value: str) -> str:
    if not any(char in value for char in "\\,="):
        return value
    plain: list[str] = []
    escaped = False
    for char in value:
        if escaped:
            if char not in "\\,=":
                raise _bad_escape(f"invalid escape sequence: \\{char}")
            plain.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise _bad_escape(f"unescaped character in value: {ord(char)}")
        else:
            plain.append(char)
    if escaped:
        raise _bad_escape("invalid escape sequence: \\")
    return "".join(plain)


def _bad_escape(what: str) -> ApiError:
    return errors.bad_request(f"invalid field selector: {what}")
