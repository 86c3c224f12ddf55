"""Workqueue: keys of what has to be looked at again, each once, in order of priority, with delays and back-off.

A key that is added while a worker has it comes back when the worker is done,
so that no two workers ever hold one key and no change is missed. Everything
runs on the loop and never awaits, but for `get`, which waits for a key.

Bounds. A key is kept once, so the queue is as long as there are objects. Above
`max_keys` a key is not kept; the queue remembers that it missed some, and when
it has drained it reads all keys again from `refill`, a piece at a time. The
same way it reads them at the start: nothing holds the loop to add 100,000 keys.
Source of the semantics: client-go util/workqueue (dedup, in flight, delay, rate limit).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from vapi.clock import Clock, SystemClock

Key = TypeVar("Key", bound=Hashable)

DEFAULT_MAX_KEYS = 500_000
"""About 100 MB of key tuples at worst; a guess far above any tenant."""

_REFILL_PIECE = 500
"""Keys taken from `refill` at a time: below 1 ms (law 9)."""


class Retry(Exception):
    """Work wants another try: after `after_s` seconds, or, when that is None, after the key's own back-off."""

    def __init__(self, after_s: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "try again")
        self.after_s = after_s
        self.reason = reason


class Permanent(Exception):
    """Work cannot succeed until something changes. `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class QueueClosed(Exception):
    """`get` after `close`: the worker ends."""


class WorkQueue(Generic[Key]):
    """Priorities are 0 (first) to `priorities` - 1; a key added twice keeps the smaller one.

    `base_delay_s` doubles with each failure of a key up to `max_delay_s`
    (client-go: 5 ms and 1000 s; here 60 s, so that nobody waits a quarter of an hour for a host that is back).
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        priorities: int = 1,
        base_delay_s: float = 0.005,
        max_delay_s: float = 60.0,
        max_keys: int = DEFAULT_MAX_KEYS,
        refill: Callable[[], Iterable[Key]] | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._base_delay_s = base_delay_s
        self._max_delay_s = max_delay_s
        self._max_keys = max_keys
        self._refill = refill
        self._refilling: Iterator[Key] | None = None
        self._missed = False
        self._ready: tuple[deque[Key], ...] = tuple(deque() for _ in range(priorities))
        self._waiting: dict[Key, int] = {}
        """Key → priority. An entry of `_ready` whose priority differs is stale: the key moved forward."""
        self._in_flight: dict[Key, int | None] = {}
        """Key → priority it was added with while in flight, or None."""
        self._delayed: list[tuple[float, int, Key, int]] = []
        self._due: dict[Key, float] = {}
        """Key → when it is due; an entry of `_delayed` with another time is stale."""
        self._sequence = 0
        self._failures: dict[Key, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    # --- adding --------------------------------------------------------------------------------------

    def add(self, key: Key, priority: int = 0) -> None:
        """Look at `key` soon. Already waiting: nothing but a better priority; in flight: again when it is done."""
        if self._closed:
            return
        if key in self._in_flight:
            before = self._in_flight[key]
            self._in_flight[key] = priority if before is None else min(before, priority)
            return
        before = self._waiting.get(key)
        if before is not None and before <= priority:
            return
        if before is None and len(self._waiting) >= self._max_keys:
            self._missed = True
            return
        self._waiting[key] = priority
        self._ready[priority].append(key)
        self._wake()

    def add_after(self, key: Key, delay_s: float, priority: int = 0) -> None:
        """Look at `key` in `delay_s` seconds; of several delays of one key the shortest holds."""
        if delay_s <= 0:
            self.add(key, priority)
            return
        if self._closed:
            return
        due = self._clock.monotonic() + delay_s
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        if known is None and len(self._due) >= self._max_keys:
            self._missed = True
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._delayed, (due, self._sequence, key, priority))
        if self._delayed[0][1] == self._sequence:
            self._arm()

    def retry(self, key: Key, priority: int = 0) -> float:
        """`key` failed: look again after its back-off, which is the answer in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s: float = min(self._base_delay_s * 2 ** min(failures, 40), self._max_delay_s)
        self.add_after(key, delay_s, priority)
        return delay_s

    def forget(self, key: Key) -> None:
        """`key` succeeded: its back-off starts anew."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often `key` failed since it last succeeded."""
        return self._failures.get(key, 0)

    def refill(self) -> None:
        """Read all keys from the `refill` of the constructor, a piece at a time: at the start, and after a relist."""
        self._missed = self._refill is not None
        self._wake()

    # --- taking --------------------------------------------------------------------------------------

    async def get(self) -> Key:
        """The next key, now in flight: call `done` whatever happens. Raises QueueClosed."""
        while True:
            if self._closed:
                raise QueueClosed
            self.tick()
            key = self._take()
            if key is not None:
                return key[0]
            await self._wait()

    def done(self, key: Key) -> None:
        """The worker let go of `key`; if it was added meanwhile it waits again, at the end of its class."""
        again = self._in_flight.pop(key, None)
        if again is not None:
            self.add(key, again)

    def tick(self) -> None:
        """Move what is due from the delayed keys to the waiting ones. The timer calls it; so may who moves a clock."""
        now = self._clock.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key, priority = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, priority)
        self._arm()

    def close(self) -> None:
        """Every `get`, waiting or later, raises QueueClosed. What is queued is dropped: work is level-triggered."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            self._wake()

    # --- looking -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Keys that wait to be taken (delayed ones and those in flight not counted)."""
        return len(self._waiting)

    @property
    def delayed(self) -> int:
        return len(self._due)

    @property
    def idle(self) -> bool:
        """Nothing to take, nothing in flight; delayed keys do not count."""
        return not self._waiting and not self._in_flight and not self._missed and self._refilling is None

    def next_due_s(self) -> float | None:
        """Seconds until the first delayed key is due (0: now); None: there is none."""
        if not self._due:
            return None
        return max(0.0, min(self._due.values()) - self._clock.monotonic())

    # --- inside --------------------------------------------------------------------------------------

    def _take(self) -> tuple[Key] | None:
        if not self._waiting:
            self._pull()
        for priority, ready in enumerate(self._ready):
            while ready:
                key = ready.popleft()
                if self._waiting.get(key) == priority:
                    del self._waiting[key]
                    self._in_flight[key] = None
                    return (key,)
        return None

    def _pull(self) -> None:
        """A piece of the refill. Its keys have the last priority: what changes now goes first."""
        if self._missed and self._refilling is None and self._refill is not None:
            self._missed = False
            self._refilling = iter(self._refill())
        size = min(_REFILL_PIECE, self._max_keys)
        while self._refilling is not None and not self._waiting:
            piece = list(itertools.islice(self._refilling, size))
            if len(piece) < size:
                self._refilling = None
            for key in piece:
                self.add(key, len(self._ready) - 1)

    async def _wait(self) -> None:
        getter = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            await getter
        except asyncio.CancelledError:
            if getter in self._getters:
                self._getters.remove(getter)
            else:
                self._wake()  # it was woken for a key that it cannot take: wake another
            raise

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self) -> None:
        """One timer, for the first delayed key; outside a running loop there is none, and somebody calls `tick`."""
        first = self._delayed[0][0] if self._delayed and not self._closed else None
        if self._timer is not None:
            if first == self._timer_due:
                return  # every `get` asks
            self._timer.cancel()
            self._timer = None
        if first is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer_due = first
        self._timer = loop.call_later(max(0.0, first - self._clock.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.tick()
