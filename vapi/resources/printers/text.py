"""What cells are made of: ages, label sets, selectors, shortened lists, each as kubectl shows it.

Source: apimachinery util/duration and labels; pkg/printers/internalversion.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from vapi.gvk import Obj

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human_duration(seconds: float) -> str:
    """At most two units and three digits: `119s`, `9m59s`, `3h5m`, `47h`, `7d23h`, `700d`, `2y5d`."""
    whole = int(seconds)  # toward zero, as Go converts
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for limit, unit, sign, smaller, smaller_sign in _STEPS:
        if whole < limit:
            rest = whole % unit // smaller if smaller else 0
            return f"{whole // unit}{sign}{rest}{smaller_sign}" if rest else f"{whole // unit}{sign}"
    return f"{whole // _YEAR}y"


# (below these seconds, unit, its sign, next smaller unit or 0, its sign)
_STEPS = (
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 0, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (48 * _HOUR, _HOUR, "h", 0, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)


def parse_time(text: Any) -> dt.datetime | None:
    """None for an unset time and for what is no time."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


def since(text: Any, now: dt.datetime) -> str:
    moment = parse_time(text)
    return UNKNOWN if moment is None else human_duration((now - moment).total_seconds())


def age(obj: Obj, now: dt.datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def name(obj: Obj) -> str:
    return str(obj["metadata"].get("name", ""))


def part(obj: Mapping[str, Any], *path: str) -> Any:
    """The map at `path`; an empty one where it is unset."""
    for key in path:
        obj = obj.get(key) or {}
    return obj


def label_set(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as kubectl writes one; "" when it selects by nothing. Sorted by key."""
    if not selector:
        return ""
    requirements = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key = expression.get("key", "")
        form = _OPERATORS.get(expression.get("operator", ""))
        if form is None:
            return "<error>"
        requirements.append((key, form.format(key=key, values=",".join(sorted(expression.get("values") or ())))))
    return ",".join(text for _, text in sorted(requirements, key=lambda requirement: requirement[0]))


_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


def selector(label_selector: Mapping[str, Any] | None) -> str:
    return selector_text(label_selector) or NONE


def shortened(items: Iterable[str], *, limit: int = 3, separator: str = ",", empty: str = UNSET) -> str:
    """The first `limit` items and how many more there are; `empty` when there is none."""
    found = list(items)
    text = separator.join(found[:limit])
    if len(found) > limit:
        return f"{text} + {len(found) - limit} more..."
    return text or empty


def containers(pod_spec: Mapping[str, Any]) -> tuple[str, str]:
    """Names and images of the containers."""
    found = pod_spec.get("containers") or ()
    return ",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)


def condition_status(conditions: Iterable[Mapping[str, Any]] | None, kind: str) -> str:
    """The status of the first condition of this type; "" when there is none."""
    return next((str(c.get("status", "")) for c in conditions or () if c.get("type") == kind), "")


def optional(value: Any, unset: str = UNSET) -> str:
    """A pointer's value as text; `unset` for null."""
    if value is None:
        return unset
    return str(value)


def optional_bool(value: Any) -> str:
    return UNSET if value is None else str(bool(value))
