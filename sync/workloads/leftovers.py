"""Leftovers: what a kind's former way has left, when the configuration has changed it: removed once, at the start.

From host to virtual: the twins of its workloads go, and with them what the host's controllers made. From virtual to
host: what our controllers made in the tenant goes, as the host's make it anew. Either way the workloads stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from sync import metadata as md
from sync.cluster import ClusterError
from sync.ownership import Twin, make_twin
from sync.state import Engine
from sync.translator import Translator
from sync.virtual import Record
from sync.workloads.mirror import CHILD_KINDS
from sync.workloads.rows import ROWS
from vapi.control import history
from vapi.control.kinds import CLAIMS, CONTROLLER_REVISIONS, PODS
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

PIECE = 32
"""Objects decoded between two turns of the loop, 10 µs each (law 9)."""


async def remove(engine: Engine, kinds: Collection[str], followed: Collection[GVR]) -> None:
    """`kinds`: what goes the host way now. `followed`: of what kinds mirrors are kept. Errors are told, not raised."""
    for plural, row in ROWS.items():
        try:
            if plural in kinds:
                await _of_our_controllers(engine, row)
            else:
                await _of_the_host(engine, row)
        except ClusterError as error:
            log.warning("what another way has left stays", extra={"kind": plural, "error": error.message})
    for gvr in CHILD_KINDS.keys() - set(followed) - {CLAIMS}:
        try:
            await _mirrors(engine, gvr)
            await _orphans(engine, gvr)
        except ClusterError as error:
            log.warning("what another way has left stays", extra={"kind": gvr.resource, "error": error.message})


async def _of_the_host(engine: Engine, row: Translator) -> None:
    for twin in await _labelled(engine, row.resource):
        if twin.kind == row.kind_text and twin.name == engine.context.twin_name(
            row, twin.object_name, twin.object_namespace
        ):
            await _delete_there(engine, row.resource, twin)


async def _orphans(engine: Engine, gvr: GVR) -> None:
    """Mirrored, but left behind by their workload."""
    for twin in await _labelled(engine, gvr):
        if twin.mirrored and not twin.controller:
            await _delete_there(engine, gvr, twin)


async def _labelled(engine: Engine, gvr: GVR) -> list[Twin]:
    context = engine.context
    await engine.limiter.take(3)
    try:
        found = await engine.host.list(gvr, context.host_namespace, label_selector=f"{md.MANAGED_BY}={context.cluster}")
    except ClusterError as error:
        if error.code in (403, 404):
            return []  # no right to it: we have never made one
        raise
    twins = []
    for count, obj in enumerate(found):
        twins.append(make_twin(obj))
        if count % PIECE == PIECE - 1:
            await asyncio.sleep(0)
    return twins


async def _delete_there(engine: Engine, gvr: GVR, twin: Twin) -> None:
    if twin.deleting:
        return
    await engine.limiter.take(0)
    log.info("the host's way has ended", extra={"resource": gvr.resource, "host": twin.name})
    await engine.host.delete(gvr, engine.context.host_namespace, twin.name, uid=twin.uid, propagation="Background")


async def _of_our_controllers(engine: Engine, row: Translator) -> None:
    workloads = set()
    for count, entry in enumerate(list(engine.virtual.entries(row.resource))):
        workload = entry.obj()
        if not row.ended(workload) and not md.is_child(workload):
            workloads.add(entry.uid)
        if count % PIECE == PIECE - 1:
            await asyncio.sleep(0)
    for gvr in (*(CHILD_KINDS.keys() - {CLAIMS}), PODS):
        for count, entry in enumerate(list(engine.virtual.entries(gvr))):
            if entry.controller in workloads and not entry.deleting and _made_here(gvr, entry.obj()):
                await _delete(engine, gvr, entry)
            if count % PIECE == PIECE - 1:
                await asyncio.sleep(0)


def _made_here(gvr: GVR, obj: Obj) -> bool:
    """Whether it is what a controller of ours makes; a revision that somebody else made goes to the host."""
    return history.named_by_us(obj) if gvr == CONTROLLER_REVISIONS else not md.is_child(obj)


async def _mirrors(engine: Engine, gvr: GVR) -> None:
    for count, entry in enumerate(list(engine.virtual.entries(gvr))):
        obj = entry.obj()
        if md.is_child(obj) or (gvr == CONTROLLER_REVISIONS and md.marked_host_uid(obj)):
            await _delete(engine, gvr, entry)
        if count % PIECE == PIECE - 1:
            await asyncio.sleep(0)


async def _delete(engine: Engine, gvr: GVR, entry: Record) -> None:
    try:
        await engine.virtual.delete(gvr, entry.namespace, entry.name, uid=entry.uid, propagation="Background")
    except ClusterError as error:
        if error.code not in (404, 409):
            raise
