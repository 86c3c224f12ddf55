"""statefulset controller: pods with names that stay, in order, each with claims of its own that outlive it.

A look brings the revisions up to date, asks `statefulset_plan` what to do, does
it until something is refused, and writes the status of what is there then.
Source: pkg/controller/statefulset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.control import kinds
from vapi.control import statefulset_plan as planning
from vapi.control import statefulset_pods as members
from vapi.control.claiming import Claims, Kind
from vapi.control.controller import MANY, Context, Controller, Sources, all_at_once, names, own_name
from vapi.control.events import NORMAL, WARNING
from vapi.control.history import HASH_LABEL, REVISION_HASH_LABEL, Histories, template_of
from vapi.control.informer import Name, sliced
from vapi.control.pods import available_in_s, pod_facts
from vapi.control.statefulset_plan import Replica, Verb
from vapi.errors import ApiError
from vapi.gvk import Obj


class StatefulSetController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "statefulset-controller"
    workers = MANY

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = Claims(self, context, Kind(kinds.STATEFUL_SETS, kinds.STATEFUL_SET))
        self.histories = Histories(
            self, context, kinds.STATEFUL_SETS, kinds.STATEFUL_SET, hash_label=REVISION_HASH_LABEL
        )
        self.facts = context.informers.facts(kinds.PODS, pod_facts)
        self.volumes = context.informers.facts(kinds.PODS, members.claim_volumes)

    def sources(self) -> Sources[Name]:
        return {
            kinds.STATEFUL_SETS: own_name,
            kinds.PODS: self.claims.concerned,
            kinds.CLAIMS: self._claim_changed,
        }

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.STATEFUL_SETS))

    def _claim_changed(self, change: Change) -> Iterable[Name]:
        """A claim that went may be what a set waits for: a stale one, or one to be made again."""
        if change.type is not ChangeType.DELETED:
            return ()
        parent = change.entry.name.rpartition("-")[0]
        sets = self.client.entries(kinds.STATEFUL_SETS, change.entry.namespace)
        return [(each.namespace, each.name) for each in sets if parent.endswith(f"-{each.name}")]

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.STATEFUL_SETS, *key)
        if entry is None:
            return
        stateful_set = entry.obj()
        collisions = (stateful_set.get("status") or {}).get("collisionCount", 0)
        revisions = await self.histories.revisions(key, entry, stateful_set)
        update, collisions = await self.histories.current(key, stateful_set, revisions, collisions)
        known = (stateful_set.get("status") or {}).get("currentRevision", "")
        current = next((each for each in revisions if each["metadata"]["name"] == known), update)
        look = Look(self, key, entry, stateful_set, current, update)
        pods = await self.claims.claim(key, entry, stateful_set, look.is_member)
        async for pod in sliced(pods):  # decoded here, between turns of the loop
            self.facts.of(pod)
        refused = None if entry.deleting else await look.act(pods)
        pods = [each for each in self.claims.controlled(entry) if look.is_member(each)]
        await look.report(pods, collisions)
        live = {current["metadata"]["name"], update["metadata"]["name"]}
        live.update(pod.labels.get(HASH_LABEL, "") for pod in pods)
        await self.histories.truncate(revisions, live, stateful_set["spec"].get("revisionHistoryLimit", 10))
        if refused is not None:
            raise refused


class Look:
    """One look at one set: its private object and the two revisions it stands between."""

    def __init__(
        self, controller: StatefulSetController, key: Name, entry: Entry, stateful_set: Obj, current: Obj, update: Obj
    ) -> None:
        self._controller = controller
        self._client = controller.client
        self._key = key
        self._entry = entry
        self._set = stateful_set
        self._current = current
        self._update = update
        self._shape = planning.shape_of(stateful_set, update["metadata"]["name"])
        self._first = planning.first_ordinal(stateful_set)
        self._min_ready_s: int = stateful_set["spec"].get("minReadySeconds", 0)
        self._pods: dict[int, Entry] = {}

    def is_member(self, pod: Entry) -> bool:
        return self._ordinal(pod) >= 0

    def _ordinal(self, pod: Entry) -> int:
        return planning.ordinal_of(pod.name, self._entry.name)

    @property
    def _wanted(self) -> range:
        return range(self._first, self._first + self._set["spec"].get("replicas", 1))

    # --- what there is --------------------------------------------------------------------------------

    def _place(self, ordinal: int) -> Replica:
        pod = self._pods.get(ordinal)
        if pod is not None:
            return self._replica(pod, ordinal)
        revision = planning.revision_for(
            ordinal, first=self._first, shape=self._shape, current=self._current["metadata"]["name"]
        )
        return Replica(ordinal, revision, stale_claim=self._has_stale_claim(ordinal))

    def _replica(self, pod: Entry, ordinal: int) -> Replica:
        facts = self._controller.facts.of(pod)
        ready = facts.phase == "Running" and facts.ready
        return Replica(
            ordinal,
            pod.labels.get(HASH_LABEL, ""),
            exists=True,
            phase=facts.phase,
            terminating=facts.deleting,
            ready=ready,
            available=ready and available_in_s(facts, self._min_ready_s, self._controller.clock.now()) == 0,
            needs_claims=facts.phase == "Pending" and bool(self._missing_claims(ordinal)),
            fits=self._fits(pod, ordinal),
        )

    def _missing_claims(self, ordinal: int) -> list[Obj]:
        wanted = members.claims(self._set, ordinal)
        return [each for each in wanted if self._claim(each["metadata"]["name"]) is None]

    def _claim(self, name: str) -> Entry | None:
        return self._client.cached(kinds.CLAIMS, self._entry.namespace, name)

    def _has_stale_claim(self, ordinal: int) -> bool:
        if not members.retention(self._set).when_scaled:
            return False
        found = [self._claim(name) for _, name in members.claim_names(self._set, ordinal)]
        name = members.pod_name(self._set, ordinal)
        return any(each is not None and members.has_stale_pod(_owners(each.obj()), name, "") for each in found)

    def _fits(self, pod: Entry, ordinal: int) -> bool:
        if not members.has_identity(dict(pod.labels), pod.name):
            return False
        wanted = members.claim_names(self._set, ordinal)
        if not wanted:
            return True
        if not set(wanted) <= set(self._controller.volumes.of(pod)):
            return False
        return not any(True for _ in self._claims_with_wrong_owners(ordinal, pod.uid))

    def _claims_with_wrong_owners(self, ordinal: int, pod_uid: str) -> Iterable[tuple[Obj, list[Obj]]]:
        for _, name in members.claim_names(self._set, ordinal):
            entry = self._claim(name)
            if entry is None or not (entry.owners or not members.retention(self._set).retains_all):
                continue
            claim = entry.obj()
            owners = members.claim_owners(
                _owners(claim),
                self._set,
                pod=members.pod_name(self._set, ordinal),
                pod_uid=pod_uid,
                condemned=ordinal not in self._wanted,
            )
            if owners is not None:
                yield claim, owners

    # --- acting ---------------------------------------------------------------------------------------

    async def act(self, pods: Sequence[Entry]) -> ApiError | None:
        """Do what is planned, until something is refused: that error."""
        self._pods = {self._ordinal(pod): pod for pod in pods}
        replicas = [self._place(ordinal) for ordinal in self._wanted]
        condemned = [self._replica(pod, ordinal) for ordinal, pod in self._pods.items() if ordinal not in self._wanted]
        actions = planning.plan(self._shape, replicas, condemned)
        revisions = {each.ordinal: each.revision for each in replicas}
        calls = [partial(self._do, verb, ordinal, revisions.get(ordinal, "")) for verb, ordinal in actions]
        batch = 1
        while calls:  # a quota that allows none refuses one, not all (slow start)
            refused = await all_at_once(calls[:batch])
            if refused:
                return refused[0]
            calls = calls[batch:]
            batch *= 2
        return None

    async def _do(self, verb: Verb, ordinal: int, revision: str) -> None:
        if verb is Verb.CREATE:
            await self._create(ordinal, revision)
        elif verb is Verb.MAKE_CLAIMS:
            await self._make_claims(ordinal)
            await self._set_claim_owners(ordinal, self._pods[ordinal].uid)
        elif verb is Verb.MEND:
            await self._mend(ordinal)
        else:
            await self._delete(ordinal)

    async def _create(self, ordinal: int, revision: str) -> None:
        name = members.pod_name(self._set, ordinal)
        template = self._set["spec"]["template"]
        if revision == self._current["metadata"]["name"] != self._update["metadata"]["name"]:
            template = template_of(self._current)
        try:
            await self._make_claims(ordinal)
            pod = await self._client.create(kinds.PODS, members.new_pod(self._set, template, ordinal, revision))
            self._controller.written(self._key, kinds.PODS, pod)
            await self._set_claim_owners(ordinal, pod["metadata"]["uid"])
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._tell_failed("Create", name, error)
            raise
        self._tell("Create", name)

    async def _make_claims(self, ordinal: int) -> None:
        pod = members.pod_name(self._set, ordinal)
        for claim in members.claims(self._set, ordinal):
            name = claim["metadata"]["name"]
            there = self._claim(name)
            if there is not None and not there.deleting:
                continue
            if there is not None:
                raise ApiError(409, "Conflict", f"pvc {name} is being deleted")
            text = f"Create Claim {name} Pod {pod} in StatefulSet {self._entry.name} success"
            try:
                self._controller.written(self._key, kinds.CLAIMS, await self._client.create(kinds.CLAIMS, claim))
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    continue
                text = f"Create Claim {name} for Pod {pod} in StatefulSet {self._entry.name} failed error: "
                self._record(WARNING, "FailedCreate", text + error.message)
                raise
            self._record(NORMAL, "SuccessfulCreate", text)

    async def _set_claim_owners(self, ordinal: int, pod_uid: str) -> None:
        for claim, owners in list(self._claims_with_wrong_owners(ordinal, pod_uid)):
            await self._client.update(kinds.CLAIMS, kinds.with_owners(claim, owners))

    async def _mend(self, ordinal: int) -> None:
        """Identity and claims of a pod; its volumes are fixed, so a pod without its claims is for people to delete."""
        entry = self._pods[ordinal]
        if ordinal in self._wanted and not members.has_identity(dict(entry.labels), entry.name):
            pod = entry.obj()
            pod["metadata"]["labels"] = members.identity(pod["metadata"].get("labels") or {}, entry.name, ordinal)
            try:
                self._controller.written(self._key, kinds.PODS, await self._client.update(kinds.PODS, pod))
            except ApiError as error:
                self._tell_failed("Update", entry.name, error)
                raise
            self._tell("Update", entry.name)
        await self._set_claim_owners(ordinal, entry.uid)

    async def _delete(self, ordinal: int) -> None:
        pod = self._pods[ordinal]
        try:
            await self._client.delete(kinds.PODS, pod.namespace, pod.name, uid=pod.uid)
        except ApiError as error:
            if error.code != 404:
                self._tell_failed("Delete", pod.name, error)
                raise
        self._tell("Delete", pod.name)

    def _tell(self, verb: str, pod: str) -> None:
        text = f"{verb} Pod {pod} in StatefulSet {self._entry.name} successful"
        self._record(NORMAL, f"Successful{verb}", text)

    def _tell_failed(self, verb: str, pod: str, error: ApiError) -> None:
        text = f"{verb} Pod {pod} in StatefulSet {self._entry.name} failed error: {error.message}"
        self._record(WARNING, f"Failed{verb}", text)

    def _record(self, event_type: str, reason: str, message: str) -> None:
        self._controller.events.record(self._controller.name, self._set, event_type, reason, message)

    # --- telling --------------------------------------------------------------------------------------

    async def report(self, pods: Sequence[Entry], collisions: int) -> None:
        """Write the status if it changed, and come back when the next pod will be available."""
        replicas = [self._replica(pod, self._ordinal(pod)) for pod in pods]
        old = self._set.get("status") or {}
        status = status_of(
            self._set,
            replicas,
            current=self._current["metadata"]["name"],
            update=self._update["metadata"]["name"],
            collisions=collisions,
        )
        if status != old:
            self._set["status"] = status
            written = await self._client.update(kinds.STATEFUL_SETS, self._set, subresource="status")
            self._controller.written(self._key, kinds.STATEFUL_SETS, written)
        now = self._controller.clock.now()
        waits = [available_in_s(self._controller.facts.of(pod), self._min_ready_s, now) for pod in pods]
        pending = [wait for wait in waits if wait]
        if pending:
            self._controller.queue.add_after(self._key, min(pending))


def status_of(stateful_set: Obj, replicas: Sequence[Replica], *, current: str, update: str, collisions: int) -> Obj:
    """The whole status; once every pod is new and ready, the new revision is the current one."""
    staying = [each for each in replicas if not each.terminating]
    ready = sum(1 for each in replicas if each.ready)
    updated = sum(1 for each in staying if each.revision == update)
    at_current = sum(1 for each in staying if each.revision == current)
    wanted = stateful_set["spec"].get("replicas", 1)
    if updated == ready == len(replicas) == wanted:
        current, at_current = update, updated
    counts = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "readyReplicas": ready,
        "currentReplicas": at_current,
        "updatedReplicas": updated,
    }
    status: Obj = {
        **{key: count for key, count in counts.items() if count},
        "replicas": len(replicas),
        "availableReplicas": sum(1 for each in replicas if each.available),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": collisions,
    }
    conditions = (stateful_set.get("status") or {}).get("conditions")
    if conditions:
        status["conditions"] = conditions
    return status


def _owners(obj: Obj) -> list[Obj]:
    return obj["metadata"].get("ownerReferences") or []
