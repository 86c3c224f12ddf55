"""Converge: make the twin, bring it to what is desired, and bring its status back.

A create is a POST, never an apply: that would adopt what stands there. Later
writes are a forced server-side apply with metadata.uid (it never creates), or
for pods strategic patches of their mutable paths. Spec and status are never one write.
"""

from __future__ import annotations

import logging

from sync import metadata as md
from sync.cluster import ClusterError, PatchType, Unreachable
from sync.exact import beyond
from sync.ownership import HostState, Twin, applier_patch, classify
from sync.state import SYNC_ERROR, SYNC_WARNING, Engine, Key, Work, with_desired_hash
from sync.translator import CLAIMS, Ref, Write, no_retreat
from sync.translators import podstatus
from sync.translators.plain import contains
from vapi.control.workqueue import Permanent, Retry
from vapi.gvk import Obj
from vapi.resources.strategies.mirrors import MIRROR

log = logging.getLogger(__name__)

CONFLICT_RETRY_S = 30.0
"""A filtered watch does not see a foreign object go."""
RETREAT_S, RETREAT_AGAIN_S = 5.0, 0.25
"""A host tells of a deletion a moment before its numbers are free again: so long they are asked for."""
MARK_WITHIN_S = 0.05
"""A host binds within 5 to 15 ms of a create (*measured*); the mark then comes with the binding. It waits no longer:
until it is written, a twin that vanishes while we are down is made again instead of ending its pod."""
PARKED_RETRY_S = 30.0
"""A parked pod is woken by its references; this is for the case that nobody does."""


# --- create -------------------------------------------------------------------------------------------


async def create(engine: Engine, work: Work) -> None:
    """References first, then what hooks make, then the POST."""
    work.row.admit(work.obj, engine.context)
    missing = _missing_references(engine, work)
    if missing:
        _tell_if_waiting(engine, work, missing)
        engine.tables.park(work.key, missing)
        for key in missing:
            engine.touch(key)
        if work.row.marks:
            await engine.hooks.while_parked(work.obj)
        raise Retry(PARKED_RETRY_S)
    engine.tables.parked_at.pop(work.key, None)
    desired = work.row.to_host(work.obj, engine.context)
    if work.row.marks:
        await engine.hooks.before_create(work.obj)
    await _before_template(engine, work)
    body, digest = desired, ""
    if work.row.update is None:
        body, digest = with_desired_hash(desired)
    await engine.limiter.take(work.row.priority)
    try:
        answer = await engine.host.create(work.row.resource, work.row.creation(body))
    except ClusterError as error:
        if not isinstance(error, Unreachable) and (error.code == 409 or await _has_its_numbers(engine, work, error)):
            await _name_taken(engine, work)
            return
        await _retreat(engine, work, body, error)
        return
    log.debug("host object created", extra={"resource": work.row.resource.resource, "key": work.key[1:]})
    engine.tables.refused_at.pop(work.key, None)
    twin = engine.informers[work.row.resource].answered(answer)
    engine.tables.deleted.pop(work.key, None)
    if work.row.update is None:
        _settle(engine, work, twin, answer, body, digest)
    else:
        await _note_answer(engine, work, desired, answer)
    if work.row.marks:
        await engine.hooks.after_create(work.obj, answer)
        engine.tables.made_at[work.key] = engine.clock.monotonic()
        engine.look_within(work.key, MARK_WITHIN_S)
    elif work.row.keeps_body:
        engine.touch(work.key)  # status


async def _retreat(engine: Engine, work: Work, body: Obj, refused: ClusterError) -> None:
    """Numbers that it had are somebody else's by now: take others, and give them to the tenant.

    Raises `refused` where there is nothing less to ask for, or that is refused, too.
    """
    less = work.row.retreat(body)
    if less is None or isinstance(refused, Unreachable) or refused.code not in (422, 500):
        raise refused
    now = engine.clock.monotonic()
    if now - engine.tables.refused_at.setdefault(work.key, now) < RETREAT_S:
        raise Retry(RETREAT_AGAIN_S)
    engine.tables.refused_at.pop(work.key, None)
    await engine.limiter.take(work.row.priority)
    try:
        answer = await engine.host.create(work.row.resource, work.row.creation(less))
    except ClusterError as error:
        raise (error if isinstance(error, Unreachable) else refused) from None
    engine.informers[work.row.resource].answered(answer)
    engine.touch(work.key)
    # should we die here: the next look finds a twin with other numbers, deletes it, and comes here again
    with engine.racing():
        await engine.virtual.renumber(work.identity.namespace, work.identity.name, answer, uid=work.virtual_uid)
    engine.tell(work, SYNC_WARNING, f"the host gave it other addresses or ports than it had: {refused.message}")


def _missing_references(engine: Engine, work: Work) -> list[Key]:
    """Those that exist in the tenant and are not on the host yet; what does not exist never holds it up."""
    refs = _references(engine, work)
    engine.references.set(work.key, refs)
    missing = []
    for ref in refs:
        entry = engine.virtual.cached(ref.resource, ref.namespace, ref.name)
        informer = engine.informers.get(ref.resource)
        if entry is None or informer is None or MIRROR in entry.labels:
            continue
        twin = informer.get(engine.context.twin_name(informer.row, ref.name, ref.namespace))
        if twin is None or twin.deleting or twin.object_uid != entry.uid:
            missing.append(engine.key(ref))
    return missing


def _references(engine: Engine, work: Work) -> frozenset[Ref]:
    """Of the kinds that go to the host at all."""
    return frozenset(ref for ref in work.row.references(work.obj) if ref.resource in engine.informers)


def _tell_if_waiting(engine: Engine, work: Work, missing: list[Key]) -> None:
    """A reference that the host refuses has an event of its own; its referrer should not wait in silence."""
    now = engine.clock.monotonic()
    if now - engine.tables.parked_at.setdefault(work.key, now) >= PARKED_RETRY_S:
        what = ", ".join(sorted(f"{resource.resource} {name}" for resource, _, name in missing))
        engine.tell(work, SYNC_WARNING, f"not on the host yet: waits for {what}")


async def _has_its_numbers(engine: Engine, work: Work, refused: ClusterError) -> bool:
    """Whether the name is taken, for all that the refusal speaks of numbers: those are looked at first."""
    may_ask_less = work.row.retreat is not no_retreat and refused.code in (422, 500)
    return may_ask_less and await engine.get_host(work) is not None


async def _name_taken(engine: Engine, work: Work) -> None:
    """Ours after all (an answer that was lost, a watch that lags, a label taken off), or somebody else's."""
    twin = await engine.get_host(work)
    if twin is None:
        raise Retry(0)
    state = classify(twin, work.identity, virtual_uid=work.virtual_uid, marked_uid=work.marked_uid)
    if state is HostState.DEFACED:
        await restore(engine, work, twin)
        raise Retry(0)
    if state is not HostState.FOREIGN:
        raise Retry(0 if engine.informers[work.row.resource].get(twin.name) is not None else 1)
    engine.tell(
        work,
        SYNC_WARNING,
        f"not synced: the host has a {work.row.gvk.kind} of another owner under the name that this one needs",
    )
    raise Retry(CONFLICT_RETRY_S)


async def restore(engine: Engine, work: Work, twin: Twin) -> None:
    """Give a defaced twin its labels and annotations back, and say so.

    But not if it may be the twin of an object of the same name that is gone: then it goes.
    """
    await engine.limiter.take(work.row.priority)
    if twin.object_uid not in ("", work.virtual_uid) or (work.row.marks and not work.marked_uid):
        namespace = engine.context.twin_namespace(work.row)
        await engine.host.delete(work.row.resource, namespace, twin.name, uid=twin.uid)
        return
    identity = work.identity
    labels = engine.context.own_labels(identity.namespace)
    if work.row.cluster_scoped:
        labels = {md.MANAGED_BY: engine.context.marker(work.row)}
    annotations = {
        md.OBJECT_KIND: identity.kind,
        md.OBJECT_NAME: identity.name,
        md.OBJECT_UID: work.virtual_uid,
        **({} if work.row.cluster_scoped else {md.OBJECT_NAMESPACE: identity.namespace}),
        **({} if work.row.anchored else {md.STORE_ID: identity.store_id}),
    }
    answer = await engine.host.patch(
        work.row.resource,
        engine.context.twin_namespace(work.row),
        twin.name,
        {"metadata": {"uid": twin.uid, "labels": labels, "annotations": annotations}},
        content_type=PatchType.MERGE,
    )
    engine.informers[work.row.resource].answered(answer, tell=True)
    told = f"the label {md.MANAGED_BY} had" if twin.managed_by != identity.cluster else "annotations had"
    engine.tell(work, SYNC_WARNING, f"{told} been removed from the host object: restored")


async def restore_there(engine: Engine, work: Work) -> None:
    """`restore`, as an action: the next look goes on from there."""
    await restore(engine, work, work.there)
    raise Retry(0)


# --- bring the twin to what is desired ----------------------------------------------------------------


def refer(engine: Engine, work: Work) -> None:
    """Its twin is on the host, so what it names must be: after a restart nobody else says so."""
    for ref in engine.references.set(work.key, _references(engine, work)):
        engine.touch(engine.key(ref))


async def converge(engine: Engine, work: Work) -> None:
    refer(engine, work)
    await _before_template(engine, work)
    desired = work.row.to_host(work.obj, engine.context)
    if work.row.update is None:
        await _apply(engine, work, desired)
    else:
        await _patch(engine, work, desired)
    await observe_status(engine, work)


async def _before_template(engine: Engine, work: Work) -> None:
    if work.row.pod_template is not None:
        await engine.hooks.before_template(work.row.resource, work.obj, work.row.pod_template(work.obj))


async def _apply(engine: Engine, work: Work, desired: Obj) -> None:
    twin = work.there
    body, digest = with_desired_hash(desired)
    if engine.tables.settled.get(work.key) == (digest, twin.revision):
        return
    live = twin.obj() if twin.value is not None else None
    if twin.desired == digest and live is not None and contains(live, body) and not beyond(work.row.exact, live, body):
        engine.tables.settled[work.key] = (digest, twin.revision)
        if not work.row.keeps_body:
            engine.informers[work.row.resource].drop_body(twin)
        return
    if live is not None and work.row.replace(desired, live):
        await _replace(engine, work, twin)
    if not twin.applied:
        await _become_applier(engine, work, twin)
    await engine.limiter.take(work.row.priority)
    try:
        answer = await engine.host.apply(
            work.row.resource, {**body, "metadata": {**body["metadata"], "uid": twin.uid}}, force=True
        )
    except ClusterError as error:
        if error.code not in (422, 500):
            raise  # 500: what Kubernetes 1.37 answers to a node port that would be there twice
        live = await _live(engine, work)
        if work.row.replace(desired, live):
            await _replace(engine, work, twin)
        if not beyond(work.row.exact, live, body):
            raise
        await _take_out(engine, work, twin, live, body)  # what was added does not go with what is wanted
        raise Retry(0) from error
    work.twin = engine.informers[work.row.resource].answered(answer)
    if beyond(work.row.exact, answer, body):
        answer = await _take_out(engine, work, twin, answer, body)
        work.twin = engine.informers[work.row.resource].answered(answer)
    _settle(engine, work, work.twin, answer, body, digest)
    log.debug("host object applied", extra={"resource": work.row.resource.resource, "key": work.key[1:]})


async def _take_out(engine: Engine, work: Work, twin: Twin, live: Obj, body: Obj) -> Obj:
    """What others have added under keys of their own, which an apply leaves."""
    await engine.limiter.take(work.row.priority)
    return await engine.host.patch(
        work.row.resource,
        engine.context.twin_namespace(work.row),
        twin.name,
        {"metadata": {"uid": twin.uid}, **beyond(work.row.exact, live, body)},
        content_type=PatchType.MERGE,
    )


async def _live(engine: Engine, work: Work) -> Obj:
    await engine.limiter.take(work.row.priority)
    return await engine.host.get(work.row.resource, engine.context.twin_namespace(work.row), work.identity.host_name)


async def _replace(engine: Engine, work: Work, twin: Twin) -> None:
    """An immutable field differs: delete; the plan makes it again when it is gone."""
    await engine.limiter.take(0)
    await engine.host.delete(work.row.resource, engine.context.twin_namespace(work.row), twin.name, uid=twin.uid)
    raise Retry(1)


def _settle(engine: Engine, work: Work, twin: Twin, answer: Obj, body: Obj, digest: str) -> None:
    """The answer is final for this hash and revision; say once if it is not what was asked for."""
    engine.tables.settled[work.key] = (digest, twin.revision)
    if not work.row.keeps_body:
        engine.informers[work.row.resource].drop_body(twin)
    if not contains(answer, body):
        engine.tell(
            work, SYNC_WARNING, "the host changed what was asked for (an admission webhook or a LimitRange): left so"
        )


async def _become_applier(engine: Engine, work: Work, twin: Twin) -> None:
    """Before the first apply: our managedFields entry of the POST becomes one of Apply.

    Else what the tenant removes stays, owned by the old entry. Source: client-go util/csaupgrade.
    """
    live = await _live(engine, work)
    operations = applier_patch({**live, "metadata": {**live["metadata"], "uid": twin.uid}})
    if not operations:
        return
    await engine.limiter.take(work.row.priority)
    await engine.host.patch(
        work.row.resource,
        engine.context.twin_namespace(work.row),
        work.identity.host_name,
        operations,
        content_type=PatchType.JSON,
    )


async def _patch(engine: Engine, work: Work, desired: Obj) -> None:
    update = work.row.update
    assert update is not None
    live = work.there.obj()
    for write in update(desired, live):
        answer = await _write(engine, work, write)
        if answer is None:
            continue  # refused, and told: not asked again before something changes
        work.look_again = True
        if not write.subresource:
            await _note_answer(engine, work, desired, answer)


async def _write(engine: Engine, work: Work, write: Write) -> Obj | None:
    """None: an optional write was refused, which an event tells."""
    await engine.limiter.take(work.row.priority)
    try:
        answer = await engine.host.patch(
            work.row.resource,
            engine.context.twin_namespace(work.row),
            work.identity.host_name,
            write.patch,
            content_type=PatchType.STRATEGIC,
            subresource=write.subresource,
        )
    except ClusterError as error:
        if not write.optional or error.code not in (403, 404, 405, 422):
            raise
        said = engine.lacks(error) if error.code == 403 else error.message
        engine.tell(work, SYNC_WARNING, f"{write.subresource or 'update'} refused by the host: {said}")
        return None
    engine.informers[work.row.resource].answered(answer)
    return answer


async def _note_answer(engine: Engine, work: Work, desired: Obj, answer: Obj) -> None:
    note = work.row.settle(desired, answer)
    if note is not None:
        await _write(engine, work, note)
        engine.tell(
            work, SYNC_WARNING, "the host changed what was asked for (an admission webhook or a LimitRange): left so"
        )


def keys_from_host(virtual: Obj, live: Obj, patterns: md.KeyPatterns) -> Obj:
    """metadata of a merge patch of the virtual object: the labels and annotations that the host owns; {} if all fit."""
    changes: Obj = {}
    for kind, owned in (("labels", patterns.labels), ("annotations", patterns.annotations)):
        here = virtual["metadata"].get(kind) or {}
        there = {k: v for k, v in (live["metadata"].get(kind) or {}).items() if md.owned_by_host(k, owned)}
        change: dict[str, str | None] = {k: v for k, v in there.items() if here.get(k) != v}
        change |= {k: None for k in here if k not in there and md.owned_by_host(k, owned)}
        if change:
            changes[kind] = change
    return changes


def _with_keys(changes: Obj, keys: Obj, uid: str) -> Obj:
    """One merge patch of both."""
    metadata: Obj = dict(changes.get("metadata") or {})
    for kind, change in keys.items():
        metadata[kind] = {**(metadata.get(kind) or {}), **change}
    return {**changes, "metadata": {"uid": uid, **metadata}}


# --- what comes back ----------------------------------------------------------------------------------


async def observe_status(engine: Engine, work: Work) -> None:
    """Binding, then status, the mark with the first of them: host → virtual."""
    twin = engine.informers[work.row.resource].get(work.identity.host_name)
    if not work.row.keeps_body or twin is None or twin.value is None or twin.uid != work.there.uid:
        return
    live = twin.obj()
    virtual = work.obj
    mark = md.make_mark(virtual["metadata"]["uid"], twin.uid)
    if work.row.marks:
        if engine.context.virtual_nodes and not (live["spec"].get("nodeName") or virtual["spec"].get("nodeName")):
            return  # the tenant's scheduler has the say until the host has bound it
        virtual = await _bound(engine, work, virtual, live, mark)
    if work.row.resource == CLAIMS:
        await engine.hooks.before_bound(live)
    changes = work.row.brought_back(virtual, live)
    keys = keys_from_host(virtual, live, engine.context.from_host)
    if keys or changes:
        work.look_again = True
        with engine.racing():
            virtual = await engine.virtual.patch(
                work.row.resource,
                work.identity.namespace,
                work.identity.name,
                _with_keys(changes, keys, virtual["metadata"]["uid"]),
                content_type=PatchType.MERGE,
            )
    status = work.row.status(virtual, live)
    annotations = virtual["metadata"].get("annotations") or {}
    changed: Obj = {}
    if status is not None and status != virtual.get("status"):
        changed["status"] = status
    if work.row.marks and annotations.get(md.HOST_UID) != mark:
        if not changed and (left_s := _binding_may_come_s(engine, work, twin)) > 0:
            raise Retry(left_s)
        changed["metadata"] = {**virtual["metadata"], "annotations": {**annotations, md.HOST_UID: mark}}
    if not changed:
        return
    changed.setdefault("metadata", dict(virtual["metadata"]))  # the registry edits what it is given
    with engine.racing():
        work.written = await engine.virtual.put_status(work.row.resource, {**virtual, **changed})


def _binding_may_come_s(engine: Engine, work: Work, twin: Twin) -> float:
    """How long the mark still waits for it."""
    made_at = engine.tables.made_at.pop(work.key, None)
    virtual = work.obj
    if made_at is None or virtual["spec"].get("nodeName"):
        return 0.0
    if twin.deleting or "deletionTimestamp" in virtual["metadata"]:
        return 0.0
    left_s = made_at + MARK_WITHIN_S - engine.clock.monotonic()
    if left_s > 0:
        engine.tables.made_at[work.key] = made_at
    return left_s


async def _bound(engine: Engine, work: Work, virtual: Obj, live: Obj, mark: str) -> Obj:
    """The virtual pod with the node of its twin, and its mark."""
    node = live["spec"].get("nodeName")
    bound = virtual["spec"].get("nodeName")
    if not node or node == bound or "deletionTimestamp" in virtual["metadata"]:
        return virtual
    metadata = virtual["metadata"]
    if bound:
        engine.tell(work, SYNC_ERROR, f"the host put the pod on node {node}, not on {bound}: the pod is deleted")
        with engine.racing():
            await engine.virtual.delete(work.row.resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        raise Permanent("the host chose another node")
    await engine.hooks.before_bind(virtual, node)
    work.look_again = True
    with engine.racing():
        return await engine.virtual.bind(
            metadata["namespace"],
            metadata["name"],
            node,
            uid=metadata["uid"],
            annotations={md.HOST_UID: mark},
            scheduled=podstatus.scheduled_at(live),
        )
