"""Secrets: those that a synced object names. A token of the tenant is an opaque Secret on the host."""

from __future__ import annotations

from sync.translator import SECRETS, Context, Ref, Translator
from sync.translators import plain
from vapi.gvk import GVK, Obj

GVK_SECRET = GVK("", "v1", "Secret")

SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"
"""On the host such a Secret would be filled by, or deleted with, an account of the host."""


def to_host(virtual: Obj, context: Context) -> Obj:
    desired = plain.with_fields(virtual, GVK_SECRET, context, ("data", "immutable"))
    kind = virtual.get("type") or "Opaque"
    desired["type"] = "Opaque" if kind == SERVICE_ACCOUNT_TOKEN else kind
    annotations = desired["metadata"]["annotations"]
    for key in [k for k in annotations if k.startswith("kubernetes.io/service-account.")]:
        del annotations[key]
    return desired


def wanted(virtual: Obj, context: Context) -> bool:
    metadata = virtual["metadata"]
    return context.referenced(Ref(SECRETS, metadata["namespace"], metadata["name"]))


def replace(desired: Obj, host: Obj) -> bool:
    """The type of a Secret cannot change either."""
    return desired["type"] != (host.get("type") or "Opaque") or plain.immutable_differs(desired, host)


TRANSLATOR = Translator(
    resource=SECRETS,
    gvk=GVK_SECRET,
    to_host=to_host,
    wanted=wanted,
    replace=replace,
    exact=("data",),
    priority=1,
)
