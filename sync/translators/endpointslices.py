"""EndpointSlices of Services without selector, the tenant's own and those that its controllers mirror."""

from __future__ import annotations

from sync.translator import ENDPOINTSLICES, Context, Translator
from sync.translators import endpoints
from vapi.gvk import GVK, Obj

GVK_ENDPOINTSLICE = GVK("discovery.k8s.io", "v1", "EndpointSlice")

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "vapi.dev"
"""In place of the tenant's manager: the host's controller of that name would take our slices for its own leftovers."""


def to_host(virtual: Obj, context: Context) -> Obj:
    namespace = virtual["metadata"]["namespace"]
    metadata = context.host_metadata(virtual, GVK_ENDPOINTSLICE)
    metadata["labels"][SERVICE_NAME] = context.host_name(service_name(virtual), namespace)
    metadata["labels"][MANAGED_BY] = MANAGER
    desired: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": virtual["addressType"],
        "endpoints": [_endpoint(e, context, namespace) for e in virtual.get("endpoints") or ()],
    }
    if virtual.get("ports") is not None:
        desired["ports"] = virtual["ports"]
    return desired


def service_name(virtual: Obj) -> str:
    return str((virtual["metadata"].get("labels") or {}).get(SERVICE_NAME, ""))


def _endpoint(endpoint: Obj, context: Context, namespace: str) -> Obj:
    if not endpoint.get("targetRef"):
        return endpoint
    return {**endpoint, "targetRef": endpoints.target(endpoint["targetRef"], context, namespace)}


def wanted(virtual: Obj, context: Context) -> bool:
    service = service_name(virtual)
    return bool(service) and endpoints.selectorless(service, virtual["metadata"]["namespace"], context)


def replace(desired: Obj, host: Obj) -> bool:
    """The address type of a slice cannot change."""
    return bool(desired["addressType"] != host.get("addressType"))


TRANSLATOR = Translator(
    resource=ENDPOINTSLICES,
    gvk=GVK_ENDPOINTSLICE,
    to_host=to_host,
    wanted=wanted,
    replace=replace,
)
