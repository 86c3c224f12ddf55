"""The resources that controllers name: GVRs and the kinds of owner references."""

from __future__ import annotations

from vapi.gvk import GVK, GVR, Obj

NAMESPACES = GVR("", "v1", "namespaces")
SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
CONFIG_MAPS = GVR("", "v1", "configmaps")
PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
EVENTS = GVR("", "v1", "events")
NODES = GVR("", "v1", "nodes")
REPLICATION_CONTROLLERS = GVR("", "v1", "replicationcontrollers")
REPLICA_SETS = GVR("apps", "v1", "replicasets")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
ENDPOINT_SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
CLUSTER_ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")

SERVICE = GVK("", "v1", "Service")
ENDPOINTS_KIND = GVK("", "v1", "Endpoints")
REPLICATION_CONTROLLER = GVK("", "v1", "ReplicationController")
REPLICA_SET = GVK("apps", "v1", "ReplicaSet")
DEPLOYMENT = GVK("apps", "v1", "Deployment")


def controller_reference(gvk: GVK, owner: Obj) -> Obj:
    """The ownerReference of what a controller makes for `owner`."""
    return {
        "apiVersion": gvk.api_version,
        "kind": gvk.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Obj) -> Obj | None:
    """The ownerReference with controller=true."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def with_owners(obj: Obj, references: list[Obj]) -> Obj:
    """`obj`, which is private, under these ownerReferences."""
    if references:
        obj["metadata"]["ownerReferences"] = references
    else:
        obj["metadata"].pop("ownerReferences", None)
    return obj
