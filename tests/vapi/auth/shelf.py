"""A watch cache in a dict: real entries, told of by real changes, without a store behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vapi import encoding
from vapi.cacher.entry import Change, ChangeType, Entry, make_entry
from vapi.gvk import GVK, GVR, Obj
from vapi.resources.builtin import builtin_catalog
from vapi.resources.resource import Resource, StoredKind

CATALOG = builtin_catalog()


class Shelf:
    """Lookup and Views in one; `put` and `drop` tell the handlers."""

    def __init__(self, *objects: Obj) -> None:
        self._entries: dict[GVR, dict[tuple[str, str], Entry]] = {}
        self._handlers: dict[GVR, list[Callable[[Change], None]]] = {}
        self._revision = 0
        for obj in objects:
            self.put(obj)

    def put(self, obj: Obj) -> Entry:
        """Uids are made up from the name, where the object has none."""
        row = row_of(obj)
        kind = row.stored
        assert kind is not None
        metadata = {"uid": f"{obj['metadata']['name']}-uid", "creationTimestamp": "2026-01-01T00:00:00Z"}
        whole = {**obj, "metadata": metadata | obj["metadata"]}
        namespace, name = whole["metadata"].get("namespace", ""), whole["metadata"]["name"]
        self._revision += 1
        entry = _entry(kind, whole, self._revision)
        shelf = self._entries.setdefault(row.gvr, {})
        old = shelf.get((namespace, name))
        shelf[namespace, name] = entry
        change = ChangeType.ADDED if old is None else ChangeType.MODIFIED
        self._tell(row.gvr, Change(change, entry, old, self._revision))
        return entry

    def drop(self, gvr: GVR, namespace: str, name: str) -> None:
        entry = self._entries[gvr].pop((namespace, name))
        self._revision += 1
        self._tell(gvr, Change(ChangeType.DELETED, entry, entry, self._revision))

    def cached(self, gvr: GVR, namespace: str, name: str) -> Entry | None:
        return self._entries.get(gvr, {}).get((namespace, name))

    def entries(self, gvr: GVR, namespace: str = "") -> Iterable[Entry]:
        found = self._entries.get(gvr, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def on_change(self, gvr: GVR, handler: Callable[[Change], None]) -> Callable[[], None]:
        handlers = self._handlers.setdefault(gvr, [])
        handlers.append(handler)
        return lambda: handlers.remove(handler)

    def _tell(self, gvr: GVR, change: Change) -> None:
        for handler in self._handlers.get(gvr, ()):
            handler(change)


def row_of(obj: Obj) -> Resource:
    group, _, version = obj["apiVersion"].rpartition("/")
    row = CATALOG.by_gvk(GVK(group, version, obj["kind"]))
    assert row is not None
    return row


def _entry(kind: StoredKind, obj: Obj, revision: int) -> Entry:
    metadata = obj["metadata"]
    key = kind.key(metadata.get("namespace", ""), metadata["name"])
    return make_entry(kind, key, encoding.encode_stored(obj, kind.value_prefix), revision)


def namespace(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def service_account(name: str = "default", in_namespace: str = "ns", **fields: object) -> Obj:
    metadata = {"name": name, "namespace": in_namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **fields}


def pod(name: str = "p", in_namespace: str = "ns", **spec: object) -> Obj:
    metadata = {"name": name, "namespace": in_namespace}
    whole = {"serviceAccountName": "default", "containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}
