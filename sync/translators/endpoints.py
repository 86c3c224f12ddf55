"""Endpoints: only those of Services without selector; with one the host's controllers make them.

They carry skip-mirror: the slices go out themselves (`endpointslices`).
"""

from __future__ import annotations

from sync.translator import ENDPOINTS, Context, Translator
from sync.translators import services
from vapi.gvk import GVK, Obj

GVK_ENDPOINTS = GVK("", "v1", "Endpoints")

SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"


def to_host(virtual: Obj, context: Context) -> Obj:
    namespace = virtual["metadata"]["namespace"]
    metadata = context.host_metadata(virtual, GVK_ENDPOINTS)
    metadata["labels"][SKIP_MIRROR] = "true"
    desired: Obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    if virtual.get("subsets"):
        desired["subsets"] = [_subset(s, context, namespace) for s in virtual["subsets"]]
    return desired


def _subset(subset: Obj, context: Context, namespace: str) -> Obj:
    translated = dict(subset)
    for kind in ("addresses", "notReadyAddresses"):
        if subset.get(kind):
            translated[kind] = [
                {**a, "targetRef": target(a["targetRef"], context, namespace)} if a.get("targetRef") else a
                for a in subset[kind]
            ]
    return translated


def target(reference: Obj, context: Context, namespace: str) -> Obj:
    """A reference to a pod as the host knows it; others as they are, without what only the tenant knows."""
    kept = {k: v for k, v in reference.items() if k not in ("uid", "resourceVersion")}
    if reference.get("kind") != "Pod":
        return kept
    pod_namespace, pod = reference.get("namespace") or namespace, reference.get("name", "")
    kept["name"] = context.host_name(pod, pod_namespace)
    kept["namespace"] = context.host_namespace
    uid = context.host_pod_uid(pod_namespace, pod)
    if uid:
        kept["uid"] = uid
    return kept


def selectorless(service_name: str, namespace: str, context: Context) -> bool:
    """Whether the tenant's Service exists, has no selector and is not our own."""
    if (namespace, service_name) == services.OWN:
        return False
    service = context.service(namespace, service_name)
    if service is None or services.is_mapped(service, context):
        return False
    return not (service.get("spec") or {}).get("selector")


def wanted(virtual: Obj, context: Context) -> bool:
    metadata = virtual["metadata"]
    return selectorless(metadata["name"], metadata["namespace"], context)


TRANSLATOR = Translator(resource=ENDPOINTS, gvk=GVK_ENDPOINTS, to_host=to_host, wanted=wanted)
