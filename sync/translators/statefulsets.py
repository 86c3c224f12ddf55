"""StatefulSets: the host's controller makes pods and claims, named after the twin.

Its claim templates go out with our labels, by which the claims are seen, and with the tenant's template for them.
"""

from __future__ import annotations

from typing import Any

from sync import metadata as md
from sync.translator import Context
from sync.translators import persistentvolumeclaims, template, workload
from vapi.gvk import GVK, GVR, Obj

STATEFULSETS = GVR("apps", "v1", "statefulsets")

_replicated = workload.replicated(STATEFULSETS)


def to_spec(virtual: Obj, context: Context) -> Obj:
    spec: Obj = dict(_replicated(virtual, context))
    namespace = virtual["metadata"]["namespace"]
    if spec.get("serviceName"):
        spec["serviceName"] = context.host_name(spec["serviceName"], namespace)
    if spec.get("volumeClaimTemplates"):
        spec["volumeClaimTemplates"] = [_claim_template(t, virtual, context) for t in spec["volumeClaimTemplates"]]
    return spec


def _claim_template(given: Obj, virtual: Obj, context: Context) -> Obj:
    namespace = virtual["metadata"]["namespace"]
    source: Obj = {"metadata": given["metadata"]}
    metadata: dict[str, Any] = {
        "name": given["metadata"]["name"],
        "labels": md.tenant_labels(source, context.from_host) | context.own_labels(namespace),
        "annotations": md.tenant_annotations(source, context.from_host)
        | {md.TEMPLATE: template.carried({k: v for k, v in given.items() if k != "status"})},
    }
    metadata["annotations"] = persistentvolumeclaims.without_hosts_keys(metadata["annotations"])
    metadata["annotations"][md.STATEFUL_SET] = virtual["metadata"]["name"]
    spec = persistentvolumeclaims.host_spec(_claim(given), namespace, context)
    if persistentvolumeclaims.storage_class(_claim(given)) is None:
        spec.pop("storageClassName", None)  # the host's default of the day: a claim template cannot change
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _claim(given: Obj) -> Obj:
    """A template as the claim that it will be."""
    return {"metadata": given["metadata"], "spec": given.get("spec") or {}}


def admit(virtual: Obj, context: Context) -> None:
    """Raises Withheld for claims that could not go out, either."""
    for given in virtual["spec"].get("volumeClaimTemplates") or ():
        persistentvolumeclaims.admit(_claim(given), context)


TRANSLATOR = workload.row(
    STATEFULSETS,
    GVK("apps", "v1", "StatefulSet"),
    to_spec,
    name_limit=workload.SHORT_NAME,
    admit_more=admit,
    exact=(*workload.EXACT, "spec.ordinals"),
)
