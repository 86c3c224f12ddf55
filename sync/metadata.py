"""Metadata: the labels and annotations by which a host object is ours, and which of the tenant's go along.

Keys under `vapi.dev/` (and its subdomains) are ours on the host: the tenant's
never leave, they would forge an owner or a namespace. All functions are pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vapi import encoding
from vapi.gvk import GVK, Obj
from vapi.resources.strategies import mirrors

DOMAIN = "vapi.dev"

MANAGED_BY = "vapi.dev/managed-by"
NAMESPACE = "vapi.dev/namespace"

OBJECT_NAME = "vapi.dev/object-name"
OBJECT_NAMESPACE = "vapi.dev/object-namespace"
OBJECT_UID = "vapi.dev/object-uid"
OBJECT_KIND = "vapi.dev/object-kind"
STORE_ID = "vapi.dev/store-id"
"""Whose data it is, on what outlives the anchor."""
DESIRED = "vapi.dev/desired"
"""Hash of what we asked for."""
ANSWERED = "vapi.dev/answered"
"""`<hash asked>/<hash answered>` of a Pod whose host wanted it otherwise: not asked for again."""
KEYS = "vapi.dev/keys"
"""JSON: the tenant's labels, annotations and scheduling gates that we set on a Pod."""
GENERATION = "vapi.dev/generation"
"""metadata.generation of the virtual object that last went out."""
NODE = "vapi.dev/node"
"""Where the tenant's scheduler put a Pod that the host may not have bound yet (virtual nodes)."""
SERVICE_ACCOUNT = "vapi.dev/service-account-name"
LABELS_TEXT = "vapi.dev/labels"
ANNOTATIONS_TEXT = "vapi.dev/annotations"
"""What a downward API file shows, as the tenant knows it."""
TOKEN_EXPIRES = "vapi.dev/token-expires"
ALLOCATED_AT = "vapi.dev/allocated-at"

MAPPED = "vapi.dev/mapped"
"""Label of a Service (and its Endpoints) of `service_mapping`: which way it crosses."""
MAPPED_FROM = "vapi.dev/mapped-from"
"""Annotation of such on the host: namespace/name of its source in the tenant."""
MAPPED_AS = "vapi.dev/mapped-as"
"""Annotation of such in the tenant: its own namespace/name, which a copy of it has not."""
FROM_HOST, TO_HOST = "from-host", "to-host"

TEMPLATE = "vapi.dev/template"
"""JSON: the tenant's template, on what the host's controllers make of it: it is never translated back."""
STATEFUL_SET = "vapi.dev/stateful-set"
"""Of the tenant's name, on claims: they outlive their set."""
MIRRORED = "vapi.dev/mirrored"
"""namespace/name of the tenant's mirror, on what the host's controllers have made."""
RENEW_AT = "vapi.dev/renew-at"
NAME_GATE = "vapi.dev/name"
"""Scheduling gate of such pods until OBJECT_NAME tells their name in the tenant."""

HOST_UID = mirrors.HOST_UID
"""The mark, on virtual objects: `<virtual uid>/<host uid>`."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LEADER = "control-plane.alpha.kubernetes.io/leader"

NEVER_SENT = frozenset(
    {
        LAST_APPLIED,  # kubectl's own copy of the whole object (a Secret's data too); the host's kubectl would trust it
        LEADER,  # leader election through Endpoints: each renewal would be a host write
        "deprecated.daemonset.template.generation",
    }
)
"""Annotations that stay in the tenant."""

FIELD_MANAGER = "vapi"


def reserved(key: str) -> bool:
    """Whether a label or annotation key is under our domain."""
    prefix, slash, _ = key.partition("/")
    return bool(slash) and (prefix == DOMAIN or prefix.endswith("." + DOMAIN))


@dataclass(frozen=True, slots=True)
class KeyPatterns:
    """Keys that the host owns (`sync.fromHost.labels|annotations`), as shell patterns; none by default."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


def owned_by_host(key: str, patterns: Iterable[str]) -> bool:
    """Never a key of ours, whatever the patterns say."""
    return any(fnmatchcase(key, pattern) for pattern in patterns) and not reserved(key)


def tenant_labels(virtual: Obj, from_host: KeyPatterns) -> dict[str, str]:
    """The labels that go out."""
    labels: Mapping[str, str] = virtual["metadata"].get("labels") or {}
    return {k: v for k, v in labels.items() if not reserved(k) and not owned_by_host(k, from_host.labels)}


def tenant_annotations(virtual: Obj, from_host: KeyPatterns) -> dict[str, str]:
    """The annotations that go out."""
    annotations: Mapping[str, str] = virtual["metadata"].get("annotations") or {}
    return {
        k: v
        for k, v in annotations.items()
        if not reserved(k) and k not in NEVER_SENT and not owned_by_host(k, from_host.annotations)
    }


def camel(setting: str) -> str:
    """`sync.from_host.x` as the configuration file has it: `sync.fromHost.x`."""
    return ".".join(
        head + "".join(part.capitalize() for part in tail)
        for head, *tail in (part.split("_") for part in setting.split("."))
    )


def kind_text(gvk: GVK) -> str:
    """`Pod`, `Deployment.apps`: without a version, which may change under a running object."""
    return f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind


def owner_reference(*, anchor: str, anchor_uid: str, controller: bool) -> Obj:
    """To the anchor. As controller for Pods: a host ReplicaSet whose selector fits must not adopt them."""
    reference: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "name": anchor, "uid": anchor_uid}
    if controller:
        reference["controller"] = True
    return reference


def keys_text(labels: Iterable[str], annotations: Iterable[str], gates: Iterable[str]) -> str:
    """The value of KEYS."""
    keys = {"labels": sorted(labels), "annotations": sorted(annotations), "gates": sorted(gates)}
    return encoding.dumps(keys).decode()


@dataclass(frozen=True, slots=True)
class SentKeys:
    labels: frozenset[str] = frozenset()
    annotations: frozenset[str] = frozenset()
    gates: frozenset[str] = frozenset()


def sent_keys(host: Obj) -> SentKeys:
    """What KEYS of a host object lists; nothing if somebody broke it."""
    text = (host["metadata"].get("annotations") or {}).get(KEYS, "")
    try:
        keys: Any = encoding.loads(text) if text else {}
        return SentKeys(*(frozenset(map(str, keys.get(k, ()))) for k in ("labels", "annotations", "gates")))
    except (ValueError, AttributeError, TypeError):
        return SentKeys()


def desired_hash(desired: Any) -> str:
    """Of any JSON value; equal values have equal hashes whatever the order of their keys."""
    return hashlib.sha256(encoding.dumps_sorted(desired)).hexdigest()[:16]


def make_mark(virtual_uid: str, host_uid: str) -> str:
    return f"{virtual_uid}/{host_uid}"


def marked_host_uid(virtual: Obj) -> str:
    """The host uid of the mark; "" without one, or when it was copied from another object."""
    metadata = virtual["metadata"]
    mark = (metadata.get("annotations") or {}).get(HOST_UID, "")
    virtual_uid, _, host_uid = mark.partition("/")
    return host_uid if virtual_uid == metadata.get("uid") else ""


def is_child(virtual: Obj) -> bool:
    """Whether the tenant's object is the mirror of what a controller of the host made: it has the host's uid."""
    return mirrors.is_child(virtual)


def downward_text(values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """A map as the kubelet writes it into a downward API file. Source: fieldpath.FormatMap."""
    return "\n".join(f"{key}={quote(values[key])}" for key in sorted(values))
