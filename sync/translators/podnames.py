"""The names in a PodSpec: which are renamed for the host, which may stay, which must go.

One table over the paths of the schema; the translation and the references both
walk it, and a test fails on any name-bearing field of PodSpec that stands in
none of the three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sync import names
from sync.translator import CONFIGMAPS, ENDPOINTS, SECRETS
from vapi.gvk import GVR, Obj

CLAIMS = GVR("", "v1", "persistentvolumeclaims")
RESOURCECLAIMS = GVR("resource.k8s.io", "v1", "resourceclaims")
RESOURCECLAIMTEMPLATES = GVR("resource.k8s.io", "v1", "resourceclaimtemplates")

_OF_CONTAINER: Mapping[str, GVR] = {
    "env[].valueFrom.configMapKeyRef.name": CONFIGMAPS,
    "env[].valueFrom.secretKeyRef.name": SECRETS,
    "envFrom[].configMapRef.name": CONFIGMAPS,
    "envFrom[].secretRef.name": SECRETS,
}
CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")

RENAMED: Mapping[str, GVR] = MappingProxyType(
    {f"{containers}[].{path}": gvr for containers in CONTAINER_LISTS for path, gvr in _OF_CONTAINER.items()}
    | {
        "imagePullSecrets[].name": SECRETS,
        "resourceClaims[].resourceClaimName": RESOURCECLAIMS,
        "resourceClaims[].resourceClaimTemplateName": RESOURCECLAIMTEMPLATES,
        "volumes[].azureFile.secretName": SECRETS,
        "volumes[].cephfs.secretRef.name": SECRETS,
        "volumes[].cinder.secretRef.name": SECRETS,
        "volumes[].configMap.name": CONFIGMAPS,
        "volumes[].csi.nodePublishSecretRef.name": SECRETS,
        "volumes[].flexVolume.secretRef.name": SECRETS,
        "volumes[].glusterfs.endpoints": ENDPOINTS,
        "volumes[].iscsi.secretRef.name": SECRETS,
        "volumes[].persistentVolumeClaim.claimName": CLAIMS,
        "volumes[].projected.sources[].configMap.name": CONFIGMAPS,
        "volumes[].projected.sources[].secret.name": SECRETS,
        "volumes[].rbd.secretRef.name": SECRETS,
        "volumes[].scaleIO.secretRef.name": SECRETS,
        "volumes[].secret.secretName": SECRETS,
        "volumes[].storageos.secretRef.name": SECRETS,
    }
)
"""Path → the kind of the tenant's own namespace that it names. Kinds that are not synced yet are renamed too:
the tenant must not reach what the host calls by that name."""

SPECIAL: Mapping[str, str] = MappingProxyType(
    {
        "serviceAccountName": "our own account without rights",
        "serviceAccount": "deprecated copy of the former, removed",
        "nodeName": "required affinity: a nodeName passes over the host's scheduler",
        "priorityClassName": "the host's name of the class, or removed: its other classes are not the tenant's",
        "hostname": "the tenant's pod name where it is empty",
        "hostnameOverride": "as the tenant wrote it",
        "subdomain": "removed: tenant DNS answers the full name",
        "affinity.podAffinity": "selectors get the tenant's labels, namespaces become labels",
        "affinity.podAntiAffinity": "selectors get the tenant's labels, namespaces become labels",
        "topologySpreadConstraints[].labelSelector": "gets the tenant's labels",
        "volumes[].ephemeral": "becomes a persistentVolumeClaim: the tenant's own claim, made in the tenant",
        "volumes[].projected.sources[].podCertificate": "refused: the host would certify a host identity",
        "volumes[].projected.sources[].serviceAccountToken": "a Secret of ours with a token of the tenant",
        "workloadRef": "removed: gangs are of the tenant's API, the host's scheduler would wait for them",
        "schedulingGroup": "removed, as workloadRef",
        "evictionResponders[]": "removed: they answer in the tenant's API, an eviction on the host would wait for them",
    }
)
"""Paths (with all below) that the translator handles by hand, and how."""

KEPT: Mapping[str, str] = MappingProxyType(
    {
        f"{containers}[].{path}": why
        for containers in CONTAINER_LISTS
        for path, why in (
            ("name", "a name in the pod"),
            ("env[].name", "a name in the container"),
            ("env[].valueFrom.resourceFieldRef.containerName", "a name in the pod"),
            ("env[].valueFrom.fileKeyRef.volumeName", "a name in the pod"),
            ("lifecycle.*.httpGet.httpHeaders[].name", "a header"),
            ("livenessProbe.httpGet.httpHeaders[].name", "a header"),
            ("readinessProbe.httpGet.httpHeaders[].name", "a header"),
            ("startupProbe.httpGet.httpHeaders[].name", "a header"),
            ("ports[].name", "a name in the pod"),
            ("resizePolicy[].resourceName", "a resource such as cpu"),
            ("resources.claims[].name", "a name in the pod"),
            ("securityContext.windowsOptions.gmsaCredentialSpecName", "of the node"),
            ("securityContext.windowsOptions.runAsUserName", "a user in the image"),
            ("targetContainerName", "a name in the pod"),
            ("volumeDevices[].name", "a name in the pod"),
            ("volumeMounts[].name", "a name in the pod"),
        )
    }
    | {
        "affinity.nodeAffinity": "nodes have their host names in the tenant too",
        "dnsConfig.options[].name": "an option",
        "dnsConfig.nameservers[]": "addresses",
        "hostAliases[].hostnames[]": "host names inside the pod",
        "nodeSelector": "nodes have their host labels in the tenant too",
        "os.name": "linux or windows",
        "resourceClaims[].name": "a name in the pod",
        "resources.claims[].name": "a name in the pod",
        "runtimeClassName": "a class of the host",
        "shareProcessNamespace": "a switch",
        "schedulerName": "a scheduler of the host",
        "schedulingGates[].name": "lifted by the tenant",
        "securityContext.sysctls[].name": "of the kernel",
        "securityContext.windowsOptions.gmsaCredentialSpecName": "of the node",
        "securityContext.windowsOptions.runAsUserName": "a user in the image",
        "volumes[].azureDisk.diskName": "outside Kubernetes",
        "volumes[].azureFile.shareName": "outside Kubernetes",
        "volumes[].downwardAPI.items[].resourceFieldRef.containerName": "a name in the pod",
        "volumes[].flocker.datasetName": "outside Kubernetes",
        "volumes[].gcePersistentDisk.pdName": "outside Kubernetes",
        "volumes[].iscsi.initiatorName": "outside Kubernetes",
        "volumes[].name": "a name in the pod",
        "volumes[].projected.sources[].clusterTrustBundle": "cluster-scoped roots of trust, public",
        "volumes[].projected.sources[].downwardAPI.items[].resourceFieldRef.containerName": "a name in the pod",
        "volumes[].scaleIO.volumeName": "outside Kubernetes",
        "volumes[].storageos.volumeName": "outside Kubernetes",
        "volumes[].storageos.volumeNamespace": "outside Kubernetes",
        "volumes[].vsphereVolume.storagePolicyName": "outside Kubernetes",
    }
)
"""Paths (with all below) that go out as they are, and why."""

Tree = Mapping[str, Any]
"""Field → subtree, or the kind at the end of a path. Lists have no level of their own."""


def _tree() -> Tree:
    root: dict[str, Any] = {}
    for path, gvr in RENAMED.items():
        node = root
        *parents, leaf = path.replace("[]", "").split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = gvr
    return root


_TREE: Tree = MappingProxyType(_tree())

Rename = Callable[[GVR, str], str]


def rename(spec: Obj, new_name: Rename) -> Obj:
    """A copy of a PodSpec with every name of RENAMED replaced; untouched parts are shared."""
    renamed: Obj = _rename(spec, _TREE, new_name)
    return renamed


def rename_container(container: Obj, new_name: Rename) -> Obj:
    """The same for one container."""
    renamed: Obj = _rename(container, _TREE["containers"], new_name)
    return renamed


def _rename(value: Any, tree: Tree, new_name: Rename) -> Any:
    if isinstance(value, list):
        return [_rename(item, tree, new_name) for item in value]
    if not isinstance(value, dict):
        return value
    copy: dict[str, Any] | None = None
    for field in value.keys() & tree.keys():
        below, old = tree[field], value[field]
        if not isinstance(below, GVR):
            new = _rename(old, below, new_name)
        elif old:
            new = new_name(below, old)
        else:
            continue
        if copy is None:
            copy = dict(value)
        copy[field] = new
    return value if copy is None else copy


def named(spec: Obj) -> Iterator[tuple[GVR, str]]:
    """Every (kind, name) that a PodSpec names, as often as it does."""
    return _named(spec, _TREE)


def _named(value: Any, tree: Tree) -> Iterator[tuple[GVR, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _named(item, tree)
    elif isinstance(value, dict):
        for field in value.keys() & tree.keys():
            below = tree[field]
            if not isinstance(below, GVR):
                yield from _named(value[field], below)
            elif value[field]:
                yield below, value[field]


def host_names(virtual: Obj, cluster: str) -> dict[str, str]:
    """The host's name → the tenant's, of everything that a pod (or what has a pod template) names."""
    spec = virtual.get("spec") or {}
    if "template" in spec:
        spec = spec["template"].get("spec") or {}
    namespace = virtual["metadata"].get("namespace", "")
    return {names.host_name(name, namespace, cluster): name for _, name in named(spec)}
