"""Limiter: one bucket for all requests to the host, most urgent first; slower when the host says 429.

Additive increase, multiplicative decrease: halved by a 429, which also holds
everything back for its Retry-After; then a twentieth of the full rate more each second.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools

from vapi.clock import Clock

BURST_S = 0.25
"""The bucket holds this much of the rate (a guess: 100 requests at 400/s, so that a Deployment of 30 goes at once)."""
RECOVERY_PER_S = 0.05
MIN_RATE = 1.0
MAX_HOLD_S = 60.0
UNREACHABLE_HOLD_S = (0.5, 5.0)
"""After no answer, doubling: an outage costs a few requests a second, and sync resumes within seconds of the host."""


class Limiter:
    """`rate` in requests a second; 0: no limit, but a 429 still holds back. Runs on the loop."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._full = rate
        self._rate = rate
        self._clock = clock
        self._at = clock.monotonic()
        self._tokens = self._capacity
        self._held_until = float("-inf")
        self._unanswered_hold_s = 0.0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def rate(self) -> float:
        """At present."""
        self._fill()
        return self._rate

    async def take(self, priority: int) -> None:
        """Wait for one request's turn; among those waiting the smallest priority goes first."""
        if not self._waiting and self._free():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._sequence), future))
        self._arm()
        await future

    def refused(self, retry_after_s: float) -> None:
        """The host answered 429."""
        self._fill()
        self._rate = max(self._rate / 2, min(MIN_RATE, self._full))
        hold_s = min(max(retry_after_s, 0.0), MAX_HOLD_S)
        self._held_until = max(self._held_until, self._clock.monotonic() + hold_s)

    def unanswered(self) -> None:
        """The host did not answer: hold everything back for a while, longer each time."""
        now = self._clock.monotonic()
        if now < self._held_until:
            return  # others that were under way with the first
        shortest, longest = UNREACHABLE_HOLD_S
        recent = now - self._held_until <= longest
        self._unanswered_hold_s = min(longest, self._unanswered_hold_s * 2) if recent else shortest
        self._held_until = now + self._unanswered_hold_s

    def tick(self) -> None:
        """Let go who may. The timer calls it; so may who moves a clock."""
        self._timer = None
        while self._waiting:
            if self._waiting[0][2].done():
                heapq.heappop(self._waiting)
            elif self._free():
                heapq.heappop(self._waiting)[2].set_result(None)
            else:
                break
        self._arm()

    @property
    def _capacity(self) -> float:
        return max(1.0, self._rate * BURST_S)

    def _fill(self) -> None:
        now = self._clock.monotonic()
        passed, self._at = now - self._at, now
        self._rate = min(self._full, self._rate + self._full * RECOVERY_PER_S * passed)
        self._tokens = min(self._capacity, self._tokens + self._rate * passed)

    def _free(self) -> bool:
        if self._clock.monotonic() < self._held_until:
            return False
        if not self._full:
            return True
        self._fill()
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _arm(self) -> None:
        if self._timer is not None or not self._waiting:
            return
        held_s = self._held_until - self._clock.monotonic()
        short_s = (1.0 - self._tokens) / self._rate if self._full else 0.0
        delay_s = max(held_s, short_s, 0.0005)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.tick)
