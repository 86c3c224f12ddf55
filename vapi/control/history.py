"""History: the templates a StatefulSet or DaemonSet had, as ControllerRevisions, counted up, the oldest dropped.

A revision's data is a strategic merge patch that puts the template back, so that
`kubectl rollout undo` can apply it. A template that was there before gets its old
revision back, under a higher number.
Source: pkg/controller/history, daemon/update.go, statefulset/stateful_set_utils.go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from vapi import encoding
from vapi.cacher.entry import Entry
from vapi.control import kinds
from vapi.control.claiming import Claims, Kind
from vapi.control.controller import Context, Controller
from vapi.control.informer import Name
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj

HASH_LABEL = "controller-revision-hash"
"""Of pods: a StatefulSet's have the revision's name there, a DaemonSet's its hash."""
REVISION_HASH_LABEL = "controller.kubernetes.io/hash"
"""Of a StatefulSet's revisions; a DaemonSet's have HASH_LABEL."""
MAX_PREFIX = 223
COLLISIONS = 4
"""That are looked for: two templates of one owner with one hash of 32 bits are rare."""
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Source: apimachinery util/rand.SafeEncodeString."""
_FNV_PRIME, _FNV_START = 16777619, 2166136261


def template_patch(owner: Obj) -> Obj:
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def template_of(revision: Obj) -> Obj:
    """A private copy of the template that `revision` holds."""
    template: Obj = copy.deepcopy(((revision.get("data") or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return template


def same_data(revision: Obj, patch: Obj) -> bool:
    return encoding.dumps_sorted(revision.get("data")) == encoding.dumps_sorted(patch)


def data_hash(patch: Obj, collisions: int) -> str:
    """Kubernetes' own, so that its names are ours: FNV-1 over the JSON and the count, in safe characters."""
    value = _FNV_START
    for byte in encoding.dumps_sorted(patch) + b"%d" % collisions:
        value = (value * _FNV_PRIME & 0xFFFFFFFF) ^ byte
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def named_by_us(revision: Obj) -> bool:
    """Whether `Histories` could have made it: its name tells its data, after a few collisions at most."""
    suffix = revision["metadata"]["name"].rpartition("-")[2]
    return any(suffix == data_hash(revision.get("data") or {}, count) for count in range(COLLISIONS))


def number(revision: Obj) -> int:
    count: int = revision.get("revision", 0)
    return count


def sort(revisions: Iterable[Obj]) -> list[Obj]:
    """Oldest first."""
    return sorted(
        revisions, key=lambda each: (number(each), each["metadata"]["creationTimestamp"], each["metadata"]["name"])
    )


def next_number(revisions: Sequence[Obj]) -> int:
    return max((number(each) for each in revisions), default=0) + 1


class Histories:
    """Of the owners of one controller."""

    def __init__(
        self, controller: Controller[Name], context: Context, owner: GVR, kind: GVK, *, hash_label: str
    ) -> None:
        self._controller = controller
        self._client = context.client
        self._gvk = kind
        self._hash_label = hash_label
        self._claims = Claims(controller, context, Kind(owner, kind, kinds.CONTROLLER_REVISIONS))

    async def revisions(self, key: Name, owner: Entry, obj: Obj) -> list[Obj]:
        """Private, oldest first; orphans that match are adopted before."""
        return sort(entry.obj() for entry in await self._claims.claim(key, owner, obj))

    async def current(self, key: Name, owner: Obj, revisions: list[Obj], collisions: int) -> tuple[Obj, int]:
        """The revision of the owner's present template, made or counted up if need be; and the collision count.

        `revisions` is brought up to date, oldest first.
        """
        patch = template_patch(owner)
        equal = [each for each in revisions if same_data(each, patch)]
        if not equal:
            made, collisions = await self._create(key, owner, patch, next_number(revisions), collisions)
            revisions.append(made)
            return made, collisions
        found = equal[-1]
        others = [each for each in revisions if each not in equal]
        if number(found) < next_number(others):
            found["revision"] = next_number(others)
            updated = await self._client.update(kinds.CONTROLLER_REVISIONS, found)
            self._controller.written(key, kinds.CONTROLLER_REVISIONS, updated)
            revisions.remove(found)
            revisions.append(updated)
            return updated, collisions
        return found, collisions

    async def _create(self, key: Name, owner: Obj, patch: Obj, count: int, collisions: int) -> tuple[Obj, int]:
        while True:
            wanted = self._revision(owner, patch, count, collisions)
            try:
                made = await self._client.create(kinds.CONTROLLER_REVISIONS, wanted)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
                there = await self._client.get(kinds.CONTROLLER_REVISIONS, namespace, name)
                if same_data(there, patch):
                    return there, collisions
                collisions += 1
            else:
                self._controller.written(key, kinds.CONTROLLER_REVISIONS, made)
                return made, collisions

    def _revision(self, owner: Obj, patch: Obj, count: int, collisions: int) -> Obj:
        digest = data_hash(patch, collisions)
        labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
        metadata: Obj = {
            "name": f"{owner['metadata']['name'][:MAX_PREFIX]}-{digest}",
            "namespace": owner["metadata"]["namespace"],
            "labels": {**labels, self._hash_label: digest},
            "ownerReferences": [kinds.controller_reference(self._gvk, owner)],
        }
        if owner["metadata"].get("annotations"):
            metadata["annotations"] = dict(owner["metadata"]["annotations"])
        return {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "data": patch,
            "revision": count,
        }

    async def truncate(self, revisions: Sequence[Obj], live: Iterable[str], limit: int) -> None:
        """Delete the oldest whose names are not `live`, down to `limit` of them."""
        kept = set(live)
        old = [each for each in revisions if each["metadata"]["name"] not in kept]
        for each in old[: max(0, len(old) - limit)]:
            metadata = each["metadata"]
            try:
                await self._client.delete(
                    kinds.CONTROLLER_REVISIONS, metadata["namespace"], metadata["name"], uid=metadata["uid"]
                )
            except ApiError as error:
                if error.code != 404:
                    raise
