"""Hooks: where tokens, nodes and the like take part in the life of a pod, without the engine knowing them."""

from __future__ import annotations

from typing import Protocol

from sync.ownership import Twin
from vapi.gvk import Obj


class TwinLost(Exception):
    """The twin will never run, whatever the host says of it: the pod ends, as if the twin had gone."""


class PodHooks(Protocol):
    """Called by the engine while it has the pod's key. They may raise Retry, Permanent, TwinLost and ClusterError."""

    async def before_create(self, virtual: Obj) -> None:
        """Its references are on the host and the pod is not: make its token Secret."""

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        """It is: let it own that Secret."""

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        """Its twin has a node and it has none yet: see to it that the tenant has that node."""

    def gone(self, namespace: str, name: str, twin: Twin | None) -> None:
        """Neither it nor its twin exists any more (or the twin of an ended pod is gone)."""


class NoHooks:
    """Nothing takes part."""

    async def before_create(self, virtual: Obj) -> None:
        return None

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        return None

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        return None

    def gone(self, namespace: str, name: str, twin: Twin | None) -> None:
        return None
