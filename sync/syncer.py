"""Syncer: one engine for all kinds: a change on either side names a key, a look at it does what the plan says.

Level-triggered: nothing that is remembered decides, so a syncer that was killed
anywhere goes on from what both clusters hold. No look before both first lists
are complete. At most `workers` looks at a time, one a key; requests to the host
wait in one bucket by priority. A host that goes away stops nothing: looks fail, back off, and succeed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from sync import anchor, names
from sync.actions import ACTIONS, end
from sync.changes import ON_DEMAND, PRIORITIES, VirtualChanges
from sync.cluster import Cluster, ClusterError, Unreachable
from sync.converge import restore
from sync.gate import Gate
from sync.hooks import NoHooks, PodHooks, TwinLost
from sync.informer import HostInformer
from sync.limiter import Limiter
from sync.ownership import HostState, Twin, classify
from sync.plan import NEEDS_PROOF, Action, plan, virtual_state
from sync.references import RELEASE_AFTER_S, References
from sync.state import SYNC_ERROR, SYNC_WARNING, Engine, EventSink, Key, Work, identity_of, known_uid
from sync.sweep import sweep
from sync.translator import (
    CONFIGMAPS,
    PODS,
    PRIORITYCLASSES,
    SERVICES,
    Context,
    Ref,
    Translator,
    Untranslatable,
    Withheld,
)
from sync.translators.table import TRANSLATORS
from sync.views import Views
from sync.virtual import Record, VirtualCluster
from vapi.clock import Clock, SystemClock
from vapi.control.informer import sliced
from vapi.control.workqueue import Permanent, QueueClosed, Retry, WorkQueue
from vapi.gvk import GVR
from vapi.resources.strategies.mirrors import MIRROR

log = logging.getLogger(__name__)

WORKERS = 64
"""Looks at a time. A look mostly waits for the host, 2-5 ms a write: 64 would give 10,000 writes/s."""
BASE_DELAY_S = 0.01
MAX_DELAY_S = 30.0
UNREACHABLE_AGAIN_S = 0.5
"""The limiter holds the requests back for longer, and all together."""
PERMANENT_AGAIN_S = 300.0
WITHHELD_AGAIN_S = 10.0
"""Until the twin of what must not be on the host is gone."""
REFUSED_AGAIN_S = 30.0
"""After a 403: a quota or a right may be given."""
ANCHOR_RETRY_S = 2.0
BUSY_AGAIN_S = 0.02
"""A host answers a write in 2-5 ms, and a commit takes 1-3."""


class Syncer:
    """`run` works until cancelled.

    Raises AnchorMismatch when the host's objects belong to another store, or when the anchor is deleted: the virtual
    cluster is being removed from the host, and what we made now would be collected at once.
    """

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        context: Context,
        store_id: str,
        events: EventSink,
        hooks: PodHooks | None = None,
        rate: float = 400.0,
        clock: Clock | None = None,
        rows: Sequence[Translator] = TRANSLATORS,
        workers: int = WORKERS,
        gate: Gate | None = None,
    ) -> None:
        """`context` without its callables and anchor_uid, filled in here; `gate`: shared with the allocator."""
        clock = clock or SystemClock()
        self._rows = {row.resource: row for row in rows}
        self._store_id = store_id
        self._workers = workers
        self._gate = gate or Gate()
        self.queue: WorkQueue[Key] = WorkQueue(
            clock=clock,
            priorities=PRIORITIES,
            base_delay_s=BASE_DELAY_S,
            max_delay_s=MAX_DELAY_S,
            refill=self._all_keys,
        )
        self.synced = asyncio.Event()
        """Both first lists are complete; looks have begun."""
        self._views = Views(virtual)
        references = References(clock)
        self._engine = Engine(
            virtual=virtual,
            host=host,
            context=dataclasses.replace(
                context,
                store_id=store_id,
                namespace_labels=self._views.namespace_labels,
                namespaces=self._views.namespaces,
                service=self._views.service,
                service_links=self._views.service_links,
                host_pod_uid=self._host_pod_uid,
                dns_endpoints=self._views.dns_endpoints,
                account=self._views.account,
                terminating=self._views.terminating,
                priority_class=self._host_priority_class if PRIORITYCLASSES in self._rows else context.priority_class,
                referenced=references.wanted,
            ),
            limiter=Limiter(rate, clock),
            references=references,
            informers={
                row.resource: HostInformer(
                    row,
                    host,
                    virtual_cluster=context.cluster,
                    host_namespace=context.host_namespace,
                    on_twin=self._twin_changed,
                    on_synced=self._informer_synced,
                )
                for row in rows
            },
            hooks=hooks or NoHooks(),
            events=events,
            clock=clock,
            touch=self.touch,
            touch_after=self._touch_after,
            look_within=lambda key, delay_s: self.queue.add_after(key, delay_s, self._priority(key)),
        )
        self._changes = VirtualChanges(self._engine, self._rows, self._views, self.queue)
        self._twin_handlers: list[Callable[[Translator, str, str, Twin | None, Twin | None], None]] = []

    # --- for other parts of sync --------------------------------------------------------------------------

    @property
    def context(self) -> Context:
        """As it is now; the anchor's uid is known once `synced` is set."""
        return self._engine.context

    @property
    def informers(self) -> Mapping[GVR, HostInformer]:
        """What is known of the host, by kind."""
        return self._engine.informers

    @property
    def engine(self) -> Engine:
        """For what works beside it on the same caches."""
        return self._engine

    @property
    def limiter(self) -> Limiter:
        return self._engine.limiter

    def use(self, **changes: object) -> None:
        """Facts that become known later (`api_server_ip`, `dns_ip`): new translations have them."""
        self._engine.context = dataclasses.replace(self._engine.context, **changes)  # type: ignore[arg-type]

    def twin(self, ref: Ref) -> Twin | None:
        """The host object of a virtual one, as the watch has it, whoever owns it."""
        informer = self._engine.informers.get(ref.resource)
        return informer.get(self._engine.context.twin_name(informer.row, ref.name, ref.namespace)) if informer else None

    def twins(self, row: Translator) -> Iterable[Twin]:
        return self._engine.informers[row.resource].twins()

    def on_twin(self, handler: Callable[[Translator, str, str, Twin | None, Twin | None], None]) -> None:
        """`handler(row, namespace, name, before, after)` for every change of a twin: keep a key, do not work."""
        self._twin_handlers.append(handler)

    def touch(self, key: Key) -> None:
        """Look at a key soon, whatever is remembered of it."""
        self._engine.tables.touched.add(key)
        self.queue.add(key, self._priority(key))

    def reconsider(self) -> None:
        """Look again at what could not be sent: the host's classes, or what the tenant may see of them, changed."""
        for key in list(self._engine.tables.refused):
            self.touch(key)

    # --- run ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            await self._run()
        except BaseExceptionGroup as group:
            found = anchor.mismatch_in(group)
            if found is None:
                raise
            raise found from None

    async def _run(self) -> None:
        try:
            await self._find_anchor()
            async with asyncio.TaskGroup() as group:
                informers = [
                    group.create_task(i.run(), name=f"inform {i.row.resource.resource}")
                    for i in self._engine.informers.values()
                ]
                for informer in self._engine.informers.values():
                    await informer.answered_once.wait()
                await self._begin()
                group.create_task(sweep(self._engine, self._rows.values()), name="sweep")
                workers = [group.create_task(self._work(), name=f"sync {n}") for n in range(self._workers)]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for task in informers:
                        task.cancel()
        finally:
            self.queue.close()
            self._views.close()
            self._changes.close()

    async def _find_anchor(self) -> None:
        engine, context = self._engine, self._engine.context
        said = False
        while True:
            try:
                uid = await anchor.ensure_anchor(
                    engine.host,
                    cluster=context.cluster,
                    host_namespace=context.host_namespace,
                    store_id=self._store_id,
                )
                await anchor.ensure_service_account(
                    engine.host,
                    cluster=context.cluster,
                    host_namespace=context.host_namespace,
                    name=context.service_account,
                    anchor_uid=uid,
                )
            except ClusterError as error:
                if not said:
                    log.warning("host not ready, sync waits", extra={"reason": error.reason, "error": error.message})
                said = True
                await asyncio.sleep(ANCHOR_RETRY_S)
            else:
                self.use(anchor_uid=uid)
                return

    async def _begin(self) -> None:
        """Subscribe, then look at everything once. Twins that nobody names yet are held for their referrers."""
        engine = self._engine
        self._changes.follow()
        for resource in ON_DEMAND & self._rows.keys():
            async for twin in sliced(list(engine.informers[resource].twins())):
                ref = Ref(resource, twin.object_namespace, twin.object_name)
                engine.references.hold(ref)
                self._touch_after(engine.key(ref), 61.0)
        self.queue.refill()
        self.synced.set()
        log.info("sync started", extra={"namespace": engine.context.host_namespace})

    def _all_keys(self) -> Iterable[Key]:
        """Pods first: they say which ConfigMaps and Secrets are wanted."""
        for resource, row in sorted(self._rows.items(), key=lambda item: item[0] != PODS):
            if resource not in ON_DEMAND:
                for entry in list(self._engine.virtual.entries(resource)):
                    yield resource, entry.namespace, entry.name
            for twin in list(self._engine.informers[resource].twins()):
                if twin.kind == row.kind_text:
                    yield resource, twin.object_namespace, twin.object_name

    # --- what changed -------------------------------------------------------------------------------------

    def _priority(self, key: Key) -> int:
        return self._rows[key[0]].priority

    def _touch_after(self, key: Key, delay_s: float) -> None:
        tables, due = self._engine.tables, self._engine.clock.monotonic() + delay_s
        tables.due[key] = min(due, tables.due.get(key, due))
        self.queue.add_after(key, delay_s, self._priority(key))

    def _host_priority_class(self, name: str) -> str:
        """Of a class that the tenant has; its twin goes out before the pod."""
        entry = self._engine.virtual.cached(PRIORITYCLASSES, "", name)
        if entry is None:
            return ""
        if MIRROR in entry.labels:
            return name
        context = self._engine.context
        return names.host_cluster_name(name, context.host_namespace, context.cluster)

    def _twin_changed(
        self, row: Translator, namespace: str, name: str, before: Twin | None, after: Twin | None
    ) -> None:
        for handler in self._twin_handlers:
            handler(row, namespace, name, before, after)
        if self.synced.is_set():
            self.queue.add((row.resource, namespace, name), row.priority)

    def _informer_synced(self) -> None:
        """A kind that the host refused at first."""
        if self.synced.is_set():
            self.queue.refill()

    def _host_pod_uid(self, namespace: str, name: str) -> str:
        twin = self.twin(Ref(PODS, namespace, name))
        return twin.uid if twin is not None else ""

    # --- work ---------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._look_alone(key)
            finally:
                self.queue.done(key)
            await asyncio.sleep(0)

    async def _look_alone(self, key: Key) -> None:
        """A Service that is being given numbers is not looked at: what is committed of it is not the latest."""
        if key[0] != SERVICES:
            await self._look(key)
        elif not self._gate.try_enter(key[1:]):
            self.queue.add_after(key, BUSY_AGAIN_S, self._priority(key))
        else:
            try:
                await self._look(key)
            finally:
                self._gate.leave(key[1:])

    async def _look(self, key: Key) -> None:
        """One look, and what follows from how it ended."""
        self._check_anchor()
        work: Work | None = None
        try:
            work = self._begin_work(key)
            if work is not None:
                await self._act(work)
        except Retry as retry:
            if retry.after_s is None:
                self.queue.retry(key, self._priority(key))
            else:
                self.queue.add_after(key, retry.after_s, self._priority(key))
            return
        except (Permanent, Untranslatable) as ended:
            await self._give_up(key, work, ended)
            return
        except ClusterError as error:
            self._failed(key, work, error)
            return
        except Exception:
            log.exception("sync failed", extra={"resource": key[0].resource, "key": key[1:]})
            self.queue.retry(key, self._priority(key))
            return
        self.queue.forget(key)
        self._engine.tables.refused.discard(key)
        for waiter in self._engine.tables.arrived(key):
            self.touch(waiter)

    async def _give_up(self, key: Key, work: Work | None, why: Permanent | Untranslatable) -> None:
        """Until something changes. Who waits for it waits on: woken, he would wake it, and it him, for ever."""
        self.queue.forget(key)
        self.queue.add_after(key, PERMANENT_AGAIN_S, self._priority(key))
        if isinstance(why, Permanent):
            return
        self._engine.tables.refused.add(key)
        if isinstance(why, Withheld):
            await self._withhold(work, why)
        else:
            self._tell(work, f"not synced: {why}")

    async def _withhold(self, work: Work | None, why: Withheld) -> None:
        """Say so, and take away a twin from the time before."""
        if work is None:
            return
        self._engine.tell(work, SYNC_WARNING, str(why))
        for ref in self._engine.references.drop(work.key):
            self._touch_after(self._engine.key(ref), RELEASE_AFTER_S + 0.1)
        ours = classify(work.twin, work.identity, virtual_uid=work.virtual_uid, marked_uid=work.marked_uid)
        if ours is HostState.OURS:
            try:
                await ACTIONS[Action.DELETE_HOST](self._engine, work)
            except (Retry, ClusterError):
                self.queue.add_after(work.key, WITHHELD_AGAIN_S, self._priority(work.key))

    def _check_anchor(self) -> None:
        """Raises AnchorMismatch once the watch has told that it is gone."""
        informer = self._engine.informers.get(CONFIGMAPS)
        if informer is None:
            return
        name = names.anchor_name(self._engine.context.cluster)
        found = informer.get(name)
        if found is None or found.deleting or found.uid != self._engine.context.anchor_uid:
            raise anchor.AnchorMismatch(
                f"ConfigMap {self._engine.context.host_namespace}/{name} has been deleted: the virtual cluster "
                f"{self._engine.context.cluster!r} is being removed from the host; sync stops"
            )

    def _begin_work(self, key: Key) -> Work | None:
        """Both sides as they are known; None when nothing changed since the last look."""
        resource, namespace, name = key
        engine = self._engine
        row = self._rows[resource]
        entry = engine.virtual.cached(resource, namespace, name)
        if not engine.informers[resource].synced.is_set():
            self._tell_refused(row, key, entry)
            raise Retry(REFUSED_AGAIN_S)  # the host refuses the kind; once it does not, all keys are looked at
        twin = engine.informers[resource].get(engine.context.twin_name(row, name, namespace))
        if twin is not None and not engine.informers[resource].is_twin(twin):
            engine.informers[resource].expect(twin.name, namespace, name)
        revisions = (entry.revision if entry else 0, twin.revision if twin else 0)
        now = engine.clock.monotonic()
        asked = engine.tables.asked_for(key, now)
        if key in engine.tables.due:  # the queue keeps but the shortest delay of a key
            self.queue.add_after(key, engine.tables.due[key] - now, row.priority)
        if not asked and engine.tables.clean.get(key) == revisions:
            return None
        virtual = entry.obj() if entry is not None else None
        wanted = virtual is not None and row.wanted(virtual, engine.context)
        marked = known_uid(row, virtual, twin)
        identity = identity_of(engine.context, row, key, virtual)
        return Work(key, row, identity, entry, virtual, twin, wanted, marked)

    def _tell_refused(self, row: Translator, key: Key, entry: Record | None) -> None:
        if entry is None or not row.wanted(virtual := entry.obj(), self._engine.context):
            return
        work = Work(key, row, identity_of(self._engine.context, row, key, virtual), entry, virtual, None, True, "")
        self._engine.tell(work, SYNC_ERROR, f"the virtual cluster has no right to {key[0].resource} on its host")

    async def _act(self, work: Work) -> None:
        if work.key in self._engine.tables.suspect:
            await self._ask_host(work)
            self._engine.tables.suspect.discard(work.key)
        action = self._plan(work)
        if action in NEEDS_PROOF and not self._proven(work):
            await self._ask_host(work)
            action = self._plan(work)
            if action is Action.RESTORE:
                await restore(self._engine, work, work.there)
                raise Retry(0)
            if action not in NEEDS_PROOF:
                raise Retry(1)  # the watch is behind; it will tell
        try:
            await ACTIONS[action](self._engine, work)
        except TwinLost as lost:
            log.info("twin lost", extra={"key": work.key[1:], "reason": str(lost)})
            await end(self._engine, work)
        if work.look_again:
            self.touch(work.key)
        elif action in (Action.CONVERGE, Action.OBSERVE, Action.KEEP):
            self._note_clean(work)

    async def _ask_host(self, work: Work) -> None:
        work.twin = await self._engine.get_host(work)
        work.marked_uid = known_uid(work.row, work.virtual, work.twin)

    def _plan(self, work: Work) -> Action:
        row = work.row
        state = virtual_state(
            work.virtual,
            wanted=work.wanted,
            marks=row.marks,
            forwards_deletion=row.forwards_deletion,
            irreplaceable=work.virtual is not None and row.lost_status(work.virtual) is not None,
            ended=work.virtual is not None and row.ended(work.virtual),
        )
        host = classify(work.twin, work.identity, virtual_uid=work.virtual_uid, marked_uid=work.marked_uid)
        return plan(state, host)

    def _proven(self, work: Work) -> bool:
        """That the twin is gone, or going."""
        if work.twin is not None:
            state = classify(work.twin, work.identity, virtual_uid=work.virtual_uid, marked_uid=work.marked_uid)
            return state is HostState.OURS_DELETING
        informer = self._engine.informers[work.row.resource]
        return informer.proven_gone(work.identity.host_name, work.marked_uid)

    def _note_clean(self, work: Work) -> None:
        """At the revisions that were looked at, or that our own compare-and-swap on them made of them."""
        written = work.written
        virtual_revision = written.revision if written else int(work.obj["metadata"]["resourceVersion"])
        self._engine.tables.clean[work.key] = (virtual_revision, work.twin.revision if work.twin else 0)

    # --- failures -----------------------------------------------------------------------------------------

    def _failed(self, key: Key, work: Work | None, error: ClusterError) -> None:
        """Of the host (what the tenant's side refuses is a race, and a Retry).

        404 and 409: we were behind, so GET first; refusals are told to the tenant.
        """
        priority = self._priority(key)
        if isinstance(error, Unreachable):
            self._engine.limiter.unanswered()
            self.queue.add_after(key, UNREACHABLE_AGAIN_S, priority)
            return
        if error.code == 429:
            self._engine.limiter.refused(error.retry_after_s)
            self.queue.add_after(key, max(error.retry_after_s, 0.1), priority)
            return
        if error.code == 403:
            self._tell(work, self._engine.lacks(error))
            self.queue.add_after(key, REFUSED_AGAIN_S, priority)
            return
        if error.code in (400, 413, 422):
            self._tell(work, error.message)
            self.queue.add_after(key, PERMANENT_AGAIN_S, priority)
            return
        if error.code in (404, 409):
            self._engine.tables.suspect.add(key)
        else:
            log.warning("sync failed", extra={"key": key[1:], "code": error.code, "reason": error.reason})
        self.queue.retry(key, priority)

    def _tell(self, work: Work | None, message: str) -> None:
        if work is not None:
            self._engine.tell(work, SYNC_ERROR, message)
