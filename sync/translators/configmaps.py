"""ConfigMaps: those that a synced object names, as they are."""

from __future__ import annotations

from sync.translator import CONFIGMAPS, Context, Ref, Translator
from sync.translators import plain
from vapi.gvk import GVK, Obj

GVK_CONFIGMAP = GVK("", "v1", "ConfigMap")


def to_host(virtual: Obj, context: Context) -> Obj:
    return plain.with_fields(virtual, GVK_CONFIGMAP, context, ("data", "binaryData", "immutable"))


def wanted(virtual: Obj, context: Context) -> bool:
    metadata = virtual["metadata"]
    return context.referenced(Ref(CONFIGMAPS, metadata["namespace"], metadata["name"]))


TRANSLATOR = Translator(
    resource=CONFIGMAPS,
    gvk=GVK_CONFIGMAP,
    to_host=to_host,
    wanted=wanted,
    replace=plain.immutable_differs,
    exact=("data", "binaryData"),
    priority=1,
)
