"""References: who names which ConfigMap and Secret; only what is named is on the host.

A reverse index in memory, nothing durable: a restart fills it from the virtual
cache. What nobody names any more is released 60 s after its last referrer left
the host, for the next pod of a rollout names the same.
"""

from __future__ import annotations

from collections.abc import Collection

from sync.translator import Ref
from vapi.clock import Clock

RELEASE_AFTER_S = 60.0

Referrer = tuple[object, str, str]
"""(resource, namespace, name)."""


class References:
    """Runs on the loop, never awaits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._named: dict[Referrer, frozenset[Ref]] = {}
        self._referrers: dict[Ref, set[Referrer]] = {}
        self._released_at: dict[Ref, float] = {}

    def set(self, referrer: Referrer, refs: Collection[Ref]) -> frozenset[Ref]:
        """`referrer` names exactly `refs`. Answers those that nobody named before; look at them now."""
        new = frozenset(refs)
        old = self._named.get(referrer, frozenset())
        if new == old:
            return frozenset()
        if new:
            self._named[referrer] = new
        else:
            self._named.pop(referrer, None)
        first = frozenset(r for r in new - old if r not in self._referrers)
        for ref in new - old:
            self._referrers.setdefault(ref, set()).add(referrer)
            self._released_at.pop(ref, None)
        for ref in old - new:
            self._leave(ref, referrer)
        return first

    def drop(self, referrer: Referrer) -> frozenset[Ref]:
        """`referrer` has left the host. Answers those that nobody names now; look at them in RELEASE_AFTER_S."""
        named = self._named.pop(referrer, frozenset())
        return frozenset(r for r in named if self._leave(r, referrer))

    def hold(self, ref: Ref) -> None:
        """It is on the host: wait RELEASE_AFTER_S for somebody to name it (after a restart)."""
        if ref not in self._referrers:
            self._released_at[ref] = self._clock.monotonic() + RELEASE_AFTER_S

    def wanted(self, ref: Ref) -> bool:
        if ref in self._referrers:
            return True
        released_at = self._released_at.get(ref)
        if released_at is None:
            return False
        if released_at > self._clock.monotonic():
            return True
        del self._released_at[ref]
        return False

    def referrers(self, ref: Ref) -> Collection[Referrer]:
        return self._referrers.get(ref, ())

    def _leave(self, ref: Ref, referrer: Referrer) -> bool:
        """Whether that was the last."""
        referrers = self._referrers[ref]
        referrers.discard(referrer)
        if referrers:
            return False
        del self._referrers[ref]
        self._released_at[ref] = self._clock.monotonic() + RELEASE_AFTER_S
        return True
