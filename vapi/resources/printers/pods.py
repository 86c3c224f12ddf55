"""Cells of Pods, the most looked-at table: the STATUS column sums up phase, conditions and every container's state.

Source: printPod of pkg/printers/internalversion.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import text

Container = Mapping[str, Any]

_FINISHED = {
    "Succeeded": ("Succeeded", "The pod has completed successfully."),
    "Failed": ("Failed", "The pod failed."),
}


@dataclass(slots=True)
class _Restarts:
    count: int = 0
    last: dt.datetime | None = None

    def add(self, status: Container) -> None:
        self.count += status.get("restartCount") or 0
        ended = text.parse_time(text.part(status, "lastState", "terminated").get("finishedAt"))
        if ended is not None and (self.last is None or self.last < ended):
            self.last = ended

    def shown(self, now: dt.datetime) -> str:
        if self.count and self.last is not None:
            return f"{self.count} ({text.human_duration((now - self.last).total_seconds())} ago)"
        return str(self.count)


@dataclass(slots=True)
class _Summary:
    reason: str
    restarts: _Restarts
    ready: int = 0


def pod_cells(pod: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(pod, "spec"), text.part(pod, "status")
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    summary = _summary(pod, spec, status, sidecars)
    ips = status.get("podIPs") or ({"ip": status.get("podIP")},)
    return [
        text.name(pod),
        f"{summary.ready}/{total}",
        summary.reason,
        summary.restarts.shown(now),
        text.age(pod, now),
        ips[0].get("ip") or text.NONE,
        spec.get("nodeName") or text.NONE,
        status.get("nominatedNodeName") or text.NONE,
        _readiness_gates(spec, status),
    ]


def pod_conditions(pod: Obj) -> list[Obj]:
    """Of the row: kubectl leaves finished pods out of some views by them."""
    finished = _FINISHED.get(text.part(pod, "status").get("phase", ""))
    if finished is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": finished[0], "message": finished[1]}]


def _summary(pod: Obj, spec: Container, status: Container, sidecars: set[Any]) -> _Summary:
    summary = _Summary(reason=_phase_reason(status), restarts=_Restarts())
    initializing = _init_containers(summary, spec, status, sidecars)
    if not initializing or text.condition_status(status.get("conditions"), "Initialized") == "True":
        _containers(summary, status, sidecars)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in _FINISHED:
            summary.reason = "Terminating"
    return summary


def _phase_reason(status: Container) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return status.get("reason") or status.get("phase") or ""


def _init_containers(summary: _Summary, spec: Container, status: Container, sidecars: set[Any]) -> bool:
    """Go through the init containers up to the first that is not done; True: there is one."""
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        summary.restarts.add(container)
        state = text.part(container, "state")
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.reason = "Init:" + _exit_reason(terminated)
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            summary.reason = "Init:" + waiting["reason"]
        else:
            summary.reason = f"Init:{index}/{len(spec.get('initContainers') or ())}"
        return True
    return False


def _containers(summary: _Summary, status: Container, sidecars: set[Any]) -> None:
    """The reason of the first container that has one wins, so they are walked from the last."""
    summary.restarts = _Restarts()  # once initialized, only those of sidecars and containers count
    for container in status.get("initContainerStatuses") or ():
        if container.get("name") in sidecars:
            summary.restarts.add(container)
    running = False
    for container in reversed(status.get("containerStatuses") or ()):
        summary.restarts.add(container)
        state = text.part(container, "state")
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif terminated is not None:
            summary.reason = _exit_reason(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        ready = text.condition_status(status.get("conditions"), "Ready") == "True"
        summary.reason = "Running" if ready else "NotReady"


def _exit_reason(terminated: Container) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _readiness_gates(spec: Container, status: Container) -> str:
    gates: Iterable[Container] = spec.get("readinessGates") or ()
    wanted = [gate.get("conditionType", "") for gate in gates]
    if not wanted:
        return text.NONE
    met = sum(text.condition_status(status.get("conditions"), kind) == "True" for kind in wanted)
    return f"{met}/{len(wanted)}"
