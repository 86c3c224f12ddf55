"""A StatefulSet's pods and claims: names, labels, volumes, and who owns a claim. Pure.

Source: pkg/controller/statefulset/stateful_set_utils.go.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from vapi.control import kinds
from vapi.control.history import HASH_LABEL
from vapi.control.replicaset import pod_of
from vapi.gvk import Obj

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
POD_KIND = ("v1", "Pod")
SET_KIND = ("apps/v1", "StatefulSet")


def claim_volumes(pod: Obj) -> tuple[tuple[str, str], ...]:
    """(volume, name of its claim)"""
    return tuple(
        (each["name"], each["persistentVolumeClaim"]["claimName"])
        for each in pod["spec"].get("volumes") or ()
        if each.get("persistentVolumeClaim")
    )


def pod_name(stateful_set: Obj, ordinal: int) -> str:
    return f"{stateful_set['metadata']['name']}-{ordinal}"


def claim_names(stateful_set: Obj, ordinal: int) -> list[tuple[str, str]]:
    """(template, name of its claim) of one pod."""
    owner = stateful_set["metadata"]["name"]
    return [
        (each["metadata"]["name"], f"{each['metadata']['name']}-{owner}-{ordinal}")
        for each in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]


def claims(stateful_set: Obj, ordinal: int) -> list[Obj]:
    """The claims of one pod, as they are created."""
    made = []
    templates = stateful_set["spec"].get("volumeClaimTemplates") or ()
    selected = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
    for template, (_, name) in zip(templates, claim_names(stateful_set, ordinal), strict=True):
        claim = copy.deepcopy(template)
        claim.pop("status", None)
        metadata = claim["metadata"]
        metadata.update(name=name, namespace=stateful_set["metadata"]["namespace"])
        labels = {**(metadata.get("labels") or {}), **selected}
        if labels:
            metadata["labels"] = labels
        made.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim})
    return made


def identity(pod_labels: Obj, name: str, ordinal: int) -> Obj:
    return {**pod_labels, POD_NAME: name, POD_INDEX: str(ordinal)}


def new_pod(stateful_set: Obj, template: Obj, ordinal: int, revision: str) -> Obj:
    owner = {**stateful_set, "spec": {**stateful_set["spec"], "template": template}}
    pod = pod_of(owner, kinds.STATEFUL_SET)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["name"] = pod_name(stateful_set, ordinal)
    metadata["labels"] = {**identity(metadata.get("labels") or {}, metadata["name"], ordinal), HASH_LABEL: revision}
    spec["hostname"] = metadata["name"]
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    mount_claims(spec, stateful_set, ordinal)
    return pod


def mount_claims(spec: Obj, stateful_set: Obj, ordinal: int) -> None:
    """The claims first, then the template's other volumes."""
    wanted = dict(claim_names(stateful_set, ordinal))
    if not wanted:
        return
    others = [each for each in spec.get("volumes") or () if each["name"] not in wanted]
    mounted = [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in wanted.items()]
    spec["volumes"] = mounted + others


def has_identity(labels: Obj, name: str) -> bool:
    return labels.get(POD_NAME) == name


@dataclass(frozen=True, slots=True)
class Retention:
    """What becomes of claims: deleted with the set, deleted with a pod that is scaled away."""

    when_deleted: bool
    when_scaled: bool

    @property
    def retains_all(self) -> bool:
        return not self.when_deleted and not self.when_scaled


def retention(stateful_set: Obj) -> Retention:
    policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return Retention(policy.get("whenDeleted") == "Delete", policy.get("whenScaled") == "Delete")


def has_stale_pod(claim_owners: Sequence[Obj], name: str, uid: str) -> bool:
    """Owned by another pod of this name. `uid`: "" for a pod that is to be made."""
    return any(_is(each, POD_KIND, name) and each["uid"] != uid for each in claim_owners)


def claim_owners(
    owners: Sequence[Obj], stateful_set: Obj, *, pod: str, pod_uid: str, condemned: bool
) -> list[Obj] | None:
    """The owners a claim should have by the retention policy; None: it has them, or is not ours to touch.

    The set owns it while its pod is wanted (whenDeleted), the pod once it is condemned (whenScaled).
    """
    set_name, set_uid = stateful_set["metadata"]["name"], stateful_set["metadata"]["uid"]
    ours = [each for each in owners if _is(each, SET_KIND, set_name) or _is(each, POD_KIND, pod)]
    if any(each["uid"] != (set_uid if each["kind"] == "StatefulSet" else pod_uid) for each in ours):
        return None
    others = [each for each in owners if each not in ours]
    policy = retention(stateful_set)
    if not policy.retains_all and any(each.get("controller") for each in others):
        return others if ours else None
    wanted: list[Obj] = []
    if policy.when_scaled and condemned:
        owner = {"metadata": {"name": pod, "uid": pod_uid}}
        wanted.append(kinds.controller_reference(kinds.POD, owner))
    elif policy.when_deleted:
        wanted.append(kinds.controller_reference(kinds.STATEFUL_SET, stateful_set))
    if [_essence(each) for each in ours] == [_essence(each) for each in wanted]:
        return None
    return others + wanted


def _essence(reference: Obj) -> tuple[str, bool]:
    return reference["uid"], bool(reference.get("controller"))


def _is(reference: Obj, kind: tuple[str, str], name: str) -> bool:
    return (reference["apiVersion"], reference["kind"]) == kind and reference["name"] == name
