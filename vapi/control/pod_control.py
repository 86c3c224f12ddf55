"""Pod control: creating and deleting pods for an owner, with the events that tell of it.

Source: pkg/controller/controller_utils.go RealPodControl.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from vapi.cacher.entry import Entry
from vapi.control import kinds
from vapi.control.controller import Controller, all_at_once, is_namespace_terminating
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name
from vapi.errors import ApiError
from vapi.gvk import Obj

BURST = 500
"""Pods created or deleted in one look. Source: BurstReplicas, MaxPodCreateDeletePerSync."""


class PodControl:
    def __init__(self, controller: Controller[Name], component: str) -> None:
        self._controller = controller
        self._client = controller.client
        self._component = component

    async def create_all(self, key: Name, owner: Obj, makers: Sequence[Callable[[], Obj]]) -> ApiError | None:
        """Slow start: batches that double until one is refused, whose error this is (a going namespace is none)."""
        left, batch = list(makers[:BURST]), 1
        while left:
            refused = await all_at_once([partial(self._create, key, owner, make) for make in left[:batch]])
            if refused:
                return None if is_namespace_terminating(refused[0]) else refused[0]
            left = left[batch:]
            batch *= 2
        return None

    async def _create(self, key: Name, owner: Obj, make: Callable[[], Obj]) -> None:
        try:
            pod = await self._client.create(kinds.PODS, make())
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._tell(owner, WARNING, "FailedCreate", f"Error creating: {error.message}")
            raise
        self._controller.written(key, kinds.PODS, pod)
        self._tell(owner, NORMAL, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    async def delete_all(self, owner: Obj, pods: Sequence[Entry]) -> ApiError | None:
        """The first refusal."""
        refused = await all_at_once(partial(self._delete, owner, pod) for pod in pods[:BURST])
        return refused[0] if refused else None

    async def _delete(self, owner: Obj, pod: Entry) -> None:
        try:
            await self._client.delete(kinds.PODS, pod.namespace, pod.name, uid=pod.uid)
        except ApiError as error:
            if error.code != 404:
                self._tell(owner, WARNING, "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._tell(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {pod.name}")

    def _tell(self, owner: Obj, event_type: str, reason: str, message: str) -> None:
        self._controller.events.record(self._component, owner, event_type, reason, message)
