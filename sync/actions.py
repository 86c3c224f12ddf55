"""Actions: what each answer of the plan does. One coroutine an action, each safe to be cut off after any of its writes.

They end by returning (done), with Retry or Permanent, or with the ClusterError
of a write; `syncer` turns that into the next look.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NoReturn

from sync import converge
from sync.cluster import ClusterError
from sync.ownership import HostState, Twin, classify
from sync.plan import HOST_POD_GONE, Action
from sync.references import RELEASE_AFTER_S
from sync.state import SYNC_WARNING, Engine, Work
from sync.translator import SERVICES, WhenLost
from sync.translators.podstatus import lost_status
from vapi.clock import parse_rfc3339, rfc3339
from vapi.control.workqueue import Permanent, Retry
from vapi.gvk import Obj

log = logging.getLogger(__name__)

OVERDUE_S = 30.0
"""After the end of its grace a pod that the tenant no longer has is deleted with grace 0: its node may be dead."""
STUCK_S = 600.0
"""Deleting for this long: an event names the side and what holds it."""
RESERVED_S = 120.0
"""A Service made for a tenant's create that never came to be (design §6: 2 minutes)."""
LOST = "ClaimLost"
"""The reason that Kubernetes gives for it. Source: pkg/controller/volume/persistentvolume."""
PROPAGATIONS: Mapping[str, str] = MappingProxyType({"orphan": "Orphan", "foregroundDeletion": "Foreground"})
REPEAT_DELETE_S = 10.0
"""An accepted delete is sent again if the watch has told nothing for this long."""


async def forget(engine: Engine, work: Work) -> None:
    """Neither side has it; unless the twin only lost its label, which would leave it behind for ever."""
    vanished = engine.informers[work.row.resource].vanished(work.identity.host_name)
    sent = engine.tables.deleted.get(work.key)
    if vanished and (sent is None or sent[0] != vanished):
        left = await engine.get_host(work)
        if left is not None and left.uid == vanished and left.object_name == work.identity.name:
            await _delete(engine, work, left, grace_s=None)
    _release_references(engine, work)
    _tell_gone(engine, work)
    engine.tables.forget(work.key)


async def ignore(engine: Engine, work: Work) -> None:
    """A foreign object on the name of nothing of ours."""
    await forget(engine, work)


async def keep(engine: Engine, work: Work) -> None:
    """An ended pod stays as it is when its twin is gone; one that only lost its label gets that back, to go with it."""
    if work.twin is None and engine.informers[work.row.resource].vanished(work.identity.host_name):
        work.twin = await engine.get_host(work)
        if classify_work(work) is HostState.DEFACED:
            await converge.restore_there(engine, work)
    if work.twin is None or not work.twin.deleting:
        _release_references(engine, work)
        _tell_gone(engine, work)


def _tell_gone(engine: Engine, work: Work) -> None:
    if work.row.marks:
        engine.hooks.gone(work.identity.namespace, work.identity.name, None)
    elif work.row.pod_template is not None:
        engine.hooks.template_gone(*work.key)


def _release_references(engine: Engine, work: Work) -> None:
    for ref in engine.references.drop(work.key):
        engine.touch_after(engine.key(ref), RELEASE_AFTER_S + 0.1)


async def wait(engine: Engine, work: Work) -> None:
    """The twin is deleting: of a pod, not for ever."""
    twin = work.there
    if not work.row.forwards_deletion or not work.row.marks:
        _tell_if_stuck(engine, work, twin)
        return
    left_s = OVERDUE_S - _seconds_since(engine, twin.deletion_timestamp)
    if left_s > 0:
        raise Retry(left_s)
    await _delete(engine, work, twin, grace_s=0)
    raise Retry(REPEAT_DELETE_S)


async def delete_host(engine: Engine, work: Work) -> None:
    """With the tenant's grace where it deletes; with the twin's own where the virtual object is gone."""
    twin = work.there
    absent = work.entry is None
    if (
        absent
        and work.row.resource == SERVICES
        and twin.allocated_at
        and engine.tables.held.get(work.key) != twin.object_uid
    ):
        left_s = RESERVED_S - _seconds_since(engine, twin.allocated_at)
        if left_s > 0:
            raise Retry(left_s)
    grace_s = None
    if work.virtual is not None and work.row.forwards_deletion:
        grace_s = work.virtual["metadata"].get("deletionGracePeriodSeconds")
    await _delete(engine, work, twin, grace_s=grace_s)
    raise Retry(REPEAT_DELETE_S)  # a DELETED event comes first, or the watch has lost it


async def _delete(engine: Engine, work: Work, twin: Twin, *, grace_s: int | None) -> None:
    sent = engine.tables.deleted.get(work.key)
    now = engine.clock.monotonic()
    if sent is not None and sent[:2] == (twin.uid, grace_s) and now - sent[2] < REPEAT_DELETE_S:
        return
    await engine.limiter.take(0)
    try:
        await engine.host.delete(
            work.row.resource,
            engine.context.twin_namespace(work.row),
            twin.name,
            uid=twin.uid,
            grace_period_s=grace_s,
            propagation=_propagation(engine, work, twin),
        )
    except ClusterError as error:
        if error.code not in (404, 409):
            raise
        if await engine.get_host(work) is None:
            engine.touch(work.key)
        return
    engine.tables.deleted[work.key] = (twin.uid, grace_s, now)
    log.debug("host object deleted", extra={"resource": work.row.resource.resource, "key": work.key[1:]})


def _propagation(engine: Engine, work: Work, twin: Twin) -> str:
    """What the tenant asked for; once it has the workload no more, what became of its children there tells it."""
    if work.row.pod_template is None:
        return "Background"
    if work.virtual is None or work.virtual_uid != twin.object_uid:
        return engine.hooks.propagation(twin)
    return asked_propagation(work.virtual["metadata"].get("finalizers") or ())


def asked_propagation(finalizers: Iterable[str]) -> str:
    """Of a deletion under way. Source: the finalizers that kube-apiserver makes of a propagationPolicy."""
    return next((PROPAGATIONS[f] for f in finalizers if f in PROPAGATIONS), "Background")


async def lost(engine: Engine, work: Work) -> None:
    """The twin is gone, or going, and the tenant did not ask for it."""
    deleting = work.twin is not None and work.twin.deleting
    if work.row.when_lost is WhenLost.RECREATE:
        if deleting:
            _tell_if_stuck(engine, work, work.there)
            return
        status = work.row.lost_status(work.obj)
        if status is not None:
            await _say_lost(engine, work, status)
        await converge.create(engine, work)
        return
    if deleting and classify_work(work) is HostState.OURS_DELETING:
        await converge.observe_status(engine, work)
        if work.there.grace_s != 0:  # deleted by force there is no more to come: the same as gone
            await _delete_virtual(engine, work, grace_s=work.there.grace_s)
            return
    await end(engine, work)


async def _say_lost(engine: Engine, work: Work, status: Obj) -> NoReturn:
    """What cannot be made again says so in its status, and whoever waits for it goes on waiting."""
    if work.obj.get("status") != status:
        with engine.racing():
            await engine.virtual.update(work.row.resource, {**work.obj, "status": status}, subresource="status")
        engine.tell(work, LOST, "its copy on the host is gone; it is not made again, for it would be without the data")
        log.warning("lost on the host", extra={"resource": work.row.resource.resource, "key": work.key[1:]})
    raise Permanent("lost on the host")


def classify_work(work: Work) -> HostState:
    return classify(work.twin, work.identity, virtual_uid=work.virtual_uid, marked_uid=work.marked_uid)


def _is_ended_by_us(work: Work) -> bool:
    """A terminal phase is never left: what the twin still says came too late."""
    return (work.obj.get("status") or {}).get("reason") == HOST_POD_GONE


async def end(engine: Engine, work: Work) -> None:
    """Phase Failed with DisruptionTarget first (Jobs wait for a terminal phase), then delete with grace 0."""
    virtual = work.obj
    status = virtual.get("status") or {}
    if not _is_ended_by_us(work) and status.get("phase") not in ("Succeeded", "Failed"):
        now = rfc3339(engine.clock.now())
        ended = {**virtual, "status": lost_status(virtual, reason=HOST_POD_GONE, now=now)}
        with engine.racing():
            await engine.virtual.update(work.row.resource, ended, subresource="status")
        log.info("pod ended: its host pod is gone", extra={"key": work.key[1:]})
    await _delete_virtual(engine, work, grace_s=0)


async def _delete_virtual(engine: Engine, work: Work, *, grace_s: int | None) -> None:
    metadata = work.obj["metadata"]
    asked = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" in metadata and (grace_s is None or (asked is not None and asked <= grace_s)):
        return  # nothing shorter to ask for; finalizers are the tenant's
    try:
        await engine.virtual.delete(
            work.row.resource, work.identity.namespace, work.identity.name, uid=metadata["uid"], grace_period_s=grace_s
        )
    except ClusterError as error:
        if error.code not in (404, 409):
            raise


async def release_virtual(engine: Engine, work: Work) -> None:
    """Both sides agreed: the twin is gone, so may the virtual object be."""
    await _delete_virtual(engine, work, grace_s=0)
    _tell_if_held(engine, work)


async def observe(engine: Engine, work: Work) -> None:
    """The status still flows; the shorter grace of both sides holds."""
    converge.refer(engine, work)
    if not _is_ended_by_us(work):
        await converge.observe_status(engine, work)
    twin = work.there
    if not twin.deleting:
        return
    asked = work.obj["metadata"].get("deletionGracePeriodSeconds")
    if asked is not None and twin.grace_s is not None:
        if asked < twin.grace_s:
            await _delete(engine, work, twin, grace_s=asked)
        elif twin.grace_s < asked:
            await _delete_virtual(engine, work, grace_s=twin.grace_s)
    _tell_if_stuck(engine, work, twin)
    raise Retry(max(STUCK_S - _seconds_since(engine, twin.deletion_timestamp), 60.0))


def _seconds_since(engine: Engine, timestamp: str) -> float:
    try:
        then = parse_rfc3339(timestamp)
    except ValueError:
        return 0.0
    return (engine.clock.now() - then.astimezone(dt.UTC)).total_seconds()


def _tell_if_stuck(engine: Engine, work: Work, twin: Twin) -> None:
    if _seconds_since(engine, twin.deletion_timestamp) >= STUCK_S:
        held = f"finalizers {', '.join(twin.finalizers)}" if twin.finalizers else "no finalizer: its node may be gone"
        engine.tell(work, SYNC_WARNING, f"deleting for 10 minutes: the host object has not gone ({held})")


def _tell_if_held(engine: Engine, work: Work) -> None:
    metadata = work.obj["metadata"]
    since = metadata.get("deletionTimestamp", "")
    if metadata.get("finalizers") and since and _seconds_since(engine, since) >= STUCK_S:
        engine.tell(
            work,
            SYNC_WARNING,
            f"deleting for 10 minutes: the twin has gone, finalizers {', '.join(metadata['finalizers'])} are left",
        )


ACTIONS: Mapping[Action, Callable[[Engine, Work], Awaitable[None]]] = MappingProxyType(
    {
        Action.FORGET: forget,
        Action.DELETE_HOST: delete_host,
        Action.WAIT: wait,
        Action.IGNORE: ignore,
        Action.CREATE_HOST: converge.create,
        Action.CONVERGE: converge.converge,
        Action.LOST: lost,
        Action.CONFLICT: converge.create,  # the POST tells whether the foreign object is still there
        Action.KEEP: keep,
        Action.OBSERVE: observe,
        Action.RELEASE_VIRTUAL: release_virtual,
        Action.RESTORE: converge.restore_there,
    }
)
