"""Which ReplicaSet is a Deployment's new one, what it is called, and the annotations that count revisions. Pure.

Source: pkg/controller/deployment/util/deployment_util.go.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence

from vapi import encoding
from vapi.control import kinds
from vapi.gvk import Obj

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

NOT_COPIED = frozenset({LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK_TO})
"""Annotations of the Deployment that its ReplicaSets do not get."""

HISTORY_MAX_CHARS = 2000
MAX_NAME = 253
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, no 0, 1 or 3: no words by accident. Source: apimachinery util/rand.SafeEncodeString."""


def template_hash(template: Obj, collisions: int) -> str:
    """Ten safe characters; a stable hash of our own (Kubernetes': FNV over a Go dump)."""
    digest = hashlib.sha256(encoding.dumps_sorted(template) + (b"%d" % collisions if collisions else b"")).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def same_template(one: Obj, other: Obj) -> bool:
    """Equal but for the hash label."""
    return encoding.dumps_sorted(_without_hash(one)) == encoding.dumps_sorted(_without_hash(other))


def _without_hash(template: Obj) -> Obj:
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    rest = {key: value for key, value in metadata.items() if key != "labels" and value}
    return {"spec": template.get("spec") or {}, "metadata": {**rest, "labels": labels}}


def age(replica_set: Obj) -> tuple[str, str]:
    """Sorts older first."""
    metadata = replica_set["metadata"]
    return metadata.get("creationTimestamp", ""), metadata["name"]


def find_new(deployment: Obj, replica_sets: Sequence[Obj]) -> Obj | None:
    """The oldest with the Deployment's template."""
    template = deployment["spec"]["template"]
    for replica_set in sorted(replica_sets, key=age):
        if same_template(replica_set["spec"]["template"], template):
            return replica_set
    return None


def revision_of(obj: Obj) -> int:
    """0: it has none, or one that is no number."""
    return _number(annotations_of(obj).get(REVISION, ""))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def annotations_of(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def max_before(replica_set: Obj) -> int | None:
    return _number(annotations_of(replica_set).get(MAX, "")) or None


def desired_of(replica_set: Obj) -> int | None:
    """The Deployment's size when the set was last scaled."""
    text = annotations_of(replica_set).get(DESIRED, "")
    return int(text) if text.isascii() and text.isdigit() else None


def size_annotations(replicas: int, most: int) -> dict[str, str]:
    return {DESIRED: str(replicas), MAX: str(most)}


def new_set_annotations(deployment: Obj, existing: Mapping[str, str], revision: int) -> dict[str, str]:
    """What the new set's annotations should be: the Deployment's, and its revision, which only rises.

    A set that gets a higher revision (a rollback) keeps the lower ones in its history.
    """
    wanted = dict(existing)
    wanted.update({key: value for key, value in annotations_of(deployment).items() if key not in NOT_COPIED})
    before = existing.get(REVISION, "")
    if _number(before) < revision:
        wanted[REVISION] = str(revision)
        if before:
            wanted[HISTORY] = _history(existing.get(HISTORY, ""), before)
    return wanted


def _history(history: str, revision: str) -> str:
    revisions = [*(history.split(",") if history else ()), revision]
    while len(",".join(revisions)) > HISTORY_MAX_CHARS and len(revisions) > 1:
        del revisions[0]
    return ",".join(revisions)


def new_replica_set(deployment: Obj, *, replicas: int, most: int, revision: int) -> Obj:
    """The ReplicaSet of the Deployment's present template. Named after the template: creating is idempotent."""
    spec = deployment["spec"]
    template = copy.deepcopy(spec["template"])
    collisions = (deployment.get("status") or {}).get("collisionCount", 0)
    digest = template_hash(template, collisions)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
    selector = copy.deepcopy(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
    name = deployment["metadata"]["name"][: MAX_NAME - 1 - len(digest)] + f"-{digest}"
    new_spec: Obj = {"replicas": replicas, "selector": selector, "template": template}
    if spec.get("minReadySeconds"):
        new_spec["minReadySeconds"] = spec["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": dict(labels),
            "annotations": {
                **new_set_annotations(deployment, {}, revision),
                **size_annotations(spec.get("replicas", 1), most),
            },
            "ownerReferences": [kinds.controller_reference(kinds.DEPLOYMENT, deployment)],
        },
        "spec": new_spec,
    }
