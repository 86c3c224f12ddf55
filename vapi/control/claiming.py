"""Claiming: what a workload controls: what it owns and selects; orphans that match are adopted, others released.

Shared by the controllers whose pods (and ControllerRevisions) are told by owner and labels.
Source: pkg/controller/controller_ref_manager.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vapi import selectors
from vapi.cacher.entry import Change, Entry
from vapi.control import kinds
from vapi.control.controller import Context, Controller
from vapi.control.informer import Name, sliced
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj
from vapi.selectors import LabelSelector


def selector_of(owner: Obj) -> LabelSelector:
    """spec.selector; none selects nothing."""
    return selectors.label_selector_from_obj(owner["spec"].get("selector"))


@dataclass(frozen=True, slots=True)
class Kind:
    """What owns (`gvr`, `gvk`), and what is owned."""

    gvr: GVR
    gvk: GVK
    owned: GVR = kinds.PODS
    finalizer: str = ""
    """Put on what is adopted and taken off what is released (Jobs)."""


class Claims:
    """Of one controller and one kind of owned objects. Make it while the controller is built."""

    def __init__(self, controller: Controller[Name], context: Context, kind: Kind) -> None:
        self._controller = controller
        self._client = context.client
        self._kind = kind
        self._owned = context.informers.owners(kind.owned)
        self._uids = context.informers.uids(kind.gvr)
        self._selectors = context.informers.facts(kind.gvr, selector_of)

    def concerned(self, change: Change) -> Iterable[Name]:
        """Owners that a change of an owned object concerns, now or before; of an orphan those who may adopt it."""
        entry, old = change.entry, change.old
        uids = {entry.controller, old.controller if old is not None else ""}
        names = {self._uids.name(uid) for uid in uids if uid}
        if not entry.controller and (old is None or old.controller or old.labels != entry.labels):
            names.update(
                (owner.namespace, owner.name)
                for owner in self._client.entries(self._kind.gvr, entry.namespace)
                if self._selectors.of(owner).matches(entry.labels)
            )
        return [name for name in names if name is not None]

    def owner_name(self, uid: str) -> Name | None:
        return self._uids.name(uid)

    def controlled(self, owner: Entry) -> list[Entry]:
        """Owned and selected, as the view has them now."""
        selector = self._selectors.of(owner)
        return [each for each in self._owned.controlled_by(owner.uid) if selector.matches(each.labels)]

    async def claim(
        self, key: Name, owner: Entry, obj: Obj, member: Callable[[Entry], bool] = lambda _: True
    ) -> list[Entry]:
        """`controlled`, after adopting and releasing. `member`: a further condition for being ours."""
        if owner.deleting:
            return [each for each in self.controlled(owner) if member(each)]
        selector = self._selectors.of(owner)
        for each in self._owned.controlled_by(owner.uid):
            if not (selector.matches(each.labels) and member(each)):
                await self._release(each, owner.uid)
        orphans = [
            each
            async for each in sliced(self._owned.orphans(owner.namespace))
            if selector.matches(each.labels) and member(each) and not each.deleting
        ]
        if orphans and await self._may_adopt(owner):
            for each in orphans:
                await self._adopt(key, each, obj)
        return [each for each in self.controlled(owner) if member(each)]

    async def _may_adopt(self, owner: Entry) -> bool:
        """A live read: the owner may be going, or another one may have its name."""
        fresh = await self._client.get(self._kind.gvr, owner.namespace, owner.name)
        return fresh["metadata"]["uid"] == owner.uid and "deletionTimestamp" not in fresh["metadata"]

    async def _adopt(self, key: Name, entry: Entry, owner: Obj) -> None:
        obj = entry.obj()
        references = obj["metadata"].get("ownerReferences") or []
        kinds.with_owners(obj, [*references, kinds.controller_reference(self._kind.gvk, owner)])
        finalizers = obj["metadata"].get("finalizers") or []
        if self._kind.finalizer and self._kind.finalizer not in finalizers:
            obj["metadata"]["finalizers"] = [*finalizers, self._kind.finalizer]
        try:
            self._controller.written(key, self._kind.owned, await self._client.update(self._kind.owned, obj))
        except ApiError as error:
            if error.code != 404:
                raise

    async def _release(self, entry: Entry, uid: str) -> None:
        obj = entry.obj()
        references = obj["metadata"].get("ownerReferences") or []
        kinds.with_owners(obj, [each for each in references if each["uid"] != uid])
        if self._kind.finalizer in entry.finalizers:
            obj["metadata"]["finalizers"] = [each for each in entry.finalizers if each != self._kind.finalizer]
        try:
            await self._client.update(self._kind.owned, obj)
        except ApiError as error:
            if error.code != 404:
                raise
