"""deployment controller: moves a Deployment's pods from old ReplicaSets to the new one, within its limits.

Every look finds the new set (that with the Deployment's template), counts
revisions, then takes one step: scale, roll or recreate; and writes the status.
The sets' own status brings the next look. Decisions are in `deployment_rolling`,
`deployment_revision` and `deployment_status`; a rollback is a write of the
template by the client (`kubectl rollout undo`), for which the old set becomes the new one again.
Source: pkg/controller/deployment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vapi import selectors
from vapi.cacher.entry import Change, Entry
from vapi.control import deployment_revision as revisions
from vapi.control import deployment_rolling as rolling
from vapi.control import deployment_status as statuses
from vapi.control import kinds
from vapi.control.controller import MANY, Context, Controller, Sources, is_namespace_terminating, names, own_name
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name
from vapi.control.pods import pod_facts
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.resource import Propagation
from vapi.selectors import LabelSelector

NO_HISTORY_LIMIT = 2**31 - 1


def _selector(deployment: Obj) -> LabelSelector:
    return selectors.label_selector_from_obj(deployment["spec"].get("selector"))


class DeploymentController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "deployment-controller"
    workers = MANY

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = context.informers.owners(kinds.REPLICA_SETS)
        self._pods = context.informers.owners(kinds.PODS)
        self._pod_facts = context.informers.facts(kinds.PODS, pod_facts)
        self._selectors = context.informers.facts(kinds.DEPLOYMENTS, _selector)
        self._uids = context.informers.uids(kinds.DEPLOYMENTS)

    # --- which keys -----------------------------------------------------------------------------------

    def sources(self) -> Sources[Name]:
        return {kinds.DEPLOYMENTS: own_name, kinds.REPLICA_SETS: self._set_changed}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.DEPLOYMENTS))

    def _set_changed(self, change: Change) -> Iterable[Name]:
        entry, old = change.entry, change.old
        uids = {entry.controller, old.controller if old else ""}
        concerned = {self._uids.name(uid) for uid in uids if uid}
        if not entry.controller:
            concerned.update(
                (each.namespace, each.name)
                for each in self.client.entries(kinds.DEPLOYMENTS, entry.namespace)
                if self._selectors.of(each).matches(entry.labels)
            )
        return [name for name in concerned if name is not None]

    # --- one look -------------------------------------------------------------------------------------

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.DEPLOYMENTS, *key)
        if entry is None:
            return
        deployment = entry.obj()
        if not deployment["spec"].get("selector"):
            await self._refuse_to_select_all(deployment)
            return
        sets = await self._claim(key, entry, deployment)
        rollout = Rollout(self, key, deployment, sets)
        if entry.deleting:
            await rollout.report_counts()
            return
        await rollout.note_pause()
        await rollout.find_new()
        spec = deployment["spec"]
        if spec.get("paused") or rollout.is_scaling():
            await rollout.scale()
            if spec.get("paused"):
                await rollout.clean_up()
            await rollout.report_counts()
        elif (spec.get("strategy") or {}).get("type") == "Recreate":
            await rollout.recreate()
        else:
            await rollout.roll()

    async def _refuse_to_select_all(self, deployment: Obj) -> None:
        text = "This deployment is selecting all pods. A non-empty selector is required."
        self.tell(deployment, WARNING, "SelectingAll", text)
        status = deployment.setdefault("status", {})
        generation = deployment["metadata"].get("generation", 0)
        if status.get("observedGeneration", 0) < generation:
            status["observedGeneration"] = generation
            await self.client.update(kinds.DEPLOYMENTS, deployment, subresource="status")

    async def _claim(self, key: Name, owner: Entry, deployment: Obj) -> list[Obj]:
        """The sets that are ours and match; those that match and are nobody's are adopted, others released."""
        selector = self._selectors.of(owner)
        if not owner.deleting:
            for entry in self._sets.controlled_by(owner.uid):
                if not selector.matches(entry.labels) and not entry.deleting:
                    references = entry.obj()["metadata"].get("ownerReferences") or []
                    await self._set_owners(entry, [each for each in references if each["uid"] != owner.uid])
            orphans = [
                entry
                for entry in self._sets.orphans(owner.namespace)
                if selector.matches(entry.labels) and not entry.deleting
            ]
            if orphans and await self._may_adopt(owner):
                for entry in orphans:
                    references = entry.obj()["metadata"].get("ownerReferences") or []
                    reference = kinds.controller_reference(kinds.DEPLOYMENT, deployment)
                    written = await self._set_owners(entry, [*references, reference])
                    self.written(key, kinds.REPLICA_SETS, written)
        owned = self._sets.controlled_by(owner.uid)
        return [entry.obj() for entry in owned if selector.matches(entry.labels)]

    async def _may_adopt(self, owner: Entry) -> bool:
        fresh = await self.client.get(kinds.DEPLOYMENTS, owner.namespace, owner.name)
        return fresh["metadata"]["uid"] == owner.uid and "deletionTimestamp" not in fresh["metadata"]

    async def _set_owners(self, entry: Entry, references: list[Obj]) -> Obj:
        return await self.client.update(kinds.REPLICA_SETS, kinds.with_owners(entry.obj(), references))

    def has_unfinished_pods(self, replica_set: Obj) -> bool:
        pods = self._pods.controlled_by(replica_set["metadata"]["uid"])
        return any(not self._pod_facts.of(pod).finished for pod in pods)

    def tell(self, deployment: Obj, event_type: str, reason: str, message: str) -> None:
        self.events.record(self.name, deployment, event_type, reason, message)


class Rollout:
    """One look at one Deployment: its private objects, replaced by what each write answers."""

    def __init__(self, controller: DeploymentController, key: Name, deployment: Obj, sets: Sequence[Obj]) -> None:
        self._controller = controller
        self._key = key
        self._deployment = deployment
        self._sets = {each["metadata"]["name"]: each for each in sets}
        found = revisions.find_new(deployment, sets)
        self._new_name = found["metadata"]["name"] if found else ""
        self._has_notes = False
        """The Deployment was edited by _note_revision, and is to be written."""
        spec = deployment["spec"]
        self._replicas: int = spec.get("replicas", 1)
        strategy = spec.get("strategy") or {}
        self._is_rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
        self._limits = rolling.Limits(self._replicas, 0, 0)
        if self._is_rolling:
            update = strategy.get("rollingUpdate") or {}
            self._limits = rolling.limits(self._replicas, update.get("maxSurge"), update.get("maxUnavailable"))

    @property
    def _new(self) -> Obj | None:
        return self._sets.get(self._new_name)

    @property
    def _olds(self) -> list[Obj]:
        return [each for name, each in self._sets.items() if name != self._new_name]

    # --- the new set ----------------------------------------------------------------------------------

    async def note_pause(self) -> None:
        """A Progressing condition for pausing and resuming, so that paused time does not count as no progress."""
        if not statuses.has_deadline(self._deployment):
            return
        status = self._deployment.get("status") or {}
        known = statuses.find(status.get("conditions") or (), statuses.PROGRESSING) or {}
        if known.get("reason") == statuses.TIMED_OUT:
            return
        paused = bool(self._deployment["spec"].get("paused"))
        if paused == (known.get("reason") == statuses.PAUSED):
            return
        if paused:
            await self._set_progressing("Unknown", statuses.PAUSED, "Deployment is paused")
        else:
            await self._set_progressing("Unknown", statuses.RESUMED, "Deployment is resumed")

    async def find_new(self) -> None:
        """Bring the new set's revision and annotations up to date, if there is one, and the Deployment's revision."""
        new = self._new
        if new is None:
            return
        revision = max((revisions.revision_of(old) for old in self._olds), default=0) + 1
        existing = new["metadata"].get("annotations") or {}
        wanted = revisions.new_set_annotations(self._deployment, existing, revision)
        min_ready_s = self._deployment["spec"].get("minReadySeconds", 0)
        if wanted != existing or new["spec"].get("minReadySeconds", 0) != min_ready_s:
            new["metadata"]["annotations"] = wanted
            new["spec"]["minReadySeconds"] = min_ready_s
            await self._update_set(new)
        text = f'Found new replica set "{self._new_name}"'
        self._note_revision(wanted[revisions.REVISION], "FoundNewReplicaSet", text, only_if_missing=True)

    async def _create_new(self) -> None:
        revision = max((revisions.revision_of(old) for old in self._olds), default=0) + 1
        size = self._replicas
        if self._is_rolling:
            empty = rolling.SetSize("", "", 0)
            size = rolling.new_set_size(self._limits, empty, sum(_size(old) for old in self._olds))
        new = revisions.new_replica_set(self._deployment, replicas=size, most=self._limits.most, revision=revision)
        name = new["metadata"]["name"]
        try:
            created = await self._controller.client.create(kinds.REPLICA_SETS, new)
        except ApiError as error:
            await self._create_failed(name, error)
            raise
        self._controller.written(self._key, kinds.REPLICA_SETS, created)
        self._new_name = name
        self._sets[name] = created
        if size:
            self._tell_scaled("up", name, 0, size)
        self._note_revision(str(revision), "NewReplicaSetCreated", f'Created new replica set "{name}"')

    async def _create_failed(self, name: str, error: ApiError) -> None:
        if is_namespace_terminating(error):
            return
        if error.reason == "AlreadyExists":
            # Ours, with this template, it would have been found: another has the name. Take another hash.
            status = self._deployment.setdefault("status", {})
            status["collisionCount"] = status.get("collisionCount", 0) + 1
            await self._write_status(status)
            return
        message = f'Failed to create new replica set "{name}": {error.message}'
        if statuses.has_deadline(self._deployment):
            await self._set_progressing("False", "ReplicaSetCreateError", message)
        self._controller.tell(self._deployment, WARNING, "ReplicaSetCreateError", message)

    def _note_revision(self, revision: str, reason: str, message: str, *, only_if_missing: bool = False) -> None:
        """The revision as annotation, and the Progressing condition with `reason`.

        If either changes it is written with the status in which every look ends, or before a set is resized: a look
        that fails there has told of the new set all the same.
        """
        deployment = self._deployment
        annotations = deployment["metadata"].setdefault("annotations", {})
        status = deployment.setdefault("status", {})
        conditions = status.get("conditions") or []
        updated = annotations.get(revisions.REVISION) != revision
        annotations[revisions.REVISION] = revision
        missing = statuses.find(conditions, statuses.PROGRESSING) is None
        if statuses.has_deadline(deployment) and (missing or not only_if_missing):
            now = self._controller.clock.now()
            new = statuses.condition(statuses.PROGRESSING, "True", reason, message, now)
            status["conditions"] = statuses.with_condition(conditions, new)
            updated = True
        self._has_notes = self._has_notes or updated

    # --- steps ----------------------------------------------------------------------------------------

    def is_scaling(self) -> bool:
        """Whether the Deployment's size changed since its sets were last scaled."""
        desired = (revisions.desired_of(each) for each in self._sets.values() if _size(each))
        return any(each is not None and each != self._replicas for each in desired)

    async def scale(self) -> None:
        """To the new size without rolling on: the only set, or all in proportion. Source: sync.go scale."""
        new, olds = self._size_of_new(), [self._set_size(old) for old in self._olds]
        only = rolling.active_or_latest(new, olds)
        if only is not None:
            await self._resize(only.name, self._replicas)
        elif new is not None and self._is_saturated():
            for old in olds:
                await self._resize(old.name, 0)
        elif self._is_rolling:
            active = [each for each in (*olds, *((new,) if new else ())) if each.replicas]
            before = (self._deployment.get("status") or {}).get("replicas", 0)
            for name, size in rolling.proportional(self._limits, active, before):
                await self._resize(name, size, annotate=True)

    def _is_saturated(self) -> bool:
        new = self._new
        return (
            new is not None
            and _size(new) == self._replicas == revisions.desired_of(new)
            and _available(new) == self._replicas
        )

    async def roll(self) -> None:
        if self._new is None:
            await self._create_new()
        new = self._size_of_new()
        assert new is not None
        steps = rolling.rolling_step(self._limits, new, [self._set_size(old) for old in self._olds])
        for name, size in steps:
            await self._resize(name, size)
        if not steps:
            await self._clean_up_if_complete()
        await self._report_rollout()

    async def recreate(self) -> None:
        """All old pods go, and only when the last has ended come the new ones."""
        active = [old for old in self._olds if _size(old)]
        for old in active:
            await self._resize(old["metadata"]["name"], 0)
        if not active and not any(self._still_runs(old) for old in self._olds):
            if self._new is None:
                await self._create_new()
            await self._resize(self._new_name, self._replicas)
            await self._clean_up_if_complete()
        await self._report_rollout()

    def _still_runs(self, old: Obj) -> bool:
        status = old.get("status") or {}
        return bool(status.get("replicas")) or self._controller.has_unfinished_pods(old)

    async def _clean_up_if_complete(self) -> None:
        if statuses.complete(self._deployment, self._deployment.get("status") or {}):
            await self.clean_up()

    async def clean_up(self) -> None:
        """Delete the oldest empty sets beyond revisionHistoryLimit."""
        limit: int = self._deployment["spec"].get("revisionHistoryLimit", NO_HISTORY_LIMIT)
        olds = [old for old in self._olds if "deletionTimestamp" not in old["metadata"]]
        olds.sort(key=lambda old: (revisions.revision_of(old), revisions.age(old)))
        for old in olds[: max(0, len(olds) - limit)]:
            metadata, status = old["metadata"], old.get("status") or {}
            unseen = metadata.get("generation", 0) > status.get("observedGeneration", 0)
            if status.get("replicas") or _size(old) or unseen:
                continue
            try:
                await self._controller.client.delete(
                    kinds.REPLICA_SETS,
                    metadata["namespace"],
                    metadata["name"],
                    uid=metadata["uid"],
                    propagation=Propagation.BACKGROUND,
                )
            except ApiError as error:
                if error.code != 404:
                    raise

    # --- status ---------------------------------------------------------------------------------------

    async def report_counts(self) -> None:
        now = self._controller.clock.now()
        sets = list(self._sets.values())
        status = statuses.counted(self._deployment, self._new, sets, self._limits.least_available, now)
        await self._write_status_if_changed(status)

    async def _report_rollout(self) -> None:
        now = self._controller.clock.now()
        sets = list(self._sets.values())
        status = statuses.rollout(self._deployment, self._new, sets, self._limits.least_available, now)
        if not await self._write_status_if_changed(status):
            self._look_again_at_the_deadline(status)

    def _look_again_at_the_deadline(self, status: Obj) -> None:
        known = statuses.find(status.get("conditions") or (), statuses.PROGRESSING)
        if known is None or not statuses.has_deadline(self._deployment):
            return
        if statuses.complete(self._deployment, status) or known.get("reason") == statuses.TIMED_OUT:
            return
        wait_s = statuses.deadline_in_s(self._deployment, known, self._controller.clock.now())
        self._controller.queue.add_after(self._key, max(0.0, wait_s) + 1)

    async def _set_progressing(self, status: str, reason: str, message: str) -> None:
        now = self._controller.clock.now()
        new = statuses.condition(statuses.PROGRESSING, status, reason, message, now)
        old = self._deployment.get("status") or {}
        conditions = statuses.with_condition(old.get("conditions") or (), new)
        await self._write_status({**old, "conditions": conditions})

    async def _write_status_if_changed(self, status: Obj) -> bool:
        if status == (self._deployment.get("status") or {}) and not self._has_notes:
            return False
        await self._write_status(status)
        return True

    async def _write_status(self, status: Obj) -> None:
        self._deployment["status"] = status
        self._has_notes = False
        written = await self._controller.client.update(kinds.DEPLOYMENTS, self._deployment, subresource="status")
        self._controller.written(self._key, kinds.DEPLOYMENTS, written)
        self._deployment = written

    # --- sets -----------------------------------------------------------------------------------------

    async def _resize(self, name: str, size: int, *, annotate: bool = False) -> None:
        """`annotate`: write the size annotations even if the size stays."""
        replica_set = self._sets[name]
        before = _size(replica_set)
        annotations = replica_set["metadata"].setdefault("annotations", {})
        wanted = revisions.size_annotations(self._replicas, self._limits.most)
        if before == size and not (annotate and not wanted.items() <= annotations.items()):
            return
        if self._has_notes:
            await self._write_status(self._deployment["status"])
        annotations.update(wanted)
        replica_set["spec"]["replicas"] = size
        await self._update_set(replica_set)
        if before != size:
            self._tell_scaled("up" if before < size else "down", name, before, size)

    async def _update_set(self, replica_set: Obj) -> None:
        written = await self._controller.client.update(kinds.REPLICA_SETS, replica_set)
        self._controller.written(self._key, kinds.REPLICA_SETS, written)
        self._sets[written["metadata"]["name"]] = written

    def _tell_scaled(self, direction: str, name: str, before: int, size: int) -> None:
        message = f"Scaled {direction} replica set {name} from {before} to {size}"
        self._controller.tell(self._deployment, NORMAL, "ScalingReplicaSet", message)

    def _size_of_new(self) -> rolling.SetSize | None:
        new = self._new
        return None if new is None else self._set_size(new)

    def _set_size(self, replica_set: Obj) -> rolling.SetSize:
        created, name = revisions.age(replica_set)
        max_before = revisions.max_before(replica_set)
        return rolling.SetSize(name, created, _size(replica_set), _available(replica_set), max_before)


def _size(replica_set: Obj) -> int:
    size: int = replica_set["spec"].get("replicas", 1)
    return size


def _available(replica_set: Obj) -> int:
    available: int = (replica_set.get("status") or {}).get("availableReplicas", 0)
    return available
