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
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
VOLUMES = GVR("", "v1", "persistentvolumes")
ATTRIBUTES_CLASSES = GVR("storage.k8s.io", "v1", "volumeattributesclasses")
RESOURCE_QUOTAS = GVR("", "v1", "resourcequotas")
REPLICATION_CONTROLLERS = GVR("", "v1", "replicationcontrollers")
REPLICA_SETS = GVR("apps", "v1", "replicasets")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
STATEFUL_SETS = GVR("apps", "v1", "statefulsets")
DAEMON_SETS = GVR("apps", "v1", "daemonsets")
CONTROLLER_REVISIONS = GVR("apps", "v1", "controllerrevisions")
JOBS = GVR("batch", "v1", "jobs")
CRON_JOBS = GVR("batch", "v1", "cronjobs")
DISRUPTION_BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
ENDPOINT_SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
CLUSTER_ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")

POD = GVK("", "v1", "Pod")
SERVICE = GVK("", "v1", "Service")
ENDPOINTS_KIND = GVK("", "v1", "Endpoints")
REPLICATION_CONTROLLER = GVK("", "v1", "ReplicationController")
REPLICA_SET = GVK("apps", "v1", "ReplicaSet")
DEPLOYMENT = GVK("apps", "v1", "Deployment")
STATEFUL_SET = GVK("apps", "v1", "StatefulSet")
DAEMON_SET = GVK("apps", "v1", "DaemonSet")
JOB = GVK("batch", "v1", "Job")
CRON_JOB = GVK("batch", "v1", "CronJob")


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
