"""disruption controller: how many pods of a PodDisruptionBudget may be evicted now; and evictions that never came.

`disruptedPods` names pods whose eviction was granted: they count as gone until they
are, or for two minutes. A budget whose pods cannot be counted allows none.
Source: pkg/controller/disruption.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vapi.cacher.entry import Change, Entry
from vapi.clock import parse_rfc3339, rfc3339
from vapi.control import kinds
from vapi.control.claiming import selector_of
from vapi.control.controller import Context, Controller, Sizes, Sources, names, own_name
from vapi.control.deployment_rolling import scaled_value
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name, sliced
from vapi.control.pods import pod_facts
from vapi.gvk import GVR, Obj

COMPONENT = "controllermanager"
"""As upstream's events name this controller."""
GONE_WITHIN = dt.timedelta(minutes=2)
"""A granted eviction that did not happen by then is forgotten. Source: DeletionTimeout, stalePodDisruptionTimeout."""
ALLOWED = "DisruptionAllowed"
SCALED: Mapping[tuple[str, str], GVR] = {
    ("v1", "ReplicationController"): kinds.REPLICATION_CONTROLLERS,
    ("apps/v1", "ReplicaSet"): kinds.REPLICA_SETS,
    ("apps/v1", "Deployment"): kinds.DEPLOYMENTS,
    ("apps/v1", "StatefulSet"): kinds.STATEFUL_SETS,
}
"""Owners whose spec.replicas tells how many pods are expected."""


class NotCountable(Exception):
    """Why the expected pods of a budget cannot be told."""


@dataclass(frozen=True, slots=True)
class Health:
    """Of a budget's pods. `desired` of `expected` must stay healthy."""

    current: int
    desired: int
    expected: int

    @property
    def allowed(self) -> int:
        return max(0, self.current - self.desired) if self.expected > 0 else 0


class DisruptionController(Controller[Name]):
    """Keys are budgets."""

    name = "disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._facts = context.informers.facts(kinds.PODS, pod_facts)
        self._selectors = context.informers.facts(kinds.DISRUPTION_BUDGETS, selector_of)
        self._sizes: Sizes[Name] = Sizes()
        self._scaled = {gvr: context.informers.uids(gvr) for gvr in SCALED.values()}

    def sources(self) -> Sources[Name]:
        return {kinds.DISRUPTION_BUDGETS: own_name, kinds.PODS: self._pod_changed}

    def delay_s(self, key: Name) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.DISRUPTION_BUDGETS))

    def _pod_changed(self, change: Change) -> Iterable[Name]:
        labels = [change.entry.labels, *([change.old.labels] if change.old is not None else [])]
        return [
            (budget.namespace, budget.name)
            for budget in self.client.entries(kinds.DISRUPTION_BUDGETS, change.entry.namespace)
            if any(self._selectors.of(budget).matches(each) for each in labels)
        ]

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.DISRUPTION_BUDGETS, *key)
        if entry is None:
            return
        budget, now = entry.obj(), self.clock.now()
        selector = self._selectors.of(entry)
        pods = [
            pod
            async for pod in sliced(self.client.entries(kinds.PODS, entry.namespace))
            if selector.matches(pod.labels)
        ]
        self._sizes.note(key, len(pods))
        if not pods:
            self.events.record(COMPONENT, budget, NORMAL, "NoPods", "No matching pods found")
        old: Obj = budget.get("status") or {}
        try:
            desired, expected = self._expected(budget, pods)
        except NotCountable as why:
            text = f"Failed to calculate the number of expected pods: {why}"
            self.events.record(COMPONENT, budget, WARNING, "CalculateExpectedPodCountFailed", text)
            failed = _condition("False", "SyncFailed", str(why), old.get("observedGeneration", 0))
            await self._write(budget, _with_condition({**old, "disruptionsAllowed": 0}, failed, now))
            return
        waiting = self._still_disrupted(budget, pods)
        current = sum(1 for pod in pods if pod.name not in waiting and not pod.deleting and self._facts.of(pod).ready)
        health = Health(current, desired, expected)
        await self._write(budget, budget_status(budget, health, waiting, now))
        if waiting:
            first = min(parse_rfc3339(when) for when in waiting.values()) + GONE_WITHIN
            # a little later than due: the time counts as over only when it has passed
            self.queue.add_after(key, (first - now).total_seconds() + 0.1)

    def _still_disrupted(self, budget: Obj, pods: Sequence[Entry]) -> dict[str, str]:
        """Granted evictions that may yet happen."""
        granted: Mapping[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
        waiting = {}
        for pod in pods:
            if pod.deleting or pod.name not in granted:
                continue
            if parse_rfc3339(granted[pod.name]) + GONE_WITHIN >= self.clock.now():
                waiting[pod.name] = granted[pod.name]
                continue
            where = f"{budget['metadata']['namespace']}/{budget['metadata']['name']}"
            text = f"Pod was expected by PDB {where} to be deleted but it wasn't"
            self.events.record(COMPONENT, pod.obj(), WARNING, "NotDeleted", text)
        return waiting

    def _expected(self, budget: Obj, pods: Sequence[Entry]) -> tuple[int, int]:
        """(desired, expected). Raises NotCountable."""
        spec = budget["spec"]
        most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most is not None:
            expected = self._scale(budget, pods)
            return max(0, expected - scaled_value(most, expected, round_up=True)), expected
        if isinstance(least, str):
            expected = self._scale(budget, pods)
            return scaled_value(least, expected, round_up=True), expected
        return least or 0, len(pods)

    def _scale(self, budget: Obj, pods: Sequence[Entry]) -> int:
        """How many pods all owners of `pods` ask for. Raises NotCountable."""
        sizes: dict[str, int] = {}
        unmanaged = False
        for pod in pods:
            if not pod.controller:
                unmanaged = True
            elif pod.controller not in sizes:
                uid, size = self._size_of_owner(pod)
                sizes[pod.controller] = 0
                sizes[uid] = size
        if unmanaged:
            text = (
                f"Pods selected by this PodDisruptionBudget (selector: {budget['spec'].get('selector')}) were found "
                "to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result "
                'in undefined behavior. To account for these pods please set ".spec.minAvailable" '
                "field of the PDB to an integer value."
            )
            self.events.record(COMPONENT, budget, WARNING, "UnmanagedPods", text)
        return sum(sizes.values())

    def _size_of_owner(self, pod: Entry) -> tuple[str, int]:
        """(uid, size) of what scales it: of a ReplicaSet its Deployment. Raises NotCountable."""
        reference = kinds.controller_of(pod.obj())
        for _ in range(2):
            if reference is None:
                break
            gvr = SCALED.get((reference["apiVersion"], reference["kind"]))
            name = self._scaled[gvr].name(reference["uid"]) if gvr is not None else None
            entry = self.client.cached(gvr, *name) if gvr is not None and name is not None else None
            if entry is None:
                break
            obj = entry.obj()
            above = kinds.controller_of(obj)
            if above is None or (above["apiVersion"], above["kind"]) != ("apps/v1", "Deployment"):
                return entry.uid, obj["spec"].get("replicas", 1)
            reference = above
        raise NotCountable(f'found no controllers for pod "{pod.name}"')

    async def _write(self, budget: Obj, status: Obj) -> None:
        if status == (budget.get("status") or {}):
            return
        budget["status"] = status
        await self.client.update(kinds.DISRUPTION_BUDGETS, budget, subresource="status")


def budget_status(budget: Obj, health: Health, disrupted: Mapping[str, str], now: dt.datetime) -> Obj:
    generation = budget["metadata"].get("generation", 0)
    status: Obj = {
        "currentHealthy": health.current,
        "desiredHealthy": health.desired,
        "disruptionsAllowed": health.allowed,
        "expectedPods": health.expected,
        "observedGeneration": generation,
        "conditions": (budget.get("status") or {}).get("conditions") or [],
    }
    if disrupted:
        status["disruptedPods"] = dict(disrupted)
    word, reason = ("True", "SufficientPods") if health.allowed else ("False", "InsufficientPods")
    return _with_condition(status, _condition(word, reason, "", generation), now)


def _condition(status: str, reason: str, message: str, generation: int) -> Obj:
    return {
        "type": ALLOWED,
        "status": status,
        "observedGeneration": generation,
        "reason": reason,
        "message": message,
    }


def _with_condition(status: Obj, condition: Obj, now: dt.datetime) -> Obj:
    """The time moves only when the state does. Source: apimeta.SetStatusCondition."""
    before = status.get("conditions") or []
    old: Obj = next((each for each in before if each["type"] == condition["type"]), {})
    same = old.get("status") == condition["status"]
    condition = {**condition, "lastTransitionTime": old["lastTransitionTime"] if same else rfc3339(now)}
    others = [each for each in before if each["type"] != condition["type"]]
    return {**status, "conditions": [*others, condition]}


class StaleDisruptionController(Controller[Name]):
    """Takes back DisruptionTarget from pods that were not deleted after all. Keys are pods."""

    name = "stale-disruption-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._since = context.informers.facts(kinds.PODS, disrupted_since)

    def sources(self) -> Sources[Name]:
        return {kinds.PODS: self._pod_changed}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.PODS))

    def _pod_changed(self, change: Change) -> Iterable[Name]:
        # a look into the bytes is cheaper than into the object, and nearly all pods end here
        return own_name(change) if b"DisruptionTarget" in change.entry.value else ()

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.PODS, *key)
        if entry is None or entry.deleting or b"DisruptionTarget" not in entry.value:
            return
        since = self._since.of(entry)
        if not since:
            return
        left_s = (parse_rfc3339(since) + GONE_WITHIN - self.clock.now()).total_seconds()
        if left_s > 0:
            self.queue.add_after(key, left_s)
            return
        pod = entry.obj()
        for condition in pod["status"]["conditions"]:
            if condition["type"] == "DisruptionTarget":
                condition.update(status="False", lastTransitionTime=rfc3339(self.clock.now()))
                condition.pop("reason", None)
                condition.pop("message", None)
        await self.client.update(kinds.PODS, pod, subresource="status")


def disrupted_since(pod: Obj) -> str:
    """When a pod that still runs was marked for disruption; "": it is not."""
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return ""
    for each in status.get("conditions") or ():
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            return "" if each.get("reason") == "TerminationByKubelet" else str(each.get("lastTransitionTime") or "")
    return ""
