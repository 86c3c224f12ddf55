"""The controller: places the pods of `default-scheduler` one after the other, by priority and then by age.

One worker decides; it takes in what the watch told, in slices, and then nothing
changes until the pod in hand is placed or refused. What a decision needs written
(binding, status, ends of other pods) goes on in tasks of their own. A pod that fits
nowhere waits for news that may help it: at once the first times, then with back-off.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vapi.cacher.entry import Change, ChangeType
from vapi.control import kinds
from vapi.control.claiming import selector_of
from vapi.control.controller import Context, Controller, Sources, names
from vapi.control.informer import Name, sliced
from vapi.control.pods import FINISHED
from vapi.control.scheduler import preemption, scoring
from vapi.control.scheduler.assessment import Assessment, Extra, Outcome, declined
from vapi.control.scheduler.binder import Binder, Declined, RegistryBinder
from vapi.control.scheduler.demand import Demand
from vapi.control.scheduler.filters import News, Refusal
from vapi.control.scheduler.node import NodeInfo, PodInfo, node_spec
from vapi.control.scheduler.preemption import Budget, Found, Question
from vapi.control.scheduler.queue import Order, SchedulingQueue
from vapi.control.scheduler.state import ClusterState, Demands, pod_info
from vapi.control.scheduler.volumes import Volumes
from vapi.control.scheduler.writes import Writer
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.selectors import Labels

log = logging.getLogger(__name__)

SCHEDULER_NAME = "default-scheduler"
FIELD_MANAGER = "kube-scheduler"
CHANGES: Name = ("", "")
"""The key of what the watch told since the last look; it goes before every pod."""

STANDINGS = 50_000
"""Nodes × demands whose standings are kept: about 20 MB. A guess at the controllers that make pods at one time."""
FEWEST_ASSESSMENTS = 16
BINDING = 1000
"""Pods being bound at a time; then the queue stands still. A guess: each is a task and a decoded pod."""
AVOID_S = 60.0
"""A node that a binder declined is not tried again for the pod before this."""
BACKOFF_S, MAX_BACKOFF_S = 0.1, 10.0
"""Upstream begins at 1 s, but takes pods from back-off whenever it has nothing else to do."""
FLUSH_S = 300.0
"""Whoever waits is looked at again after this, whatever happened. Source: podMaxInUnschedulablePodsDuration."""
SAY_AGAIN_S = 60.0
"""The same news of the same pod is an event again."""


@dataclass(slots=True)
class _Waiting:
    """A pod that fits nowhere. Times are of the monotonic clock."""

    helped_by: News
    attempts: int
    again_at: float
    message: str = ""
    nominated: str = ""
    said_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Avoided:
    until: float
    refusal: Refusal


class Scheduler(Controller[Name]):
    """Keys are pods. `binder`: the registry's if there is none; `serves(node)`: whether pods may go to this Node."""

    name = "scheduler"

    def __init__(
        self,
        context: Context,
        *,
        binder: Binder | None = None,
        serves: Callable[[Obj], bool] = lambda _node: True,
    ) -> None:
        super().__init__(context)
        self.client = context.client.named(FIELD_MANAGER)
        self._tasks: set[asyncio.Task[None]] = set()
        self.queue = SchedulingQueue(
            clock=context.clock, refill=self.all_keys, order=self._order, busy=lambda: bool(self._tasks)
        )
        self._binder = binder or RegistryBinder(self.client)
        self._serves = serves
        self._state = ClusterState()
        self._demands = Demands()
        self._volumes = Volumes(self.client, context.informers, self._state)
        self._writer = Writer(self.client, context.events, context.clock)
        self._assessments: OrderedDict[bytes, Assessment] = OrderedDict()
        self._failed: dict[bytes, tuple[int, str, News]] = {}
        """Demand → generation of the state at which nobody with it fitted, what was said, and what helps."""
        self._dirty: dict[tuple[GVR, str, str], None] = {}
        self._news = News.NONE
        """What our own decisions changed; those who wait hear of it when the watch tells."""
        self._released: list[tuple[Name, str]] = []
        """Pods whose binding failed, with their uids."""
        self._waiting: dict[Name, _Waiting] = {}
        self._avoided: dict[str, dict[str, _Avoided]] = {}
        """uid → node → until when."""
        self._unbound: dict[str, int] = {}
        """uid → how often its binding failed."""
        self._preempting: set[str] = set()
        self._slots = asyncio.Semaphore(BINDING)
        self._group: asyncio.TaskGroup | None = None
        self._take_in: dict[GVR, Callable[[Name], News]] = {
            kinds.PODS: self._pod_changed,
            kinds.NODES: self._node_changed,
            kinds.NAMESPACES: self._namespace_changed,
            kinds.CLAIMS: lambda _key: News.VOLUME,
            kinds.VOLUMES: lambda _key: News.VOLUME,
        }

    # --- what a controller is -------------------------------------------------------------------------

    def sources(self) -> Sources[Name]:
        return {gvr: partial(self._changed, gvr) for gvr in self._take_in}

    def all_keys(self) -> Iterable[Name]:
        return names(e for e in self.client.entries(kinds.PODS) if not e.fields.get("spec.nodeName"))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await super().run()
            finally:
                for task in self._tasks:
                    task.cancel()

    async def prepare(self) -> None:
        for gvr in (kinds.PODS, kinds.NODES):  # taken in from the end: nodes first
            async for entry in sliced(self.client.entries(gvr)):
                self._dirty[gvr, entry.namespace, entry.name] = None
        await self._absorb()

    async def reconcile(self, key: Name) -> None:
        await self._absorb()
        pod = self._state.pods.get(key)
        if pod is None or pod.node or pod.gated or pod.deleting or pod.uid in self._preempting:
            return
        await self._place(key, pod)

    def _order(self, key: Name) -> Order:
        pod = self._state.pods.get(key)
        if pod is None:
            return -(2**62), "", key
        return -pod.demand.priority, pod.created, key

    # --- what the watch tells -------------------------------------------------------------------------

    def _changed(self, gvr: GVR, change: Change) -> Iterable[Name]:
        if gvr == kinds.NAMESPACES and change.old is not None and change.old.labels == change.entry.labels:
            return ()
        self._dirty[gvr, change.entry.namespace, change.entry.name] = None
        if gvr == kinds.PODS and change.type is ChangeType.DELETED:
            self._avoided.pop(change.entry.uid, None)
            self._unbound.pop(change.entry.uid, None)
        return (CHANGES,)

    async def _absorb(self) -> None:
        """Bring the state up to date, and wake whom the news may help."""
        news, self._news = self._news, News.NONE
        while self._released:
            news |= self._state.forget(*self._released.pop())
        async for gvr, namespace, name in sliced(self._told()):
            news |= self._take_in[gvr]((namespace, name))
        if not news or not self._waiting:
            return
        now = self.clock.monotonic()
        async for key, waiting in sliced(list(self._waiting.items())):
            if waiting.helped_by & news:
                self.queue.add_after(key, waiting.again_at - now)

    def _told(self) -> Iterable[tuple[GVR, str, str]]:
        """What the watch has told, each once: whatever becomes of one of them, the others are not lost with it."""
        while self._dirty:
            yield self._dirty.popitem()[0]

    def _pod_changed(self, key: Name) -> News:
        entry = self.client.cached(kinds.PODS, *key)
        bound = entry is not None and entry.fields.get("spec.nodeName")
        ours = entry is not None and (bound or entry.fields.get("spec.schedulerName") == SCHEDULER_NAME)
        if entry is None or not ours or entry.fields.get("status.phase") in FINISHED:
            self._waiting.pop(key, None)
            return self._state.drop_pod(key)
        old = self._state.pods.get(key)
        pod = pod_info(entry.obj(), self._demands)
        news = self._state.put_pod(pod)
        if bound:
            self._waiting.pop(key, None)
        elif old is None or (old.uid, old.demand, old.gated) != (pod.uid, pod.demand, pod.gated):
            self._waiting.pop(key, None)
            self.queue.add(key)
        return news

    def _node_changed(self, key: Name) -> News:
        _, name = key
        entry = self.client.cached(kinds.NODES, "", name)
        node = entry.obj() if entry is not None else None
        if node is not None and self._serves(node):
            return self._state.put_node(node_spec(node))
        news = self._state.drop_node(name)
        if news:
            for assessment in self._assessments.values():
                assessment.forget_others(self._state.nodes)
        return news

    def _namespace_changed(self, _key: Name) -> News:
        self._assessments.clear()
        self._failed.clear()
        return News.NAMESPACE

    def _namespace_labels(self, namespace: str) -> Labels:
        entry = self.client.cached(kinds.NAMESPACES, "", namespace)
        return entry.labels if entry is not None else {}

    # --- placing --------------------------------------------------------------------------------------

    async def _place(self, key: Name, pod: PodInfo) -> None:
        state, demand = self._state, pod.demand
        extra = self._extra(pod)
        failed = self._failed.get(demand.key)
        if failed is not None and failed[0] == state.generation and extra is None and not state.nominated(pod):
            self._wait(key, pod, failed[1], failed[2], "")
            return
        assessment = self._assessment(demand)
        async for node in sliced(assessment.stale(state.nodes)):
            assessment.look(node)
        pairs = assessment.pairs(state.nodes)
        judged = [each async for each in sliced(assessment.judged(pod, state.nodes, pairs, extra))]
        outcome = assessment.concluded(state.nodes, pairs, judged)
        if not outcome.fitting:
            await self._refuse(key, pod, assessment, outcome, extra)
            return
        nominated = state.nominated(pod)
        if any(each.node.name == nominated for each in outcome.fitting):
            chosen = nominated
        else:
            siblings = state.siblings(pod.controller)
            chosen = scoring.best(demand, pod.controller, outcome.fitting, outcome.pairs, siblings)
        await self._slots.acquire()
        self._waiting.pop(key, None)
        state.assume(pod, chosen)
        self._news |= News.POD_CAME
        self._spawn(self._bind(key, pod, chosen))

    def _assessment(self, demand: Demand) -> Assessment:
        known = self._assessments.get(demand.key)
        if known is not None and known.demand is demand:
            self._assessments.move_to_end(demand.key)
            return known
        made = self._assessments[demand.key] = Assessment(demand, self._namespace_labels)
        if len(self._assessments) > max(FEWEST_ASSESSMENTS, STANDINGS // (len(self._state.nodes) + 1)):
            forgotten, _ = self._assessments.popitem(last=False)
            self._failed.pop(forgotten, None)
        return made

    def _extra(self, pod: PodInfo) -> Extra | None:
        of_volumes = self._volumes.extra(pod) if pod.claims else None
        now = self.clock.monotonic()
        avoided = {n: each for n, each in self._avoided.get(pod.uid, {}).items() if each.until > now}
        if not avoided:
            self._avoided.pop(pod.uid, None)
            return of_volumes

        def refuses(node: NodeInfo) -> Refusal | None:
            if node.name in avoided:
                return avoided[node.name].refusal
            return of_volumes(node) if of_volumes is not None else None

        return refuses

    # --- nobody fits ----------------------------------------------------------------------------------

    async def _refuse(
        self, key: Name, pod: PodInfo, assessment: Assessment, outcome: Outcome, extra: Extra | None
    ) -> None:
        verdict, state = outcome.verdict, self._state
        found = Found(None, "")
        if verdict.total:
            nominated = state.nominated(pod)
            question = Question(pod, assessment, state.nodes, outcome.pairs, verdict, nominated, self._budgets(), extra)
            found = await preemption.search(question)
        message = verdict.message(found.message)
        if found.candidate is None:
            nominated = state.nominated(pod) if found.keep else ""
            if not nominated:
                state.nominate(pod, "")
            if extra is None and not found.keep:
                self._failed[pod.demand.key] = (state.generation, message, verdict.helped_by)
            self._wait(key, pod, message, verdict.helped_by, nominated)
            return
        node = found.candidate.node
        for other in list(state.nodes[node].nominated.values()):
            if other.demand.priority < pod.demand.priority:
                state.nominate(other, "")
                self._spawn(self._writer.no_longer_nominated(other))
                self.queue.add((other.namespace, other.name))
        state.nominate(pod, node)
        self._preempting.add(pod.uid)
        self._wait(key, pod, message, verdict.helped_by | News.POD_GONE, node)
        self._spawn(self._preempt(key, pod, node, found.candidate.victims))

    def _budgets(self) -> list[Budget]:
        """Asked for seldom: only when somebody would have to go."""
        found = []
        for entry in self.client.entries(kinds.DISRUPTION_BUDGETS):
            budget = entry.obj()
            status = budget.get("status") or {}
            granted = frozenset(status.get("disruptedPods") or ())
            found.append(Budget(entry.namespace, selector_of(budget), status.get("disruptionsAllowed") or 0, granted))
        return found

    def _wait(self, key: Name, pod: PodInfo, message: str, helped_by: News, nominated: str) -> None:
        """Until news of `helped_by`; told where it is news."""
        now = self.clock.monotonic()
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(helped_by, 0, now)
        waiting.helped_by = helped_by
        waiting.again_at = now + _backoff_s(waiting.attempts)
        waiting.attempts += 1
        self.queue.add_after(key, FLUSH_S)
        said = (waiting.message, waiting.nominated) == (message, nominated)
        if said and now - waiting.said_at < SAY_AGAIN_S:
            return
        waiting.message, waiting.nominated, waiting.said_at = message, nominated, now
        self._spawn(self._writer.waits(pod, message, nominated))

    # --- tasks ----------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            raise RuntimeError("the scheduler does not run")
        task = self._group.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bind(self, key: Name, pod: PodInfo, node: str) -> None:
        """Afterwards the watch has confirmed the assumption, or it is taken back."""
        entry = self.client.cached(kinds.PODS, *key)
        obj = entry.obj() if entry is not None and entry.uid == pod.uid else None
        try:
            if obj is not None:
                await self._binder.bind(obj, node)
                self._writer.scheduled(obj, self._node_of(key, pod) or node)
                self._unbound.pop(pod.uid, None)
                return
        except Declined as no:
            self._avoid(key, pod, node, no.reason)
        except ApiError as error:
            log.debug("not bound, again later", extra={"pod": key, "node": node, "error": error.message})
        except Exception:
            log.exception("not bound, again later", extra={"pod": key, "node": node})
        finally:
            self._slots.release()
        self._released.append((key, pod.uid))
        self.queue.add(CHANGES)
        if self._is_there(key, pod):
            failures = self._unbound[pod.uid] = self._unbound.get(pod.uid, 0) + 1
            self.queue.add_after(key, _backoff_s(failures - 1))

    def _node_of(self, key: Name, pod: PodInfo) -> str:
        """Where it is: a binder may have had an older promise to keep."""
        entry = self.client.cached(kinds.PODS, *key)
        return entry.fields.get("spec.nodeName", "") if entry is not None and entry.uid == pod.uid else ""

    def _is_there(self, key: Name, pod: PodInfo) -> bool:
        entry = self.client.cached(kinds.PODS, *key)
        return entry is not None and entry.uid == pod.uid

    def _avoid(self, key: Name, pod: PodInfo, node: str, reason: str) -> None:
        if not self._is_there(key, pod):
            return
        until = self.clock.monotonic() + AVOID_S
        self._avoided.setdefault(pod.uid, {})[node] = _Avoided(until, declined(reason))
        self.queue.add_after(key, AVOID_S)
        self._spawn(self._writer.waits(pod, f"node {node} declined the pod: {reason}", ""))

    async def _preempt(self, key: Name, pod: PodInfo, node: str, victims: Iterable[PodInfo]) -> None:
        try:
            await self._writer.preempt(pod, node, victims)
        finally:
            # victims that end at once are gone before this: then nothing else wakes the pod
            self._preempting.discard(pod.uid)
            self.queue.add_after(key, BACKOFF_S)


def _backoff_s(attempts: int) -> float:
    return min(BACKOFF_S * 2.0 ** min(attempts, 16), MAX_BACKOFF_S)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """A write that is refused is one that the next look makes again."""
    try:
        await work
    except ApiError as error:
        log.debug("write refused", extra={"error": error.message})
    except Exception:
        log.exception("write failed")
