"""replicaset controller: as many pods as asked for; and the replication controller, the same under another name.

Pods are created in batches that double as long as all goes well (slow start: a
quota that allows none refuses one, not five hundred), and deleted by rank.
Pods that match and belong to nobody are adopted, pods that no longer match released.
Source: pkg/controller/replicaset; contract §5.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from vapi import selectors
from vapi.cacher.entry import Change, Entry
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.control.controller import (
    MANY,
    Context,
    Controller,
    Sizes,
    Sources,
    all_at_once,
    is_namespace_terminating,
    names,
    own_name,
)
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name, sliced
from vapi.control.pods import PodFacts, available_in_s, pod_facts
from vapi.control.replica_ranking import Candidate, victims
from vapi.control.workqueue import Retry
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj
from vapi.resources.strategies import mirrors
from vapi.selectors import LabelSelector

BURST = 500
"""Pods created or deleted in one look. Source: replicaset.BurstReplicas."""
FIRST_BATCH = 1


@dataclass(frozen=True, slots=True)
class Flavour:
    """What tells ReplicaSets and ReplicationControllers apart."""

    gvr: GVR
    gvk: GVK
    component: str
    selector: Callable[[Obj], LabelSelector]
    counts_terminating: bool
    """Has status.terminatingReplicas."""


def _replica_set_selector(obj: Obj) -> LabelSelector:
    return selectors.label_selector_from_obj(obj["spec"].get("selector"))


def _replication_controller_selector(obj: Obj) -> LabelSelector:
    wanted = obj["spec"].get("selector")
    return selectors.label_selector_from_obj({"matchLabels": wanted} if wanted else None)


REPLICA_SET = Flavour(
    kinds.REPLICA_SETS, kinds.REPLICA_SET, "replicaset-controller", _replica_set_selector, counts_terminating=True
)
REPLICATION_CONTROLLER = Flavour(
    kinds.REPLICATION_CONTROLLERS,
    kinds.REPLICATION_CONTROLLER,
    "replication-controller",
    _replication_controller_selector,
    counts_terminating=False,
)


@dataclass(frozen=True, slots=True)
class Pod:
    """A claimed pod: its entry and what it says."""

    entry: Entry
    facts: PodFacts


class ReplicaSetController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "replicaset-controller"
    workers = MANY

    def __init__(self, context: Context, flavour: Flavour = REPLICA_SET) -> None:
        super().__init__(context)
        self._flavour = flavour
        self._pods = context.informers.owners(kinds.PODS)
        self._facts = context.informers.facts(kinds.PODS, pod_facts)
        self._selectors = context.informers.facts(flavour.gvr, flavour.selector)
        self._uids = context.informers.uids(flavour.gvr)
        self._siblings = context.informers.owners(flavour.gvr)
        self._sizes: Sizes[Name] = Sizes()

    # --- which keys -----------------------------------------------------------------------------------

    def sources(self) -> Sources[Name]:
        return {self._flavour.gvr: own_name, kinds.PODS: self._pod_changed}

    def delay_s(self, key: Name) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(self._flavour.gvr))

    def _pod_changed(self, change: Change) -> Iterable[Name]:
        entry, old = change.entry, change.old
        concerned = {self._uids.name(entry.controller)} if entry.controller else set()
        if old is not None and old.controller != entry.controller and old.controller:
            concerned.add(self._uids.name(old.controller))
        if not entry.controller and (old is None or old.controller or old.labels != entry.labels):
            concerned.update(self._matching(entry))
        return [name for name in concerned if name is not None]

    def _matching(self, pod: Entry) -> Iterable[Name]:
        for entry in self.client.entries(self._flavour.gvr, pod.namespace):
            if self._selectors.of(entry).matches(pod.labels):
                yield entry.namespace, entry.name

    # --- one look -------------------------------------------------------------------------------------

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(self._flavour.gvr, *key)
        if entry is None:
            self._sizes.note(key, 0)
            return
        owner = entry.obj()
        if mirrors.is_child(owner):
            return
        selector = self._selectors.of(entry)
        pods = await self._claim(key, entry, owner, selector)
        self._sizes.note(key, len(pods))
        active = [pod for pod in pods if pod.facts.active]
        failure: ApiError | None = None
        if not entry.deleting and len(active) != owner["spec"].get("replicas", 1):
            failure = await self._manage(key, entry, owner, active)
            pods, _ = await self._owned(entry, selector)
        now = self.clock.now()
        status = replica_status(owner, pods, failure, now, counts_terminating=self._flavour.counts_terminating)
        if status != (owner.get("status") or {}):
            owner["status"] = status
            owner = await self.client.update(self._flavour.gvr, owner, subresource="status")
            self.written(key, self._flavour.gvr, owner)
        if failure is not None:
            raise Retry(reason=failure.message)
        self._look_again_when_available(key, owner, pods, now)

    def _look_again_when_available(self, key: Name, owner: Obj, pods: Sequence[Pod], now: dt.datetime) -> None:
        min_ready_s = owner["spec"].get("minReadySeconds", 0)
        waits = [available_in_s(pod.facts, min_ready_s, now) for pod in pods if pod.facts.active]
        pending = [wait for wait in waits if wait]
        if pending:
            self.queue.add_after(key, min(pending))

    # --- claiming -------------------------------------------------------------------------------------

    async def _owned(self, owner: Entry, selector: LabelSelector) -> tuple[list[Pod], list[Pod]]:
        """The pods it controls: those that match, and those that do not."""
        ours: list[Pod] = []
        strangers: list[Pod] = []
        async for entry in sliced(self._pods.controlled_by(owner.uid)):
            (ours if selector.matches(entry.labels) else strangers).append(Pod(entry, self._facts.of(entry)))
        return ours, strangers

    async def _claim(self, key: Name, owner: Entry, obj: Obj, selector: LabelSelector) -> list[Pod]:
        """The pods that are ours and match, after releasing those that do not and adopting those of nobody."""
        ours, strangers = await self._owned(owner, selector)
        if owner.deleting:
            return ours
        for stranger in strangers:
            if stranger.facts.active:
                await self._release(stranger.entry, owner.uid)
        orphans = [
            entry
            async for entry in sliced(self._pods.orphans(owner.namespace))
            if selector.matches(entry.labels) and self._facts.of(entry).active
        ]
        if not orphans or not await self._may_adopt(owner):
            return ours
        for entry in orphans:
            await self._adopt(key, entry, obj)
        ours, _ = await self._owned(owner, selector)
        return ours

    async def _may_adopt(self, owner: Entry) -> bool:
        """A live read: the set may be going, or another one may have its name."""
        fresh = await self.client.get(self._flavour.gvr, owner.namespace, owner.name)
        return fresh["metadata"]["uid"] == owner.uid and "deletionTimestamp" not in fresh["metadata"]

    async def _adopt(self, key: Name, pod: Entry, owner: Obj) -> None:
        references = pod.obj()["metadata"].get("ownerReferences") or []
        references.append(kinds.controller_reference(self._flavour.gvk, owner))
        written = await self._set_owners(pod, references)
        if written is not None:
            self.written(key, kinds.PODS, written)

    async def _release(self, pod: Entry, uid: str) -> None:
        references = pod.obj()["metadata"].get("ownerReferences") or []
        await self._set_owners(pod, [each for each in references if each["uid"] != uid])

    async def _set_owners(self, pod: Entry, references: list[Obj]) -> Obj | None:
        """None: the pod is gone."""
        try:
            return await self.client.update(kinds.PODS, kinds.with_owners(pod.obj(), references))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    # --- more, fewer ----------------------------------------------------------------------------------

    async def _manage(self, key: Name, entry: Entry, owner: Obj, active: Sequence[Pod]) -> ApiError | None:
        """Create or delete what is missing or too much; the first refusal, worded for the condition."""
        wanted = owner["spec"].get("replicas", 1)
        if len(active) < wanted:
            return await self._create_pods(key, owner, min(wanted - len(active), BURST))
        if len(active) > wanted:
            return await self._delete_pods(entry, owner, active, min(len(active) - wanted, BURST))
        return None

    async def _create_pods(self, key: Name, owner: Obj, count: int) -> ApiError | None:
        batch = FIRST_BATCH
        while count > 0:
            batch = min(batch, count)
            refused = await all_at_once([partial(self._create_pod, key, owner)] * batch)
            if refused:
                return None if is_namespace_terminating(refused[0]) else refused[0]
            count -= batch
            batch *= 2
        return None

    async def _create_pod(self, key: Name, owner: Obj) -> None:
        try:
            pod = await self.client.create(kinds.PODS, pod_of(owner, self._flavour.gvk))
        except ApiError as error:
            if not is_namespace_terminating(error):
                self._tell(owner, WARNING, "FailedCreate", f"Error creating: {error.message}")
            raise
        self.written(key, kinds.PODS, pod)
        self._tell(owner, NORMAL, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    async def _delete_pods(self, entry: Entry, owner: Obj, active: Sequence[Pod], count: int) -> ApiError | None:
        by_uid = {pod.entry.uid: pod.entry for pod in active}
        candidates = [Candidate(pod.entry.uid, pod.facts) for pod in active]
        chosen = victims(candidates, self._related(entry, active), count, self.clock.now())
        refused = await all_at_once(partial(self._delete_pod, owner, by_uid[each.uid]) for each in chosen)
        return refused[0] if refused else None

    def _related(self, entry: Entry, active: Sequence[Pod]) -> list[PodFacts]:
        """Pods of all sets with the same controller, of this one if it has none."""
        if not entry.controller:
            return [pod.facts for pod in active]
        siblings = self._siblings.controlled_by(entry.controller)
        return [self._facts.of(pod) for sibling in siblings for pod in self._pods.controlled_by(sibling.uid)]

    async def _delete_pod(self, owner: Obj, pod: Entry) -> None:
        try:
            await self.client.delete(kinds.PODS, pod.namespace, pod.name, uid=pod.uid)
        except ApiError as error:
            if error.code != 404:
                self._tell(owner, WARNING, "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._tell(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {pod.name}")

    def _tell(self, owner: Obj, event_type: str, reason: str, message: str) -> None:
        self.events.record(self._flavour.component, owner, event_type, reason, message)


def pod_of(owner: Obj, gvk: GVK) -> Obj:
    """A new pod of the owner's template. Source: controller.GetPodFromTemplate."""
    template = owner["spec"].get("template") or {}
    given = template.get("metadata") or {}
    metadata: Obj = {
        "generateName": f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [kinds.controller_reference(gvk, owner)],
    }
    for key in ("labels", "annotations", "finalizers"):
        if given.get(key):
            metadata[key] = copy.deepcopy(given[key])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy.deepcopy(template.get("spec") or {}),
    }


def replica_status(
    owner: Obj, pods: Sequence[Pod], failure: ApiError | None, now: dt.datetime, *, counts_terminating: bool
) -> Obj:
    """The whole status; counts that are 0 are left out, as Kubernetes does. Source: replica_set_utils.go."""
    spec, old = owner["spec"], owner.get("status") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    active = [pod for pod in pods if pod.facts.active]
    ready = [pod for pod in active if pod.facts.ready]
    min_ready_s = spec.get("minReadySeconds", 0)
    counts = {
        "fullyLabeledReplicas": sum(1 for pod in active if labels.items() <= pod.entry.labels.items()),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for pod in ready if available_in_s(pod.facts, min_ready_s, now) == 0),
        "observedGeneration": owner["metadata"].get("generation", 0),
    }
    status: Obj = {"replicas": len(active), **{key: count for key, count in counts.items() if count}}
    if counts_terminating:
        status["terminatingReplicas"] = sum(1 for pod in pods if pod.facts.terminating)
    conditions = _with_failure(old.get("conditions") or [], failure, len(active) - spec.get("replicas", 1), now)
    if conditions:
        status["conditions"] = conditions
    return status


def _with_failure(conditions: Sequence[Obj], failure: ApiError | None, surplus: int, now: dt.datetime) -> list[Obj]:
    """The conditions with ReplicaFailure as it should be; one that is there already keeps its time and text."""
    if failure is not None and any(each.get("type") == "ReplicaFailure" for each in conditions):
        return list(conditions)
    kept = [each for each in conditions if each.get("type") != "ReplicaFailure"]
    if failure is not None:
        kept.append(
            {
                "type": "ReplicaFailure",
                "status": "True",
                "lastTransitionTime": rfc3339(now),
                "reason": "FailedCreate" if surplus < 0 else "FailedDelete",
                "message": failure.message,
            }
        )
    return kept
