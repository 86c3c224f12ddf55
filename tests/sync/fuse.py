"""Clusters that stop at a chosen write: where a process may be killed, or a host be cut off."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from sync.cluster import ClusterEvent, ClusterEventType, Unreachable
from sync.virtual import InProcessCluster, Record, VirtualCluster
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client

T = TypeVar("T")


class Fuse:
    """Blows at write number `at` (from 0): the write and all later ones hang for ever; `after`: it has taken effect."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.writes = 0
        self.blown = asyncio.Event()
        self._at = at
        self._after = after

    async def write(self, perform: Callable[[], Awaitable[T]]) -> T:
        number, self.writes = self.writes, self.writes + 1
        if number < self._at:
            return await perform()
        if number == self._at and self._after:
            await perform()
        self.blown.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")


class Outage:
    """While `down`, nothing reaches the host; `loses_answers`: writes do, but nobody hears of it."""

    def __init__(self) -> None:
        self.down = False
        self.loses_answers = False

    async def write(self, perform: Callable[[], Awaitable[T]]) -> T:
        if self.loses_answers:
            await perform()
        if self.down or self.loses_answers:
            raise Unreachable("connection refused")
        return await perform()


class FusedCluster(VirtualCluster):
    """Every write, on either side, passes the fuse."""

    def __init__(self, client: Client, fuse: Fuse | Outage) -> None:
        super().__init__(client)
        self._fuse = fuse

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        return await self._fuse.write(lambda: super(FusedCluster, self).create(gvr, obj))

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        return await self._fuse.write(lambda: super(FusedCluster, self).update(gvr, obj, subresource=subresource))

    async def apply(self, gvr: GVR, obj: Obj, *, force: bool = True, subresource: str = "") -> Obj:
        return await self._fuse.write(
            lambda: super(FusedCluster, self).apply(gvr, obj, force=force, subresource=subresource)
        )

    async def patch(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        patch: Obj | Sequence[Obj],
        *,
        content_type: str,
        subresource: str = "",
    ) -> Obj:
        return await self._fuse.write(
            lambda: super(FusedCluster, self).patch(
                gvr, namespace, name, patch, content_type=content_type, subresource=subresource
            )
        )

    async def delete(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
        propagation: str = "",
    ) -> None:
        await self._fuse.write(
            lambda: super(FusedCluster, self).delete(
                gvr, namespace, name, uid=uid, grace_period_s=grace_period_s, propagation=propagation
            )
        )

    async def copy(self, gvr: GVR, obj: Obj) -> Obj:
        return await self._fuse.write(lambda: super(FusedCluster, self).copy(gvr, obj))

    async def put_status(self, gvr: GVR, obj: Obj) -> Record:
        return await self._fuse.write(lambda: super(FusedCluster, self).put_status(gvr, obj))

    async def bind(
        self,
        namespace: str,
        name: str,
        node: str,
        *,
        uid: str,
        annotations: Mapping[str, str] | None = None,
        scheduled: dt.datetime | None = None,
    ) -> Obj:
        return await self._fuse.write(
            lambda: super(FusedCluster, self).bind(
                namespace, name, node, uid=uid, annotations=annotations, scheduled=scheduled
            )
        )


class Refusing(InProcessCluster):
    """A host that gives no right to one kind, until `allowed`."""

    def __init__(self, client: Client, refused: GVR) -> None:
        super().__init__(client)
        self.allowed = asyncio.Event()
        self._refused = refused

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        if gvr == self._refused:
            yield ClusterEvent(ClusterEventType.REFUSED, message="forbidden")
            await self.allowed.wait()
        events = super().watch(gvr, namespace, label_selector=label_selector, metadata_only=metadata_only)
        async for event in events:
            yield event
