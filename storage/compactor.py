"""Compaction by time: every so often forget what is older than that.

Each round compacts to the revision that was current one round ago, so history of between one and two intervals stays
readable for watches and continue tokens. With etcd and several replicas, one of them runs it (under the Lease).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from storage import errors
from storage.event import Revision
from storage.store import Store

log = logging.getLogger(__name__)

INTERVAL_S = 300.0
"""As kube-apiserver's --etcd-compaction-interval."""


async def run(
    store: Store,
    *,
    interval_s: float = INTERVAL_S,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    told: Callable[[Revision], object] = lambda revision: None,
) -> None:
    """Run until cancelled or until the store is closed; to be put in a TaskGroup. `sleep` is the clock.

    `told` hears how far history is gone, after each round: who keeps copies of it can let them go.

    A round that fails is logged; the next one starts from the same revision.
    """
    target = 0
    while True:
        try:
            revision = await store.current_revision()
            if target:
                await store.compact(target)
                told(target)
                log.debug("history compacted", extra={"revision": target})
            target = revision
        except errors.StoreClosed:
            return
        except errors.StorageError:
            log.warning("history could not be compacted", extra={"revision": target}, exc_info=True)
        await sleep(interval_s)
