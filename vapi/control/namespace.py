"""namespace controller: empties a namespace that is being deleted, pods first, then lets it go.

Level-triggered: whatever happens in a terminating namespace looks at it again,
nothing polls. What remains, and which finalizers hold it, is told in the
conditions of the Namespace. Source: pkg/controller/namespace/deletion.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from vapi.cacher.entry import Change, Entry
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sizes, Sources, all_at_once
from vapi.control.informer import sliced
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.resources.resource import Catalog, Propagation, Verb

FINALIZER = "kubernetes"


@dataclass(slots=True)
class Content:
    """What is left in a namespace: how many of each resource, how many per finalizer, and what was refused."""

    remaining: Counter[GVR] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    refused: list[ApiError] = field(default_factory=list)


class NamespaceController(Controller[str]):
    """Keys are namespaces."""

    name = "namespace-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resources = namespaced_resources(context.client.catalog)
        self._terminating: set[str] = set()
        self._sizes: Sizes[str] = Sizes()

    def sources(self) -> Sources[str]:
        content = dict.fromkeys(self._resources, self._content_changed)
        return {kinds.NAMESPACES: self._namespace_changed, **content}

    def delay_s(self, key: str) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[str]:
        return [entry.name for entry in self.client.entries(kinds.NAMESPACES) if self._note(entry)]

    def _note(self, namespace: Entry) -> bool:
        if namespace.deleting:
            self._terminating.add(namespace.name)
        return namespace.deleting

    def _namespace_changed(self, change: Change) -> Iterable[str]:
        return (change.entry.name,) if self._note(change.entry) else ()

    def _content_changed(self, change: Change) -> Iterable[str]:
        namespace = change.entry.namespace
        return (namespace,) if namespace in self._terminating else ()

    async def reconcile(self, key: str) -> None:
        try:
            namespace = await self.client.get(kinds.NAMESPACES, "", key)
        except ApiError as error:
            if error.code != 404:
                raise
            self._terminating.discard(key)
            self._sizes.note(key, 0)
            return
        if "deletionTimestamp" not in namespace["metadata"]:
            self._terminating.discard(key)
            return
        finalizers = namespace.get("spec", {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            if not finalizers and not namespace["metadata"].get("finalizers"):
                await self.client.delete(kinds.NAMESPACES, "", key, uid=namespace["metadata"]["uid"])
            return
        content = await self._empty(key)
        self._sizes.note(key, content.remaining.total())
        namespace = await self._report(namespace, content)
        if content.refused:
            raise content.refused[0]
        if content.remaining:
            return
        namespace["spec"]["finalizers"] = [each for each in finalizers if each != FINALIZER]
        await self.client.update(kinds.NAMESPACES, namespace, subresource="finalize")

    async def _empty(self, namespace: str) -> Content:
        """Delete what is there; pods alone as long as there are any (OrderedNamespaceDeletion)."""
        content = Content()
        await self._empty_of(kinds.PODS, namespace, content)
        if not content.remaining and not content.refused:
            for gvr in self._resources:
                if gvr != kinds.PODS:
                    await self._empty_of(gvr, namespace, content)
        return content

    async def _empty_of(self, gvr: GVR, namespace: str, content: Content) -> None:
        entries = self.client.entries(gvr, namespace)
        calls = (partial(self._delete, gvr, entry) for entry in entries if not entry.deleting)
        content.refused += await all_at_once(calls)
        async for entry in sliced(self.client.entries(gvr, namespace)):
            content.remaining[gvr] += 1
            content.finalizers.update(entry.finalizers)

    async def _delete(self, gvr: GVR, entry: Entry) -> None:
        await self.client.delete(gvr, entry.namespace, entry.name, uid=entry.uid, propagation=Propagation.BACKGROUND)

    async def _report(self, namespace: Obj, content: Content) -> Obj:
        """Write the conditions, if they changed; the namespace as it is now."""
        status = namespace.setdefault("status", {})
        conditions = deletion_conditions(status.get("conditions") or [], content, self.clock.now())
        if conditions == status.get("conditions"):
            return namespace
        status["conditions"] = conditions
        return await self.client.update(kinds.NAMESPACES, namespace, subresource="status")


def namespaced_resources(catalog: Catalog) -> tuple[GVR, ...]:
    """One row of each stored, namespaced kind, in the version that is stored; what cannot be deleted is left out."""
    found = []
    for stored in catalog.stored_kinds():
        row = catalog.find(stored.gvk.group, stored.gvk.version, stored.plural)
        if row is not None and row.namespaced and Verb.DELETE in row.verbs:
            found.append(row.gvr)
    return tuple(found)


_GOOD = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


def deletion_conditions(old: Sequence[Obj], content: Content, now: dt.datetime) -> list[Obj]:
    """All five conditions, in place of those in `old`; lastTransitionTime moves with the status only."""
    bad = _bad_conditions(content)
    conditions = [dict(condition) for condition in old]
    for condition_type, good in _GOOD.items():
        status = "True" if condition_type in bad else "False"
        reason, message = bad.get(condition_type, good)
        known = next((each for each in conditions if each.get("type") == condition_type), None)
        if known is None:
            known = {"type": condition_type}
            conditions.append(known)
        if known.get("status") != status:
            known["lastTransitionTime"] = rfc3339(now)
        known.update(status=status, reason=reason, message=message)
    return conditions


def _bad_conditions(content: Content) -> dict[str, tuple[str, str]]:
    bad = {}
    if content.refused:
        texts = sorted(error.message for error in content.refused)
        bad["NamespaceDeletionContentFailure"] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {len(texts)} remaining: {', '.join(texts)}",
        )
    if content.remaining:
        counts = sorted(
            f"{gvr.resource}.{gvr.group} has {count} resource instances" for gvr, count in content.remaining.items()
        )
        bad["NamespaceContentRemaining"] = (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(counts)}",
        )
    if content.finalizers:
        counts = sorted(f"{name} in {count} resource instances" for name, count in content.finalizers.items())
        bad["NamespaceFinalizersRemaining"] = (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {', '.join(counts)}",
        )
    return bad
