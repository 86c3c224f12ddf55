"""Times as Go reads and prints them: RFC 3339 to whole seconds (Time) or with six digits (MicroTime), in UTC.

Errors are worded as Go's time.Parse words them: `parsing time "x" as "2006-…": cannot parse "x" as "2006"`.
"""

from __future__ import annotations

import datetime as dt
import re

RFC3339 = "2006-01-02T15:04:05Z07:00"
RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"

_TWO = r"\d\d"
_DATE_TIME = [
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", _TWO),
    ("-", "-"),
    ("02", _TWO),
    ("T", "T"),
    ("15", r"\d\d?"),
    (":", ":"),
    ("04", _TWO),
    (":", ":"),
    ("05", _TWO),
]
_ZONE = ("Z07:00", r"Z|[+-]\d\d:\d\d")
_PARTS = {
    RFC3339: [*_DATE_TIME, ("", r"(?:[.,]\d+)?"), _ZONE],
    RFC3339_MICRO: [*_DATE_TIME, (".000000", r"[.,]\d{6}"), _ZONE],
}
_RANGES = {"01": (1, 12, "month"), "15": (0, 23, "hour"), "04": (0, 59, "minute"), "05": (0, 59, "second")}


class TimeError(ValueError):
    """Worded as Go words it."""


def canonical(text: str) -> str:
    """A Time as Kubernetes prints it: `2026-01-01T00:00:00Z`. Raises TimeError."""
    return _parse(text, RFC3339).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def canonical_micro(text: str) -> str:
    """A MicroTime: `2026-01-01T00:00:00.000000Z`. Raises TimeError."""
    return _parse(text, RFC3339_MICRO).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _parse(text: str, layout: str) -> dt.datetime:
    rest, found = text, {}
    for part, pattern in _PARTS[layout]:
        match = re.match(pattern, rest)
        if match is None:
            raise TimeError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{part}"')
        if part in _RANGES:
            low, high, name = _RANGES[part]
            if not low <= int(match[0]) <= high:
                raise TimeError(f'parsing time "{text}": {name} out of range')
        found[part] = match[0]
        rest = rest[match.end() :]
    offset = _offset(text, found["Z07:00"])
    if rest:
        raise TimeError(f'parsing time "{text}": extra text: "{rest}"')
    fraction = found.get("") or found.get(".000000") or ""
    try:
        moment = dt.datetime(
            int(found["2006"]), int(found["01"]), int(found["02"]), int(found["15"]), int(found["04"]), int(found["05"])
        )
        moment = moment.replace(microsecond=int(fraction[1:7].ljust(6, "0"))) if fraction else moment
        return moment - offset
    except (ValueError, OverflowError):
        raise TimeError(f'parsing time "{text}": day out of range') from None


def _offset(text: str, zone: str) -> dt.timedelta:
    if zone == "Z":
        return dt.timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 24 or minutes > 60:
        part = "hour" if hours > 24 else "minute"
        raise TimeError(f'parsing time "{text}": time zone offset {part} out of range')
    return dt.timedelta(hours=hours, minutes=minutes) * (1 if zone[0] == "+" else -1)
