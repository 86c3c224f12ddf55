"""ttl-after-finished controller: deletes Jobs with a ttlSecondsAfterFinished that long after they ended.

Source: pkg/controller/ttlafterfinished.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from vapi.clock import parse_rfc3339
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.informer import Name
from vapi.control.job_plan import condition, finished
from vapi.gvk import Obj
from vapi.resources.resource import Propagation
from vapi.resources.strategies import mirrors


def due(job: Obj) -> dt.datetime | None:
    """When it is to be deleted; None: never, or it has not ended."""
    ttl_s, kind = job["spec"].get("ttlSecondsAfterFinished"), finished(job)
    if ttl_s is None or not kind:
        return None
    ended = condition(job, kind) or {}
    return parse_rfc3339(ended["lastTransitionTime"]) + dt.timedelta(seconds=ttl_s)


class TtlAfterFinishedController(Controller[Name]):
    """Keys are Jobs."""

    name = "ttl-after-finished-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._due = context.informers.facts(kinds.JOBS, due)

    def sources(self) -> Sources[Name]:
        return {kinds.JOBS: own_name}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.JOBS))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.JOBS, *key)
        when = self._due.of(entry) if entry is not None and not entry.deleting else None
        if entry is None or when is None:
            return
        left_s = (when - self.clock.now()).total_seconds()
        if left_s > 0:
            self.queue.add_after(key, left_s)
            return
        if mirrors.is_child(entry.obj()):
            return  # the host's own does it
        await self.client.delete(
            kinds.JOBS,
            entry.namespace,
            entry.name,
            uid=entry.uid,
            resource_version=str(entry.revision),
            propagation=Propagation.FOREGROUND,
        )
