"""When a watcher sends a bookmark: a pure decision.

Source: apiserver cacher bookmark handling (about once a minute, and shortly before the timeout).
"""

from __future__ import annotations

INTERVAL_S = 60.0  # upstream bookmarkFrequency: 1 min
BEFORE_END_S = 2.0  # upstream sends a last one 2 s before the timeout


def next_bookmark(*, now: float, last: float, ends_at: float) -> float:
    """The monotonic time of the next bookmark: a minute after `last`, or just before the end, whichever is first.

    Never after the end, which has to be noticed in time.
    """
    regular = min(last + INTERVAL_S, ends_at)
    final = ends_at - BEFORE_END_S
    return min(regular, final) if final > max(now, last) else regular
