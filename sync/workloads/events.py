"""ChildEvents: whose mirror a host event is about; events that come before the mirror are held until it is there."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping

from sync.ownership import Twin
from sync.virtual import Record
from sync.workloads.children import Children
from sync.workloads.mirror import ChildKind
from vapi.gvk import GVR, Obj

MAX_HELD = 1_000
MAX_PER_CHILD = 20

About = tuple[GVR, Twin, Mapping[str, str]]
"""(resource, the host's object with its place in the tenant, host name → the tenant's of its owner)."""


class ChildEvents:
    """Runs on the loop, never awaits. `again(event)` is called once its mirror is there."""

    def __init__(self, children: Children, kinds: Mapping[GVR, ChildKind]) -> None:
        self._children = children
        self._kinds = kinds
        self._held: OrderedDict[str, list[Obj]] = OrderedDict()
        self.again: Callable[[Obj], None] | None = None

    def about(self, involved: Obj) -> About | None:
        """None: not about a mirror, as far as is known."""
        gvr = self._kind(involved)
        if gvr is None:
            return None
        key = (gvr, involved.get("uid", ""))
        twin, entry = self._children.host(key), self._children.here(key)
        if twin is None or entry is None:
            return None
        owner = self._children.owner(gvr, twin)
        known = {owner.host_name: owner.name} if owner is not None else {}
        placed = dataclasses.replace(
            twin, object_namespace=entry.namespace, object_name=entry.name, object_uid=entry.uid
        )
        return gvr, placed, known

    def holds(self, event: Obj) -> bool:
        """Whether it may be about a mirror that is still to come."""
        involved = event.get("involvedObject") or {}
        uid = involved.get("uid", "")
        if not uid or self._kind(involved) is None:
            return False
        held = self._held.setdefault(uid, [])
        held.append(event)
        del held[:-MAX_PER_CHILD]
        if len(self._held) > MAX_HELD:
            self._held.popitem(last=False)
        return True

    def created(self, twin: Twin, _mirror: Record) -> None:
        for event in self._held.pop(twin.uid, ()):
            if self.again is not None:
                self.again(event)

    def _kind(self, involved: Obj) -> GVR | None:
        group = involved.get("apiVersion", "v1").rpartition("/")[0]
        for gvr, kind in self._kinds.items():
            if (kind.gvk.kind, kind.gvk.group) == (involved.get("kind"), group):
                return gvr
        return None
