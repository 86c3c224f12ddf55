"""ConfigMaps as a store holds them, for tests of the watch cache alone."""

from __future__ import annotations

from vapi import encoding
from vapi.cacher.entry import Change, ChangeType, Entry, make_entry
from vapi.gvk import GVK, Obj
from vapi.resources.resource import StoredKind

KIND = StoredKind(GVK("", "v1", "ConfigMap"), "configmaps", True)


def configmap(name: str, *, namespace: str = "default", uid: str = "", text: str = "", **labels: str) -> Obj:
    metadata: Obj = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}"}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


def value_of(obj: Obj) -> bytes:
    return encoding.encode_stored(obj, KIND.value_prefix)


def key_of(obj: Obj) -> str:
    return KIND.key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def entry(obj: Obj, revision: int) -> Entry:
    return make_entry(KIND, key_of(obj), value_of(obj), revision)


def added(name: str, revision: int, *, size_bytes: int = 0) -> Change:
    made = entry(configmap(name, text="x" * size_bytes), revision)
    return Change(ChangeType.ADDED, made, None, revision)
