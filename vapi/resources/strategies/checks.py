"""The small checks that the rules of all kinds are made of: each appends to `causes` what is wrong at `path`.

A check of something absent says nothing unless its name says it is required.
Source: k8s.io/apimachinery pkg/api/validation, pkg/util/validation (1.37).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from vapi import names, objectmeta
from vapi.errors import (
    Cause,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from vapi.gvk import Obj
from vapi.resources.strategies import godump, values
from vapi.schema import quantity

Causes = list[Cause]

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"
MAX_PORT = 65535
MAX_INT32 = 2**31 - 1
PORT_RANGE = f"must be between 1 and {MAX_PORT}, inclusive"
USER_RANGE = f"must be between 0 and {MAX_INT32}, inclusive"
FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
MAX_FILE_MODE = 0o777
PROTOCOLS = ("SCTP", "TCP", "UDP")

dns_label_problem = lru_cache(maxsize=8192)(names.dns_label)
dns_subdomain_problem = lru_cache(maxsize=8192)(names.dns_subdomain)
qualified_problem = lru_cache(maxsize=4096)(names.qualified_name)
label_value_problem = lru_cache(maxsize=4096)(names.label_value)


def text(causes: Causes, path: str, value: str, problem: str) -> None:
    """`problem` as a form check gave it: "" says nothing."""
    if problem:
        causes.append(field_invalid(path, value, problem))


def dns_label(causes: Causes, path: str, value: str) -> None:
    text(causes, path, value, dns_label_problem(value))


def dns_subdomain(causes: Causes, path: str, value: str) -> None:
    text(causes, path, value, dns_subdomain_problem(value))


def qualified(causes: Causes, path: str, value: str) -> None:
    if problem := qualified_problem(value):
        # an empty name is two things that are wrong
        causes.extend(field_invalid(path, value, part) for part in problem.split("; "))


def required(causes: Causes, path: str, value: Any, detail: str = "") -> bool:
    """Whether it is there; numbers count as there only if not 0."""
    if value:
        return True
    causes.append(field_required(path, detail))
    return False


def one_of(causes: Causes, path: str, value: Any, supported: Sequence[str]) -> None:
    if value is not None and value not in supported:
        causes.append(field_not_supported(path, value, supported))


def required_one_of(causes: Causes, path: str, value: Any, supported: Sequence[str]) -> None:
    if not value:
        causes.append(field_required(path))
    elif value not in supported:
        causes.append(field_not_supported(path, value, supported))


def not_negative(causes: Causes, path: str, value: int | None) -> None:
    if value is not None and value < 0:
        causes.append(field_invalid(path, value, NEGATIVE))


def positive(causes: Causes, path: str, value: int | None) -> None:
    if value is not None and value <= 0:
        causes.append(field_invalid(path, value, NOT_POSITIVE))


def in_range(causes: Causes, path: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        causes.append(field_invalid(path, value, f"must be between {low} and {high}, inclusive"))


def user_id(causes: Causes, path: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= MAX_INT32:
        causes.append(field_invalid(path, value, USER_RANGE))


def file_mode(causes: Causes, path: str, value: int | None) -> None:
    if value is not None and not 0 <= value <= MAX_FILE_MODE:
        causes.append(field_invalid(path, value, FILE_MODE))


# --- ports ---------------------------------------------------------------------------------------


def port(causes: Causes, path: str, number: int) -> None:
    if not 1 <= number <= MAX_PORT:
        causes.append(field_invalid(path, number, PORT_RANGE))


def port_or_name(causes: Causes, path: str, value: Any) -> None:
    if isinstance(value, str):
        for problem in values.port_name(value):
            causes.append(field_invalid(path, value, problem))
    else:
        port(causes, path, value or 0)


# --- labels and selectors ------------------------------------------------------------------------


def labels(causes: Causes, path: str, found: Obj | None) -> None:
    if found:
        causes.extend(objectmeta.validate_labels(found, path))


def label_selector(causes: Causes, path: str, selector: Obj | None) -> None:
    if not selector:
        return
    labels(causes, f"{path}.matchLabels", selector.get("matchLabels"))
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        _requirement(causes, f"{path}.matchExpressions[{index}]", requirement)


def _requirement(causes: Causes, path: str, requirement: Obj) -> None:
    operator, listed = requirement.get("operator", ""), requirement.get("values") or ()
    operator_and_values(causes, path, operator, listed)
    qualified(causes, f"{path}.key", requirement.get("key", ""))
    for index, value in enumerate(listed):
        text(causes, f"{path}.values[{index}]", value, label_value_problem(value))


def operator_and_values(causes: Causes, path: str, operator: str, listed: Sequence[str]) -> None:
    """In, NotIn, Exists, DoesNotExist, and whether they have the values they want."""
    if operator in ("In", "NotIn"):
        if not listed:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            causes.append(field_required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist"):
        if listed:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(field_forbidden(f"{path}.values", detail))
    else:
        causes.append(field_invalid(f"{path}.operator", operator, "not a valid selector operator"))


def is_empty_selector(selector: Obj | None) -> bool:
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def annotation_keys(causes: Causes, path: str, found: Obj | None) -> None:
    for cause in objectmeta.validate_annotations(found or {}):
        causes.append(Cause(cause.reason, cause.message, path))


# --- addresses -----------------------------------------------------------------------------------


def ip(causes: Causes, path: str, value: str, known: Iterable[str] = ()) -> None:
    """An address in any spelling that is not ambiguous; one of `known`, which the stored object has, may stay."""
    if value not in known:
        text(causes, path, value, values.ip(value))


def cidr(causes: Causes, path: str, value: str, known: Iterable[str] = ()) -> None:
    if value not in known:
        text(causes, path, value, values.cidr(value))


# --- quantities ----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def nanos(amount: str) -> int:
    """The value of a quantity times 10⁹. Raises QuantityError."""
    return quantity.parse(amount).nanos


# --- comparison ----------------------------------------------------------------------------------


def unique(causes: Causes, path: str, value: Any, seen: set[Any]) -> None:
    if value in seen:
        causes.append(field_duplicate(path, value))
    seen.add(value)


def immutable(causes: Causes, path: str, new: Any, old: Any, type_: str = "") -> None:
    """`type_`: how the value is shown, see `godump`; "" for plain values."""
    if new != old:
        if type_:
            causes.append(godump.invalid(path, type_, new, IMMUTABLE))
        else:
            causes.append(field_invalid(path, new, IMMUTABLE))


def unchanging(causes: Causes, path: str, new: Any, old: Any) -> None:
    """`immutable` where upstream's rule is generated: it does not show the value."""
    if new != old:
        causes.append(field_invalid(path, None, IMMUTABLE))


def generated_last(causes: Causes, *patterns: str) -> Causes:
    """`causes` with those of generated rules at the end, as upstream has them.

    Of each pattern in turn, which matches the start of `field: message`.
    """
    if len(causes) < 2:
        return causes
    late = [
        cause
        for wanted in map(re.compile, patterns)
        for cause in causes
        if wanted.match(f"{cause.field}: {cause.message}")
    ]
    return [*(cause for cause in causes if not any(cause is each for each in late)), *late]


Check = Callable[[Causes, str, Any], None]


def present(causes: Causes, path: str, obj: Mapping[str, Any], table: Mapping[str, Check]) -> None:
    """Run the check of each key that is there, in the order of the table."""
    for key, check in table.items():
        value = obj.get(key)
        if value is not None:
            check(causes, f"{path}.{key}", value)
