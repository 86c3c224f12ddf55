"""Worker: one look after the other at the keys of a queue, for what works beside the engine, which has its own.

A look that fails is made again later; no surprise in one of them ends the task, and with it the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sync.cluster import ClusterError, Unreachable
from vapi.control.workqueue import Key, QueueClosed, Retry, WorkQueue

log = logging.getLogger(__name__)

TOLD_AT = 6
"""Failures in a row, 0.3 s of back-off, after which it is no race any more; told once until the key succeeds."""


async def work(
    queue: WorkQueue[Key], look: Callable[[Key], Awaitable[None]], *, failed: str, about: Callable[[Key], str]
) -> None:
    """Until cancelled, or the queue is closed. `failed` is what the log says, `about` the name of a key in it."""
    while True:
        try:
            key = await queue.get()
        except QueueClosed:
            return
        try:
            await look(key)
            queue.forget(key)
        except Retry as retry:
            if retry.after_s is None:
                queue.retry(key)
            else:
                queue.add_after(key, retry.after_s)
        except ClusterError as error:
            queue.retry(key)
            if queue.failures(key) == TOLD_AT and not isinstance(error, Unreachable):  # of that the host's client tells
                log.warning(failed, extra={"about": about(key), "error": error.message})
        except Exception:
            queue.retry(key)
            if queue.failures(key) == 1:
                log.exception(failed, extra={"about": about(key)})
        finally:
            queue.done(key)
        await asyncio.sleep(0)
