"""daemonset controller: one pod on each node that fits, and the rollout of a new template over them.

A pod is tied to its node by an affinity for the node's name; who binds it is the
scheduler's affair. A pod that failed is deleted, with a growing delay, and made anew.
Source: pkg/controller/daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.control import daemonset_plan as planning
from vapi.control import kinds
from vapi.control.claiming import Claims, Kind
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.daemonset_plan import Changes, DaemonPod
from vapi.control.events import NORMAL, WARNING
from vapi.control.history import HASH_LABEL, Histories
from vapi.control.informer import Name, sliced
from vapi.control.node_fit import NodeFacts, node_facts
from vapi.control.pod_control import PodControl
from vapi.control.pods import available_in_s, pod_facts
from vapi.control.replicaset import pod_of
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.strategies.apps import TEMPLATE_GENERATION

GENERATION_LABEL = "pod-template-generation"
FAILED_AGAIN_S, MOST_FAILED_AGAIN_S = 1.0, 900.0
"""Between two deletions of a failed pod on one node, doubling. Source: NewDaemonSetsController."""


class DaemonSetController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "daemonset-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._claims = Claims(self, context, Kind(kinds.DAEMON_SETS, kinds.DAEMON_SET))
        self._histories = Histories(self, context, kinds.DAEMON_SETS, kinds.DAEMON_SET, hash_label=HASH_LABEL)
        self._facts = context.informers.facts(kinds.PODS, pod_facts)
        self._targets = context.informers.facts(kinds.PODS, planning.target_of)
        self._nodes = context.informers.facts(kinds.NODES, node_facts)
        self._seen: dict[str, NodeFacts] = {}
        """Node → what was last told of it: heartbeats concern nobody."""
        self._failures: dict[tuple[str, str], tuple[float, float]] = {}
        """(uid, node) → (delay, when it was last deleted)"""
        self._pods = PodControl(self, self.name)

    def sources(self) -> Sources[Name]:
        return {
            kinds.DAEMON_SETS: self._set_changed,
            kinds.PODS: self._claims.concerned,
            kinds.NODES: self._node_changed,
        }

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.DAEMON_SETS))

    def _set_changed(self, change: Change) -> Iterable[Name]:
        if change.type is ChangeType.DELETED:
            gone = [each for each in self._failures if each[0] == change.entry.uid]
            for each in gone:
                del self._failures[each]
        return own_name(change)

    def _node_changed(self, change: Change) -> Iterable[Name]:
        name = change.entry.name
        if change.type is ChangeType.DELETED:
            self._seen.pop(name, None)
            return self.all_keys()
        facts = node_facts(change.entry.obj())
        if self._seen.get(name) == facts:
            return ()
        self._seen[name] = facts
        return self.all_keys()

    # --- one look -------------------------------------------------------------------------------------

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.DAEMON_SETS, *key)
        if entry is None or entry.deleting:
            return
        daemon_set = entry.obj()
        if daemon_set["spec"].get("selector") == {}:
            text = "This daemon set is selecting all pods. A non-empty selector is required."
            self.events.record(self.name, daemon_set, WARNING, "SelectingAll", text)
            return
        revisions = await self._histories.revisions(key, entry, daemon_set)
        collisions = (daemon_set.get("status") or {}).get("collisionCount", 0)
        current, collisions = await self._histories.current(key, daemon_set, revisions, collisions)
        async for pod in sliced(await self._claims.claim(key, entry, daemon_set)):
            self._learn(pod)
        look = Look(self, key, entry, daemon_set, current["metadata"]["labels"].get(HASH_LABEL, ""))
        refused = await look.manage()
        await look.report(collisions)
        if refused is not None:
            raise refused
        live_hashes = {pod.labels.get(HASH_LABEL, "") for pod in self._claims.controlled(entry)}
        live = [each["metadata"]["name"] for each in revisions if _hash(each) in live_hashes]
        live.append(current["metadata"]["name"])
        await self._histories.truncate(revisions, live, daemon_set["spec"].get("revisionHistoryLimit", 10))

    def _learn(self, pod: Entry) -> None:
        """Decode it here, between turns of the loop; what follows takes the facts as they come."""
        self._targets.of(pod)
        self._facts.of(pod)

    def nodes(self) -> list[NodeFacts]:
        return [self._nodes.of(entry) for entry in self.client.entries(kinds.NODES)]

    def pods_of(self, entry: Entry) -> list[tuple[Entry, str]]:
        """(pod, its node)"""
        return [(pod, self._targets.of(pod)) for pod in self._claims.controlled(entry)]

    def facts(self, pod: Entry, min_ready_s: int, is_updated: Callable[[Entry], bool], node: str) -> DaemonPod:
        facts = self._facts.of(pod)
        return DaemonPod(
            pod.name,
            node,
            facts.created,
            bound=bool(facts.node),
            updated=is_updated(pod),
            phase=facts.phase,
            deleting=facts.deleting,
            ready=facts.ready,
            available=available_in_s(facts, min_ready_s, self.clock.now()) == 0,
        )

    def available_in_s(self, pods: Iterable[Entry], min_ready_s: int) -> float | None:
        """When the next one becomes available; None: no ready one waits for it."""
        waits = [available_in_s(self._facts.of(pod), min_ready_s, self.clock.now()) for pod in pods]
        return min((wait for wait in waits if wait), default=None)

    def may_delete_failed(self, uid: str, node: str) -> float:
        """Seconds until a failed pod there may be deleted; 0: now, and the next one has to wait longer."""
        now = self.clock.monotonic()
        delay, at = self._failures.get((uid, node), (0.0, now))
        if at + delay > now:
            return at + delay - now
        forgotten = now - at > 2 * MOST_FAILED_AGAIN_S
        longer = FAILED_AGAIN_S if forgotten or not delay else min(2 * delay, MOST_FAILED_AGAIN_S)
        self._failures[uid, node] = (longer, now)
        return 0.0

    @property
    def pod_control(self) -> PodControl:
        return self._pods


class Look:
    """One look at one DaemonSet."""

    def __init__(self, controller: DaemonSetController, key: Name, entry: Entry, daemon_set: Obj, digest: str) -> None:
        self._controller = controller
        self._key = key
        self._entry = entry
        self._set = daemon_set
        self._hash = digest
        self._spec = daemon_set["spec"]
        self._generation = (daemon_set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
        self._stays = planning.stays(self._spec["template"]["spec"], controller.nodes())

    async def manage(self) -> ApiError | None:
        """One pod a node; once that is so, the next step of a rollout. The first refusal."""
        strategy = self._spec.get("updateStrategy") or {}
        surges = planning.limits(strategy, 1).surge > 0
        pods = self._pods_by_node()
        changes = planning.manage(self._stays, pods, surges=surges)
        self._end(changes, pods)
        if not (changes.create or changes.delete) and strategy.get("type", "RollingUpdate") == "RollingUpdate":
            changes = planning.roll(self._stays, pods, strategy)
        return await self._apply(changes)

    def _pods_by_node(self) -> dict[str, list[DaemonPod]]:
        found: dict[str, list[DaemonPod]] = {}
        for pod, node in self._controller.pods_of(self._entry):
            facts = self._controller.facts(pod, self._spec.get("minReadySeconds", 0), self._is_updated, node)
            if node and not (facts.deleting and facts.phase in ("Failed", "Succeeded")):
                found.setdefault(node, []).append(facts)
        return dict(sorted(found.items()))

    def _is_updated(self, pod: Entry) -> bool:
        by_generation = bool(self._generation) and pod.labels.get(GENERATION_LABEL) == self._generation
        return by_generation or pod.labels.get(HASH_LABEL) == self._hash

    def _end(self, changes: Changes, pods: planning.Pods) -> None:
        """Tell of pods that ended and delete them; failed ones only when their node's delay is over."""
        node_of = {pod.name: node for node, there in pods.items() for pod in there}
        for name in changes.failed:
            wait = self._controller.may_delete_failed(self._entry.uid, node_of[name])
            if wait:
                self._controller.queue.add_after(self._key, wait)
                continue
            where = f"{self._entry.namespace}/{name} on node {node_of[name]}"
            self._tell(WARNING, "FailedDaemonPod", f"Found failed daemon pod {where}, will try to kill it")
            changes.delete.append(name)
        for name in changes.succeeded:
            where = f"{self._entry.namespace}/{name} on node {node_of[name]}"
            self._tell(NORMAL, "SucceededDaemonPod", f"Found succeeded daemon pod {where}, will try to delete it")
            changes.delete.append(name)

    def _tell(self, event_type: str, reason: str, message: str) -> None:
        self._controller.events.record(self._controller.name, self._set, event_type, reason, message)

    async def _apply(self, changes: Changes) -> ApiError | None:
        control = self._controller.pod_control
        makers = [partial(self._new_pod, node) for node in changes.create]
        refused = await control.create_all(self._key, self._set, makers)
        going = set(changes.delete)
        pods = [pod for pod, _ in self._controller.pods_of(self._entry) if pod.name in going]
        return await control.delete_all(self._set, pods) or refused

    def _new_pod(self, node: str) -> Obj:
        pod = pod_of(self._set, kinds.DAEMON_SET)
        labels = pod["metadata"].setdefault("labels", {})
        if self._generation:
            labels[GENERATION_LABEL] = self._generation
        labels[HASH_LABEL] = self._hash
        pod["spec"]["tolerations"] = planning.tolerations(pod["spec"])
        pod["spec"]["affinity"] = planning.pinned_to(pod["spec"].get("affinity"), node)
        return pod

    async def report(self, collisions: int) -> None:
        """Write the status if it changed, and come back when the next pod will be available."""
        pods = self._pods_by_node()
        old = self._set.get("status") or {}
        status = planning.counts(self._stays, pods)
        status["observedGeneration"] = self._set["metadata"].get("generation", 0)
        if collisions:
            status["collisionCount"] = collisions
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status != old:
            self._set["status"] = status
            written = await self._controller.client.update(kinds.DAEMON_SETS, self._set, subresource="status")
            self._controller.written(self._key, kinds.DAEMON_SETS, written)
        entries: Sequence[Entry] = [pod for pod, _ in self._controller.pods_of(self._entry)]
        wait = self._controller.available_in_s(entries, self._spec.get("minReadySeconds", 0))
        if wait is not None:
            self._controller.queue.add_after(self._key, wait)


def _hash(revision: Obj) -> str:
    found: str = (revision["metadata"].get("labels") or {}).get(HASH_LABEL, "")
    return found
