"""Time as an argument: the real clock, and the seam that lets tests pass another."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> dt.datetime:
        """Wall time, UTC, aware."""

    def monotonic(self) -> float:
        """Seconds that never go back."""


class SystemClock:
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def rfc3339(when: dt.datetime) -> str:
    """Seconds, UTC, `Z`: the wire form of metav1.Time."""
    return when.astimezone(dt.UTC).isoformat(timespec="seconds")[:19] + "Z"


def rfc3339_micro(when: dt.datetime) -> str:
    """Six fractional digits: the wire form of metav1.MicroTime."""
    return when.astimezone(dt.UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_rfc3339(text: str) -> dt.datetime:
    """Of either form. Raises ValueError."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def utc_from_timestamp(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
