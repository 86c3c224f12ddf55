"""Schedules of CronJobs: whether a text is one, worded as the parser of Kubernetes words it.

Source: github.com/robfig/cron/v3 parser.go, pkg/apis/batch/validation (1.37).
"""

from __future__ import annotations

import re
import zoneinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# lowest, highest, names
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: index + 1 for index, name in enumerate(_MONTHS)}),
    (0, 6, {name: index for index, name in enumerate(_DAYS)}),
)
_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_every = re.compile(r"@every [-+]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+").fullmatch
_zone_part = re.compile(r"[A-Za-z._0-9+][A-Za-z._0-9+-]{0,13}").fullmatch


def schedule(text: str) -> str:
    """ "" or why it is none."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        zone, space, text = text.partition(" ")
        if not space:
            return "invalid schedule format: runtime error: slice bounds out of range [:-1]"
        name = zone.partition("=")[2]
        if problem := _unknown_zone(name):
            return f"provided bad location {name}: {problem}"
    text = text.strip()
    if text.startswith("@"):
        return _descriptor(text)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high, named) in zip(fields, _FIELDS, strict=True):
        for part in filter(None, field.split(",")):
            if problem := _range(part, low, high, named):
                return problem
    return ""


def _descriptor(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        return "" if _every(text) else f'failed to parse duration {text}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {text}"


def _range(part: str, low: int, high: int, named: dict[str, int]) -> str:
    span, *steps = part.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        numbers = []
        for text in ends[:2]:
            number, problem = _number(text, named)
            if problem:
                return problem
            numbers.append(number)
        if len(ends) > 2:
            return f"too many hyphens: {part}"
        start, end = numbers[0], numbers[-1]
    step = 1
    if len(steps) > 1:
        return f"too many slashes: {part}"
    if steps:
        step, problem = _number(steps[0], {})
        if problem:
            return problem
        end = high if len(ends) == 1 else end
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {part}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {part}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {part}"
    return "" if step else f"step of range should be a positive number: {part}"


def _number(text: str, named: dict[str, int]) -> tuple[int, str]:
    if text.lower() in named:
        return named[text.lower()], ""
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        return 0, f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
    return (int(text), "") if int(text) >= 0 else (0, f"negative number ({int(text)}) not allowed: {text}")


def time_zone(text: str) -> list[str]:
    """All that is wrong with a name of a time zone."""
    if not text:
        return ["timeZone must be nil or non-empty string"]
    if not all(part not in (".", "..") and _zone_part(part) for part in text.split("/")):
        return [f"unknown time zone {text}"]
    problems = []
    if text.lower() == "local":
        problems.append("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        if text == "Local":
            return problems
    if problem := _unknown_zone(text):
        problems.append(problem)
    return problems


def _unknown_zone(name: str) -> str:
    if name in ("", "UTC", "Local"):
        return ""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"unknown time zone {name}"
    return ""
