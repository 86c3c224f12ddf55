"""Hooks: where tokens, nodes and the like take part in the life of a pod, without the engine knowing them."""

from __future__ import annotations

from typing import Protocol

from sync.ownership import Twin
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj

LOST_AGAIN_S = 30.0


class TwinLost(Retry):
    """The twin will never run, whatever the host says of it: the pod ends, as if the twin had gone.

    To whoever cannot end it, a Retry.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(LOST_AGAIN_S, reason)


class PodHooks(Protocol):
    """Called by the engine while it has the pod's key. They may raise Retry, Permanent, TwinLost and ClusterError."""

    async def while_parked(self, virtual: Obj) -> None:
        """Its references are on their way to the host: what does not hang on them may begin."""

    async def before_create(self, virtual: Obj) -> None:
        """Its references are on the host and the pod is not: make its token Secret."""

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        """It is: let it own that Secret."""

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        """Its twin has a node and it has none yet: see to it that the tenant has that node."""

    async def before_bound(self, claim: Obj) -> None:
        """A claim of the host's has a volume: see to it that the tenant has that, too."""

    def gone(self, namespace: str, name: str, twin: Twin | None) -> None:
        """Neither it nor its twin exists any more (or the twin of an ended pod is gone)."""

    async def before_template(self, resource: GVR, virtual: Obj, template: Obj) -> None:
        """A workload goes out whose pods the host's controller makes: make the token Secret of its template."""

    def template_gone(self, resource: GVR, namespace: str, name: str) -> None:
        """As `gone`, of a workload."""

    def propagation(self, twin: Twin) -> str:
        """What becomes of the children of a workload's twin when the tenant has it no more."""


class NoHooks:
    """Nothing takes part."""

    async def while_parked(self, virtual: Obj) -> None:
        return None

    async def before_create(self, virtual: Obj) -> None:
        return None

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        return None

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        return None

    async def before_bound(self, claim: Obj) -> None:
        return None

    def gone(self, namespace: str, name: str, twin: Twin | None) -> None:
        return None

    async def before_template(self, resource: GVR, virtual: Obj, template: Obj) -> None:
        return None

    def template_gone(self, resource: GVR, namespace: str, name: str) -> None:
        return None

    def propagation(self, twin: Twin) -> str:
        return "Background"
