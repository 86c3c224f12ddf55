"""Binder: what makes a scheduling decision true. The default one writes it to the pod, as pods/binding does."""

from __future__ import annotations

import asyncio
from typing import Protocol

from vapi.control.controller import AT_ONCE
from vapi.gvk import Obj
from vapi.registry.client import Client


class Declined(Exception):
    """The node does not take this pod now. `reason` is told in a FailedScheduling event."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Binder(Protocol):
    """Runs in a task of its own for each pod, many at once, while the scheduler counts the pod as on the node.

    Whoever takes long bounds it: a pod is not placed elsewhere before `bind` has ended.
    """

    async def bind(self, pod: Obj, node: str) -> None:
        """Afterwards the stored pod has this nodeName. `pod` is private to the call.

        Raises Declined (this node is avoided for the pod for a while), ApiError (tried again with back-off;
        404 and 409: the pod is looked at anew).
        """


class RegistryBinder:
    """The pods/binding of our own API, a few at a time: what is answered together runs in one turn of the loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def bind(self, pod: Obj, node: str) -> None:
        metadata = pod["metadata"]
        async with self._slots:
            await self._client.bind(metadata["namespace"], metadata["name"], node, uid=metadata["uid"])
