"""SchedulingQueue: keys in the order of what they matter, not of when they came."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from vapi.clock import Clock
from vapi.control.informer import Name
from vapi.control.workqueue import WorkQueue

Order = tuple[int, str, Name]


class SchedulingQueue(WorkQueue[Name]):
    """A WorkQueue in every respect but the order of the keys that wait.

    `order(key)` is asked when the key is queued; small comes first. `busy`: work that goes on beside the queue.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        refill: Callable[[], Iterable[Name]],
        order: Callable[[Name], Order],
        busy: Callable[[], bool],
        **options: Any,
    ) -> None:
        super().__init__(clock=clock, refill=refill, **options)
        self._order = order
        self._busy = busy
        self._heap: list[Order] = []

    @property
    def idle(self) -> bool:
        return super().idle and not self._busy()

    def _take(self) -> tuple[Name] | None:
        if not self._waiting:
            self._pull()
        for ready in self._ready:
            while ready:
                key = ready.popleft()
                if key in self._waiting:
                    heapq.heappush(self._heap, self._order(key))
        while self._heap:
            key = heapq.heappop(self._heap)[2]
            if key in self._waiting:
                del self._waiting[key]
                self._in_flight[key] = None
                return (key,)
        return None
