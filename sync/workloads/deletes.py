"""Deletes: what the tenant's deletion of a child asks of the host, once a grace and not at each look."""

from __future__ import annotations

from collections.abc import Mapping

from sync.actions import REPEAT_DELETE_S
from sync.cluster import Cluster, ClusterError
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.state import Engine
from sync.workloads.children import Key
from vapi.control.workqueue import Retry
from vapi.gvk import GVR

SOON_S = 0.2


class HostDeletes:
    """Runs on the loop."""

    def __init__(self, engine: Engine, host: Cluster, informers: Mapping[GVR, HostInformer]) -> None:
        self._engine = engine
        self._host = host
        self._informers = informers
        self._accepted: dict[str, tuple[int | None, float]] = {}
        """uid → (grace, when) of a delete that the host accepted."""

    def forget(self, key: Key) -> None:
        self._accepted.pop(key[1], None)

    async def send(self, key: Key, twin: Twin, grace_s: int | None, propagation: str) -> None:
        """`grace_s`: None is the object's own. Raises Retry, ClusterError."""
        now = self._engine.clock.monotonic()
        sent = self._accepted.get(twin.uid)
        if sent is not None and sent[0] == grace_s and now - sent[1] < REPEAT_DELETE_S:
            return
        await self._engine.limiter.take(0)
        try:
            await self._host.delete(
                key[0],
                self._engine.context.host_namespace,
                twin.name,
                uid=twin.uid,
                grace_period_s=grace_s,
                propagation=propagation,
            )
        except ClusterError as error:
            if error.code not in (404, 409):
                raise
            if error.code == 404:
                self._informers[key[0]].drop(twin.name, twin.uid)
            raise Retry(SOON_S) from None
        self._accepted[twin.uid] = (grace_s, now)
