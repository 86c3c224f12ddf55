"""What the scheduler writes beside bindings: why a pod waits, where it will go, the ends of those whose place it takes.

Every write names the uid it is about; one that comes too late is none.
Source: schedule_one.go handleSchedulingFailure; framework/preemption/executor.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from vapi.clock import Clock
from vapi.control import kinds
from vapi.control.controller import AT_ONCE, all_at_once
from vapi.control.events import NORMAL, WARNING, EventRecorder
from vapi.control.scheduler.node import PodInfo
from vapi.control.scheduler.state import PREEMPTED
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.client import Client
from vapi.registry.pod_calls import set_condition

COMPONENT = "default-scheduler"
TRIES = 5
"""Of a status write that others come in between of."""


class Writer:
    def __init__(self, client: Client, events: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._events = events
        self._clock = clock
        self._slots = asyncio.Semaphore(AT_ONCE)

    def scheduled(self, pod: Obj, node: str) -> None:
        metadata = pod["metadata"]
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
        self._events.record(COMPONENT, pod, NORMAL, "Scheduled", message)

    async def waits(self, pod: PodInfo, message: str, nominated: str) -> None:
        """Event and condition. `nominated`: the node that it waits for. Raises ApiError."""
        async with self._slots:
            await self._waits(pod, message, nominated)

    async def _waits(self, pod: PodInfo, message: str, nominated: str) -> None:
        entry = self._client.cached(kinds.PODS, pod.namespace, pod.name)
        if entry is None or entry.uid != pod.uid:
            return
        self._events.record(COMPONENT, entry.obj(), WARNING, "FailedScheduling", message)

        def change(obj: Obj) -> None:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            self._set(obj, condition)
            obj["status"].pop("nominatedNodeName", None)
            if nominated:
                obj["status"]["nominatedNodeName"] = nominated

        await self._status(pod, change)

    async def no_longer_nominated(self, pod: PodInfo) -> None:
        """Somebody more important took what it waited for. Raises ApiError."""
        await self._status(pod, lambda obj: obj["status"].pop("nominatedNodeName", None))

    async def preempt(self, pod: PodInfo, node: str, victims: Iterable[PodInfo]) -> None:
        """Ends those that are not ending yet, with their grace. Raises ApiError: some may be left."""
        calls = [partial(self._end, pod, node, victim) for victim in victims if not victim.deleting]
        refused = await all_at_once(calls)
        if refused:
            raise refused[0]

    async def _end(self, pod: PodInfo, node: str, victim: PodInfo) -> None:
        entry = self._client.cached(kinds.PODS, victim.namespace, victim.name)
        if entry is None or entry.uid != victim.uid:
            return
        message = f"{COMPONENT}: preempting to accommodate a higher priority pod"
        condition = {"type": "DisruptionTarget", "status": "True", "reason": PREEMPTED, "message": message}
        await self._status(victim, lambda obj: self._set(obj, condition))
        await self._client.delete(kinds.PODS, victim.namespace, victim.name, uid=victim.uid)
        self._events.record(COMPONENT, entry.obj(), NORMAL, "Preempted", f"Preempted by pod {pod.uid} on node {node}")

    def _set(self, obj: Obj, condition: Obj) -> None:
        generation = obj["metadata"].get("generation")
        observed = {"observedGeneration": generation} if generation else {}
        set_condition(obj, {**condition, **observed, "lastProbeTime": None}, self._clock.now())

    async def _status(self, pod: PodInfo, change: Callable[[Obj], object]) -> None:
        """Reads, changes and writes the status, again if it changed meanwhile."""
        for attempt in range(TRIES):
            entry = self._client.cached(kinds.PODS, pod.namespace, pod.name)
            if entry is None or entry.uid != pod.uid:
                return
            obj = entry.obj()
            obj.setdefault("status", {})
            change(obj)
            try:
                await self._client.update(kinds.PODS, obj, subresource="status")
            except ApiError as error:
                if error.code != 409 or attempt == TRIES - 1:
                    raise
            else:
                return
