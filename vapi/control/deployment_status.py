"""The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

Source: pkg/controller/deployment/progress.go and sync.go calculateStatus; reasons and texts are what clients know.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from vapi.clock import parse_rfc3339, rfc3339
from vapi.gvk import Obj

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"

NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"

NO_DEADLINE_S = 2**31 - 1
"""A progressDeadlineSeconds that means none."""


def condition(condition_type: str, status: str, reason: str, message: str, now: dt.datetime) -> Obj:
    return {
        "type": condition_type,
        "status": status,
        "lastUpdateTime": rfc3339(now),
        "lastTransitionTime": rfc3339(now),
        "reason": reason,
        "message": message,
    }


def find(conditions: Sequence[Obj], condition_type: str) -> Obj | None:
    return next((each for each in conditions if each.get("type") == condition_type), None)


def with_condition(conditions: Sequence[Obj], new: Obj) -> list[Obj]:
    """The same status and reason: nothing changes; the same status: lastTransitionTime stays."""
    old = find(conditions, new["type"])
    if old is not None and old.get("status") == new["status"]:
        if old.get("reason") == new["reason"]:
            return list(conditions)
        new = {**new, "lastTransitionTime": old.get("lastTransitionTime", new["lastTransitionTime"])}
    return [*without(conditions, new["type"]), new]


def without(conditions: Sequence[Obj], condition_type: str) -> list[Obj]:
    return [each for each in conditions if each.get("type") != condition_type]


def has_deadline(deployment: Obj) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", NO_DEADLINE_S) != NO_DEADLINE_S)


def counted(deployment: Obj, new: Obj | None, sets: Sequence[Obj], least_available: int, now: dt.datetime) -> Obj:
    """Counts and the Available condition; other conditions as they were. `sets`: all, the new one included."""
    old = deployment.get("status") or {}
    available = _sum(sets, "availableReplicas")
    wanted_pods = sum(each["spec"].get("replicas", 1) for each in sets)
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": _sum(sets, "replicas"),
        "updatedReplicas": _sum([new] if new else [], "replicas"),
        "readyReplicas": _sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted_pods - available),
    }
    status: Obj = {key: count for key, count in counts.items() if count}
    terminating = _terminating(sets)
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    if "collisionCount" in old:
        status["collisionCount"] = old["collisionCount"]
    if available >= least_available:
        reached = condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    else:
        reached = condition(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
        )
    status["conditions"] = with_condition(old.get("conditions") or (), reached)
    return status


def _sum(sets: Sequence[Obj], count: str) -> int:
    return sum((each.get("status") or {}).get(count, 0) for each in sets)


def _terminating(sets: Sequence[Obj]) -> int | None:
    """None: a set that was looked at does not tell."""
    total = 0
    for each in sets:
        status = each.get("status") or {}
        if "terminatingReplicas" in status:
            total += status["terminatingReplicas"]
        elif status.get("observedGeneration"):
            return None
    return total


def complete(deployment: Obj, status: Obj) -> bool:
    """All pods are new and available, and no old one is left."""
    replicas = deployment["spec"].get("replicas", 1)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return all(status.get(key, 0) == replicas for key in counts) and bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def progressed(old: Obj, new: Obj) -> bool:
    """More new, ready or available pods than before, or fewer old ones."""
    old_olds = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    new_olds = new.get("replicas", 0) - new.get("updatedReplicas", 0)
    counts = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return new_olds < old_olds or any(new.get(key, 0) > old.get(key, 0) for key in counts)


def timed_out(deployment: Obj, status: Obj, now: dt.datetime) -> bool:
    known = find(status.get("conditions") or (), PROGRESSING)
    if known is None or known.get("reason") == NEW_AVAILABLE:
        return False
    return known.get("reason") == TIMED_OUT or deadline_in_s(deployment, known, now) < 0


def deadline_in_s(deployment: Obj, progressing: Obj, now: dt.datetime) -> float:
    """Seconds until the rollout has made no progress for too long."""
    since = parse_rfc3339(progressing.get("lastUpdateTime") or rfc3339(now))
    deadline_s: int = deployment["spec"]["progressDeadlineSeconds"]
    return (since - now).total_seconds() + deadline_s


def rollout(deployment: Obj, new: Obj | None, sets: Sequence[Obj], least_available: int, now: dt.datetime) -> Obj:
    """The whole status during a rollout."""
    status = counted(deployment, new, sets, least_available, now)
    conditions = status["conditions"]
    old = deployment.get("status") or {}
    current = find(old.get("conditions") or (), PROGRESSING)
    if not has_deadline(deployment):
        conditions = without(conditions, PROGRESSING)
    else:
        done = status.get("replicas", 0) == status.get("updatedReplicas", 0) and (
            current is not None and current.get("reason") == NEW_AVAILABLE
        )
        if not done:
            conditions = _with_progress(deployment, new, status, current, now)
    failure = _replica_failure(new, sets)
    conditions = without(conditions, REPLICA_FAILURE) if failure is None else with_condition(conditions, failure)
    status["conditions"] = conditions
    return status


def _with_progress(deployment: Obj, new: Obj | None, status: Obj, current: Obj | None, now: dt.datetime) -> list[Obj]:
    name = deployment["metadata"]["name"]
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{name}"'
    conditions: list[Obj] = status["conditions"]
    if complete(deployment, status):
        text = f"{subject} has successfully progressed."
        return with_condition(conditions, condition(PROGRESSING, "True", NEW_AVAILABLE, text, now))
    if progressed(deployment.get("status") or {}, status):
        # Always written anew: lastUpdateTime is the time of the last progress, whatever the reason was.
        moved = condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        if current is not None and current.get("status") == "True":
            moved["lastTransitionTime"] = current.get("lastTransitionTime", moved["lastTransitionTime"])
        return [*without(conditions, PROGRESSING), moved]
    if timed_out(deployment, status, now):
        text = f"{subject} has timed out progressing."
        return with_condition(conditions, condition(PROGRESSING, "False", TIMED_OUT, text, now))
    return conditions


def _replica_failure(new: Obj | None, sets: Sequence[Obj]) -> Obj | None:
    """The failure of the new set, else of any; as a Deployment's condition."""
    for each in (*((new,) if new else ()), *sets):
        found = find((each.get("status") or {}).get("conditions") or (), REPLICA_FAILURE)
        if found is not None:
            at = found.get("lastTransitionTime")
            kept = {key: found.get(key) for key in ("type", "status", "reason", "message")}
            return {**kept, "lastUpdateTime": at, "lastTransitionTime": at}
    return None
