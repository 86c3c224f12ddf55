"""Schedules: five fields or a macro of cron, in a time zone, or `@every <duration>`. Pure.

`cronsim` evaluates the fields. Where it differs from Kubernetes (robfig/cron): around
a change of the clocks it does as Debian's cron, so a time that is skipped runs right
after and one that comes twice runs once; and a step counts as a star (`*/2` of both kinds of day means both).
Source: CronJob API, spec.schedule; robfig/cron v3 spec of macros and durations.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass
from typing import Protocol

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_SECOND = dt.timedelta(seconds=1)
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


class ScheduleError(ValueError):
    """The text is no schedule, or the zone is unknown."""


class Schedule(Protocol):
    """Times are aware; those that come out are in UTC."""

    def next(self, after: dt.datetime) -> dt.datetime | None:
        """The first one later than `after`; None: there is none for decades."""

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        """The last one later than `after` and not later than `until`."""


@dataclass(frozen=True, slots=True)
class Fields:
    text: str
    zone: dt.tzinfo

    def next(self, after: dt.datetime) -> dt.datetime | None:
        return self._step(after, reverse=False)

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        found = self._step(until + _SECOND, reverse=True)
        return found if found is not None and found > after else None

    def _step(self, start: dt.datetime, *, reverse: bool) -> dt.datetime | None:
        found = next(CronSim(self.text, start.astimezone(self.zone), reverse=reverse), None)
        return None if found is None else found.astimezone(dt.UTC)


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed delay after the last time. `latest` needs the time it counts from as `after`."""

    delay: dt.timedelta

    def next(self, after: dt.datetime) -> dt.datetime | None:
        return after.astimezone(dt.UTC).replace(microsecond=0) + self.delay

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        count = (until - after) // self.delay
        return after.astimezone(dt.UTC) + count * self.delay if count > 0 else None


def zone(name: str) -> dt.tzinfo:
    """UTC for "". Raises ScheduleError."""
    if not name:
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"unknown time zone {name}") from None


def parse(text: str, zone_name: str = "") -> Schedule:
    """Raises ScheduleError."""
    where = zone(zone_name)
    text = text.strip()
    if text.startswith("@every "):
        return Every(_duration(text.removeprefix("@every ").strip()))
    if text.startswith("@"):
        if text not in MACROS:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = MACROS[text]
    parts = text.replace("?", "*").split()
    if len(parts) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    try:
        CronSim(" ".join(parts), dt.datetime.now(dt.UTC))
    except CronSimError as error:
        raise ScheduleError(str(error)) from None
    return Fields(" ".join(parts), where)


def _duration(text: str) -> dt.timedelta:
    """Of Go, like `1h30m`; at least a second."""
    if not _DURATION.fullmatch(text):
        raise ScheduleError(f"failed to parse duration @every {text}")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    return dt.timedelta(seconds=max(1, int(seconds)))
