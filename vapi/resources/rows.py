"""How a row is written down: short forms for what nearly every built-in kind has in common.

Each group's file lists its kinds with these; what is not said is the rule:
namespaced, all eight verbs, stored in the version it is served in, no /status.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from vapi.gvk import GVK, GVR
from vapi.resources.resource import FieldGetter, Resource, StoredKind, Subresource, Verb
from vapi.resources.strategies import strategy_for

ALL = frozenset(Verb)
CREATE_ONLY = frozenset({Verb.CREATE})

_STATUS_VERBS = (Verb.GET, Verb.PATCH, Verb.UPDATE)
_PROXY_VERBS = (Verb.CREATE, Verb.DELETE, Verb.GET, Verb.PATCH, Verb.UPDATE)

SCALE = GVK("autoscaling", "v1", "Scale")


def editable(name: str, gvk: GVK | None = None) -> Subresource:
    """A view of the object that is read and written: status, scale, resize, approval."""
    return Subresource(name, _STATUS_VERBS, gvk)


def scale() -> Subresource:
    return editable("scale", SCALE)


def action(name: str, gvk: GVK) -> Subresource:
    """One that is only created: eviction, binding, token."""
    return Subresource(name, (Verb.CREATE,), gvk)


def stream(name: str, kind: str) -> Subresource:
    """exec, attach, portforward: opened by GET (WebSocket) or POST (SPDY)."""
    return Subresource(name, (Verb.CREATE, Verb.GET), GVK("", "v1", kind), connect=True)


def proxy(kind: str) -> Subresource:
    return Subresource("proxy", _PROXY_VERBS, GVK("", "v1", kind), connect=True)


def subresources(*items: Subresource) -> Mapping[str, Subresource]:
    return {item.name: item for item in sorted(items, key=lambda item: item.name)}


STATUS = subresources(editable("status"))


def storage_version_hash(gvk: GVK) -> str:
    """Of the stored version. Source: apiserver discovery.StorageVersionHash."""
    digest = hashlib.sha256(f"{gvk.group}/{gvk.version}/{gvk.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def kind(
    group_version: tuple[str, str],
    plural: str,
    name: str,
    *,
    namespaced: bool = True,
    fields: Mapping[str, FieldGetter] | None = None,
    field_labels: Mapping[str, str] | None = None,
    stored: StoredKind | None = None,
    **more: Any,
) -> Resource:
    """A stored kind's row. `fields` become labels of the same name; `stored` is given where several rows share one.

    `more` are fields of Resource.
    """
    group, version = group_version
    kept = stored or StoredKind(GVK(group, version, name), plural, namespaced, fields or {})
    return Resource(
        gvr=GVR(group, version, plural),
        kind=name,
        singular=name.lower(),
        namespaced=namespaced,
        verbs=more.pop("verbs", ALL),
        stored=kept,
        strategy=strategy_for(GVK(group, version, name), plural),
        field_labels={label: label for label in kept.fields} if field_labels is None else field_labels,
        storage_version_hash=storage_version_hash(kept.gvk),
        **more,
    )


def review(
    group_version: tuple[str, str], plural: str, name: str, *, namespaced: bool = False, **more: Any
) -> Resource:
    """A kind that is answered and never stored."""
    group, version = group_version
    return Resource(
        gvr=GVR(group, version, plural),
        kind=name,
        singular=name.lower(),
        namespaced=namespaced,
        verbs=more.pop("verbs", CREATE_ONLY),
        stored=None,
        strategy=strategy_for(GVK(group, version, name), plural),
        **more,
    )
