"""PodMirror: a pod that a controller of the host made, as the tenant's pod; and what of that goes out again. Pure.

Its spec is what the tenant's template said, with what the tenant's own controllers and admission would have added: the
pod of a DaemonSet is pinned to its node, that of a StatefulSet has its claims, and all have the account's token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sync import metadata as md
from sync import names
from sync.ownership import Twin
from sync.translator import Context, Write
from sync.translators import podenv, podspec, podstatus, podupdate, template
from sync.workloads.mirror import (
    CONTROLLER_ANNOTATIONS,
    CONTROLLER_LABELS,
    ChildKind,
    Owner,
    mirror_annotations,
    mirror_labels,
)
from vapi.control import daemonset_plan, kinds, statefulset_pods
from vapi.control.job_pods import INDEX, INDEX_ENV
from vapi.gvk import Obj
from vapi.registry.plugins.tolerations import stay_a_while
from vapi.resources import token_volume

_FROM_HOST = ("nodeName", "priority", "preemptionPolicy")
"""Of the spec: what the host's scheduler and admission decided."""


def mirror(host: Obj, owner: Owner | None, name: str) -> Obj:
    """Raises KeyError for a pod that no template of ours has made."""
    tenants = template.tenant_template(host["metadata"].get("annotations") or {})
    if tenants is None:
        raise KeyError(md.TEMPLATE)
    spec: dict[str, Any] = tenants["spec"]
    if owner is not None:
        _as_its_controller_would(spec, host, owner, name)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    volume = token_volume.volume_name(host["spec"])
    if volume and not token_volume.volume_name(spec):
        token_volume.mount_token(spec, volume)
    stay_a_while(spec)
    spec |= {key: host["spec"][key] for key in _FROM_HOST if key in host["spec"]}
    own = tenants.get("metadata") or {}
    return {
        "metadata": {
            "labels": mirror_labels(host, owner, name, own.get("labels") or {}),
            "annotations": mirror_annotations(host, own.get("annotations") or {}),
        },
        "spec": spec,
    }


def _as_its_controller_would(spec: dict[str, Any], host: Obj, owner: Owner, name: str) -> None:
    if owner.gvk.kind == "DaemonSet":
        node = daemonset_plan.target_of(host)
        spec["tolerations"] = daemonset_plan.tolerations(spec)
        if node:
            spec["affinity"] = daemonset_plan.pinned_to(spec.get("affinity"), node)
    elif owner.gvk.kind == "StatefulSet":
        spec["hostname"] = name
        ordinal = name.rpartition("-")[2]
        if owner.obj is not None and ordinal.isdigit():
            if owner.obj["spec"].get("serviceName"):
                spec["subdomain"] = owner.obj["spec"]["serviceName"]
            statefulset_pods.mount_claims(spec, owner.obj, int(ordinal))
    elif owner.gvk.kind == "Job":
        index = (host["metadata"].get("annotations") or {}).get(INDEX)
        if index is not None:
            spec["hostname"] = f"{owner.name}-{index}"
            for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
                _index_env(container)


def _index_env(container: Obj) -> None:
    env = container.setdefault("env", [])
    if not any(each["name"] == INDEX_ENV for each in env):
        reference = {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}
        env.append({"name": INDEX_ENV, "valueFrom": {"fieldRef": reference}})


POD_KIND = ChildKind(kinds.PODS, kinds.POD, mirror, converged=())


# --- what goes out --------------------------------------------------------------------------------------


def desired(virtual: Obj, live: Obj, context: Context) -> Obj:
    """The host's pod as the tenant's mirror wants it: of this only what can change is ever sent."""
    metadata = virtual["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    namespace_labels = {names.namespace_label(k): v for k, v in context.namespace_labels(namespace).items()}
    own_labels = _sent(md.tenant_labels(virtual, context.from_host), live, "labels")
    own_annotations = _sent(md.tenant_annotations(virtual, context.from_host), live, "annotations")
    source = virtual["spec"]
    gates = [g["name"] for g in source.get("schedulingGates") or ()]
    ours = {
        md.OBJECT_NAME: name,
        md.OBJECT_NAMESPACE: namespace,
        md.OBJECT_UID: metadata["uid"],
        md.OBJECT_KIND: "Pod",
        md.MIRRORED: f"{namespace}/{name}",
        md.GENERATION: str(metadata.get("generation", 1)),
        md.KEYS: md.keys_text([*own_labels, *namespace_labels], own_annotations, gates),
    }
    used = podspec.downward_paths(source)
    if "metadata.labels" in used:
        ours[md.LABELS_TEXT] = md.downward_text(metadata.get("labels") or {}, podenv.quoted)
    if "metadata.annotations" in used:
        seen = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != md.HOST_UID}
        ours[md.ANNOTATIONS_TEXT] = md.downward_text(seen, podenv.quoted)
    wanted: Obj = {
        "metadata": {
            "labels": own_labels | namespace_labels | context.own_labels(namespace),
            "annotations": own_annotations | ours,
        },
        "spec": podspec.host_spec(source, podspec.Terms(namespace, _token_secret(live)), context),
    }
    conditions = podstatus.gate_conditions(virtual)
    return {**wanted, "status": {"conditions": conditions}} if conditions else wanted


def _sent(tenants: Mapping[str, str], live: Obj, kind: str) -> dict[str, str]:
    """Without what the host's controllers wrote: that was translated for the tenant.

    Where such a key stands in the tenant's template (the pods of a Deployment of ours and a ReplicaSet of the host's)
    it stays as it is: taken off, the host's controller would let the pod go and make another one, for ever.
    """
    sent, there = md.sent_keys(live), live["metadata"].get(kind) or {}
    before = sent.labels if kind == "labels" else sent.annotations
    kept = {k: there[k] for k in before & there.keys() if _is_controllers(k, kind)}
    return {k: v for k, v in tenants.items() if not _is_controllers(k, kind)} | kept


def _is_controllers(key: str, kind: str) -> bool:
    return key in CONTROLLER_LABELS if kind == "labels" else key.startswith(CONTROLLER_ANNOTATIONS)


def _token_secret(live: Obj) -> str:
    """As the host's pod has it; it cannot change."""
    for volume in live["spec"].get("volumes") or ():
        if volume["name"].startswith(token_volume.VOLUME_PREFIX):
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("secret"):
                    return str(source["secret"]["name"])
    return ""


def writes(virtual: Obj, live: Obj, twin: Twin, context: Context) -> Iterable[Write]:
    """Patches of the host's pod. What it was when it was first seen is what its controller asked for: left so."""
    wanted = desired(virtual, live, context)
    if twin.mirrored:
        return podupdate.update(wanted, live)
    note = podupdate.settle(wanted, live)
    if note is not None:
        wanted["metadata"]["annotations"] |= note.patch["metadata"]["annotations"]
    patch: Obj = {"metadata": {**podupdate.metadata_changes(wanted, live), "uid": twin.uid}}
    if note is not None:
        patch["metadata"].setdefault("annotations", {}).update(note.patch["metadata"]["annotations"])
    gates = podupdate.lifted_gates(wanted, live)
    if gates:
        patch["spec"] = gates
    return [Write(patch)]
