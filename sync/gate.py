"""Gate: one at a time per Service: a look of the engine, or an allocation with the commit that follows it.

Without it the engine, which knows only what is committed, would take back on the host what a write that is under way
has just been given there. In memory: after a restart nothing is under way. Runs on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque

Name = tuple[str, str]
"""(tenant namespace, tenant name)."""


class Gate:
    """`enter` waits in order; `try_enter` never overtakes who waits. Bounded by the requests that are under way."""

    def __init__(self) -> None:
        self._inside: dict[Name, deque[asyncio.Future[None]]] = {}
        """Who is in, with those who wait behind it."""

    def busy(self, name: Name) -> bool:
        return name in self._inside

    def try_enter(self, name: Name) -> bool:
        if name in self._inside:
            return False
        self._inside[name] = deque()
        return True

    async def enter(self, name: Name) -> None:
        if self.try_enter(name):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inside[name].append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(name)  # it was our turn already
            raise

    def leave(self, name: Name) -> None:
        """The next one is in at once."""
        waiting = self._inside[name]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._inside[name]
