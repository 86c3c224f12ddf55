"""Sweep: at a start, the twins that nobody will ask for: defaced while nobody looked, their virtual objects gone.

A twin with its annotations names its key, and a virtual object its twin; what has lost both is found by being the
anchor's, under a name that no virtual object has. Only kinds of which nothing else of ours carries label and anchor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from sync.cluster import ClusterError
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.state import Engine
from sync.translator import PODS, Translator
from sync.translators.ingresses import INGRESSES
from sync.translators.networkpolicies import NETWORKPOLICIES
from sync.translators.poddisruptionbudgets import BUDGETS
from vapi.control import kinds

log = logging.getLogger(__name__)

PIECE = 64
NEVER_CHILDREN = frozenset(
    {INGRESSES, NETWORKPOLICIES, BUDGETS, kinds.DEPLOYMENTS, kinds.STATEFUL_SETS, kinds.DAEMON_SETS, kinds.CRON_JOBS}
)


async def sweep(engine: Engine, rows: Iterable[Translator]) -> None:
    """Errors are told, not raised: the next start tries again."""
    for row in rows:
        informer = engine.informers[row.resource]
        unnamed = [twin for twin in informer.twins() if _may_go(engine, row, informer, twin)]
        if not unnamed:
            continue
        wanted = await _names(engine, row)
        for twin in unnamed:
            if twin.name not in wanted:
                await _delete(engine, row, twin)


def _may_go(engine: Engine, row: Translator, informer: HostInformer, twin: Twin) -> bool:
    """The anchor controls pods that are twins; what a workload has left behind it only owns."""
    anchor = engine.context.anchor_uid
    if not anchor or twin.deleting or informer.is_twin(twin):
        return False
    return (
        twin.controller == anchor if row.resource == PODS else row.resource in NEVER_CHILDREN and anchor in twin.owners
    )


async def _names(engine: Engine, row: Translator) -> frozenset[str]:
    """Of the twins that there should be."""
    found = set()
    for count, entry in enumerate(list(engine.virtual.entries(row.resource))):
        found.add(engine.context.twin_name(row, entry.name, entry.namespace))
        if count % PIECE == PIECE - 1:
            await asyncio.sleep(0)
    return frozenset(found)


async def _delete(engine: Engine, row: Translator, twin: Twin) -> None:
    await engine.limiter.take(0)
    try:
        await engine.host.delete(row.resource, engine.context.twin_namespace(row), twin.name, uid=twin.uid)
    except ClusterError as error:
        if error.code not in (404, 409):
            log.warning("left over on the host", extra={"resource": row.resource.resource, "error": error.message})
        return
    log.info("host object without a name deleted", extra={"resource": row.resource.resource, "host": twin.name})
