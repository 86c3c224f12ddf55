"""ResourceQuota: what a write would use beyond a quota is refused; what is let through is charged at once.

Charges are compare-and-swaps of the quota's status. Requests of one namespace that
come together are judged one after the other on one copy and charged by one write, as
kube-apiserver does it. Nothing is handed back: the controller counts anew.
Source: plugin/pkg/admission/resourcequota (controller.go CheckRequest, checkQuotas), pkg/quota/v1 (1.37).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vapi import errors
from vapi.clock import Clock
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse
from vapi.resources import quota_usage
from vapi.resources.quota_usage import PodUsage
from vapi.resources.strategies import quantities
from vapi.schema import quantity

log = logging.getLogger(__name__)

QUOTAS = GVR("", "v1", "resourcequotas")
NOT_COUNTED = frozenset({("", "events"), ("events.k8s.io", "events")})
"""Source: quota install.DefaultIgnoredResources."""
MAY_GROW = frozenset({("", "services"), ("", "persistentvolumeclaims"), ("", "pods/resize")})
"""What an update may make bigger."""
ATTEMPTS = 5
BATCH = 50
"""Requests judged in one step: 35 µs each with a quota on five resources (*measured*), 2 ms in all (law 9)."""
EXPLICIT = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
"""With a quota on these each container must say what it wants. Source: core validationSet."""


class Quotas(Protocol):
    """Where charges are written (`registry.client.Client`)."""

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj: ...


@dataclass(frozen=True, slots=True)
class Quota:
    """`hard` and `used` as the status has them: what the spec asks for counts once the controller has counted it."""

    name: str
    uid: str
    hard: Mapping[str, str]
    used: Mapping[str, str]
    scoped: bool
    obj: Obj
    """Shared: for scopes."""


def _facts(obj: Obj) -> Quota:
    status = obj.get("status") or {}
    return Quota(
        obj["metadata"]["name"],
        obj["metadata"]["uid"],
        status.get("hard") or {},
        status.get("used") or {},
        quota_usage.has_scopes(obj),
        {"spec": obj["spec"]},
    )


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request would use more than now. `silent`: resource → containers that do not say what they want of it."""

    group: str
    resource: str
    amounts: Mapping[str, tuple[int, str]]
    pod: PodUsage | None
    silent: Mapping[str, Sequence[str]]


@dataclass(slots=True)
class _Waiting:
    request: AdmissionRequest
    demand: Demand
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Queue:
    """Of one namespace."""

    waiting: list[_Waiting] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Exceeded(Exception):
    """Why a quota says no."""


def resource_quota(lookup: Lookup, quotas: Quotas, clock: Clock) -> tuple[AdmissionPlugin, AdmissionPlugin]:
    """*Measured* where a namespace has no quota: 1 µs a create (tests.bench.hotpath: within its noise)."""
    plugin = _ResourceQuota(lookup, quotas, clock)
    return (
        AdmissionPlugin("ResourceQuota", frozenset({Operation.CREATE}), None, validate=plugin.validate),
        AdmissionPlugin("ResourceQuota", frozenset({Operation.UPDATE}), MAY_GROW, validate=plugin.validate),
    )


class _ResourceQuota:
    """Runs on the loop."""

    def __init__(self, lookup: Lookup, quotas: Quotas, clock: Clock) -> None:
        self._lookup = lookup
        self._quotas = quotas
        self._clock = clock
        self._facts: EntryMemo[Quota] = EntryMemo(_facts)
        self._queues: dict[str, _Queue] = {}

    def validate(self, request: AdmissionRequest) -> Awaitable[None] | None:
        if not request.namespace or (request.subresource and request.subresource != "resize"):
            return None
        if next(iter(self._lookup.entries(QUOTAS, request.namespace)), None) is None:
            return None
        kind = (request.row.gvr.group, request.row.gvr.resource)
        if kind in NOT_COUNTED or request.obj is None:
            return None
        wanted = demand(request, self._clock.now().timestamp())
        if request.caller.dry_run:
            self._judge(request, wanted)
            return None
        return self._charge(request, wanted)

    def _present(self, namespace: str) -> list[Quota]:
        return [self._facts.of(entry) for entry in self._lookup.entries(QUOTAS, namespace)]

    def _judge(self, request: AdmissionRequest, wanted: Demand) -> None:
        present = self._present(request.namespace)
        try:
            charged({q.name: q.used for q in present}, present, wanted)
        except Exceeded as why:
            raise refuse(request, str(why)) from None

    async def _charge(self, request: AdmissionRequest, wanted: Demand) -> None:
        """Waits for its turn. Cancelled, it may have been charged all the same."""
        queue = self._queues.setdefault(request.namespace, _Queue())
        waiting = _Waiting(request, wanted, asyncio.get_running_loop().create_future())
        queue.waiting.append(waiting)
        if queue.task is None:
            queue.task = asyncio.create_task(self._drain(request.namespace, queue), name="quota charges")
        await waiting.done

    async def _drain(self, namespace: str, queue: _Queue) -> None:
        """A task of its own: whose request began it may be cancelled while others wait."""
        batch: list[_Waiting] = []
        try:
            while queue.waiting:
                batch, queue.waiting = queue.waiting[:BATCH], queue.waiting[BATCH:]
                await self._settle(namespace, [w for w in batch if not w.done.done()])
                await asyncio.sleep(0)
        except Exception:
            log.exception("quota not charged", extra={"namespace": namespace})
            for waiting in (*batch, *queue.waiting):
                _answer(waiting, errors.internal("the quota could not be charged"))
        finally:
            del self._queues[namespace]
            for waiting in (*batch, *queue.waiting):
                if not waiting.done.done():
                    waiting.done.cancel()

    async def _settle(self, namespace: str, batch: list[_Waiting]) -> None:
        """All of a batch answered. A quota that was charged is not charged again when another one was not."""
        paid: set[str] = set()
        lost: ApiError | None = None
        for _ in range(ATTEMPTS):
            present = [q for q in self._present(namespace) if q.uid not in paid]
            used: dict[str, Mapping[str, str]] = {q.name: q.used for q in present}
            admitted = []
            for waiting in batch:
                try:
                    used = charged(used, present, waiting.demand)
                    admitted.append(waiting)
                except Exceeded as why:
                    _answer(waiting, refuse(waiting.request, str(why)))
            batch, lost = admitted, None
            for quota in present:
                if used[quota.name] == quota.used:
                    continue
                try:
                    await self._write(namespace, quota, used[quota.name])
                    paid.add(quota.uid)
                except ApiError as error:
                    lost = error
            if lost is None or not batch:
                break
        for waiting in batch:
            _answer(waiting, lost)

    async def _write(self, namespace: str, quota: Quota, used: Mapping[str, str]) -> None:
        """Raises ApiError: 409 if it has changed since it was looked at."""
        entry = self._lookup.cached(QUOTAS, namespace, quota.name)
        if entry is None or self._facts.of(entry) is not quota:
            raise errors.conflict(QUOTAS, quota.name)
        obj = entry.obj()
        obj["status"] = {**obj["status"], "used": dict(used)}
        await self._quotas.update(QUOTAS, obj, subresource="status")


def _answer(waiting: _Waiting, error: ApiError | None) -> None:
    if waiting.done.done():
        return
    if error is None:
        waiting.done.set_result(None)
    else:
        waiting.done.set_exception(error)


# --- pure -----------------------------------------------------------------------------------------------


def demand(request: AdmissionRequest, now: float) -> Demand:
    group, resource = request.row.gvr.group, request.row.gvr.resource
    assert request.obj is not None
    amounts = quota_usage.usage(group, resource, request.obj, now)
    if request.old is not None:
        before = quota_usage.usage(group, resource, request.old, now)
        amounts = {k: (n - before.get(k, (0, ""))[0], like) for k, (n, like) in amounts.items()}
    is_pod = (group, resource) == ("", "pods")
    return Demand(
        group,
        resource,
        {name: amount for name, amount in amounts.items() if amount[0] > 0},
        quota_usage.pod_usage(request.obj) if is_pod else None,
        _silent(request.obj["spec"]) if is_pod else {},
    )


def _silent(spec: Obj) -> dict[str, list[str]]:
    of_pod = _said(spec)
    found: dict[str, list[str]] = {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for name in EXPLICIT - of_pod - _said(container):
            found.setdefault(name, []).append(container["name"])
    return found


def _said(holder: Obj) -> set[str]:
    amounts = (quota_usage.amounts_of(holder, which) for which in ("requests", "limits"))
    return set(quota_usage.compute(*amounts))


def charged(
    used: Mapping[str, Mapping[str, str]], quotas: Iterable[Quota], wanted: Demand
) -> dict[str, Mapping[str, str]]:
    """Quota → what is used of it with the request. Raises Exceeded."""
    concerned = [(q, names) for q in quotas if (names := _concerned(q, wanted))]
    for quota, names in concerned:
        _check_said(quota, names, wanted)
        unknown = names - used[quota.name].keys()
        if unknown:
            raise Exceeded(f"status unknown for quota: {quota.name}, resources: {','.join(sorted(names))}")
    after = dict(used)
    for quota, names in concerned:
        asked = {n: amount for n, amount in wanted.amounts.items() if n in names}
        if asked:
            after[quota.name] = _with(quota, after[quota.name], asked)
    return after


def _concerned(quota: Quota, wanted: Demand) -> frozenset[str]:
    """The names in a quota that objects of the kind use; none if its scopes mean others."""
    names = frozenset(n for n in quota.hard if quota_usage.is_of(n, wanted.group, wanted.resource))
    if names and quota.scoped and (wanted.pod is None or not quota_usage.in_scopes(quota.obj, wanted.pod)):
        return frozenset()
    return names


def _check_said(quota: Quota, names: frozenset[str], wanted: Demand) -> None:
    missing = sorted(names & wanted.silent.keys())
    if missing:
        each = "; ".join(f"{name} for: {','.join(sorted(wanted.silent[name]))}" for name in missing)
        raise Exceeded(f"failed quota: {quota.name}: must specify {each}")


def _with(quota: Quota, used: Mapping[str, str], asked: Mapping[str, tuple[int, str]]) -> dict[str, str]:
    """Raises Exceeded."""
    new: dict[str, str] = dict(used)
    beyond = []
    for name, (nanos, like) in asked.items():
        before = quantity.parse(used[name]).nanos
        if before + nanos > quantity.parse(quota.hard[name]).nanos:
            beyond.append(name)
        new[name] = quantities.spelled(before + nanos, used[name] if before else like)
    if beyond:
        beyond.sort()
        requested = ",".join(f"{n}={quantities.spelled(*asked[n])}" for n in beyond)
        present = ",".join(f"{n}={used[n]}" for n in beyond)
        limited = ",".join(f"{n}={quota.hard[n]}" for n in beyond)
        raise Exceeded(f"exceeded quota: {quota.name}, requested: {requested}, used: {present}, limited: {limited}")
    return new
