"""What exists from the first start: namespaces, RBAC, priority classes, flow control, APIServices, default/kubernetes.

The facts are `data/bootstrap.json`, one object a line (contract §4.1); this
module creates what is missing, all at once so that the creates share group
commits, and adds what an older version of it left out.
*Measured* with SQLite: 19 ms for the first start, 2 ms for another.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from vapi import encoding
from vapi.auth import reconcile
from vapi.clock import Clock, rfc3339
from vapi.errors import ApiError
from vapi.gvk import GVR, GroupVersion, Obj
from vapi.registry.client import Client

NAMESPACES = GVR("", "v1", "namespaces")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
CONFIG_MAPS = GVR("", "v1", "configmaps")
ENDPOINT_SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
SERVICE_CIDRS = GVR("networking.k8s.io", "v1", "servicecidrs")
IP_ADDRESSES = GVR("networking.k8s.io", "v1", "ipaddresses")

Reconcile = Callable[[Obj, Obj], Obj | None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """`status`: of a new object, at a time; None: it has none, or its strategy fills it in."""

    plural: str
    reconcile: Reconcile = reconcile.untouched
    status: Callable[[Obj, str], Obj] | None = None


def _local_api_service(_obj: Obj, now: str) -> Obj:
    message = "Local APIServices are always available"
    return {"conditions": [_condition("Available", "True", now, "Local", message)]}


def _flow_schema(obj: Obj, now: str) -> Obj:
    level = obj["spec"]["priorityLevelConfiguration"]["name"]
    message = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" and it exists'
    return {"conditions": [_condition("Dangling", "False", now, "Found", message)]}


def _service_cidr(_obj: Obj, now: str) -> Obj:
    return {"conditions": [_condition("Ready", "True", now, "", "Kubernetes Service CIDR is ready")]}


def _condition(type_: str, status: str, now: str, reason: str, message: str) -> Obj:
    return {"type": type_, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


_KINDS: Mapping[str, _Kind] = {
    "Namespace": _Kind("namespaces"),
    "ClusterRole": _Kind("clusterroles", reconcile.role),
    "ClusterRoleBinding": _Kind("clusterrolebindings", reconcile.binding),
    "Role": _Kind("roles", reconcile.role),
    "RoleBinding": _Kind("rolebindings", reconcile.binding),
    "PriorityClass": _Kind("priorityclasses"),
    "PriorityLevelConfiguration": _Kind("prioritylevelconfigurations", reconcile.flow_control),
    "FlowSchema": _Kind("flowschemas", reconcile.flow_control, _flow_schema),
    "APIService": _Kind("apiservices", status=_local_api_service),
    "ServiceCIDR": _Kind("servicecidrs", status=_service_cidr),
}


def objects() -> list[Obj]:
    """The bootstrap objects, fresh: the caller may edit them."""
    data = resources.files("vapi.auth").joinpath("data/bootstrap.json").read_bytes()
    loaded: list[Obj] = encoding.loads(data)
    return loaded


async def ensure_bootstrap(client: Client, clock: Clock) -> None:
    """Create what is missing, complete what is there. Idempotent; several replicas may run it at once.

    Namespaces come first: nothing is created in one that is not there.
    Raises ApiError if a write fails for another reason than somebody else's doing the same.
    """
    everything = objects()
    await _ensure_all(client, clock, [o for o in everything if o["kind"] == "Namespace"])
    await _ensure_all(client, clock, [o for o in everything if o["kind"] != "Namespace"])


async def ensure_tracking(client: Client, clock: Clock) -> None:
    """The ConfigMap that says since when the use of old token Secrets is tracked."""
    name = "kube-apiserver-legacy-service-account-token-tracking"
    await _ensure_config_map(client, name, {"since": clock.now().strftime("%Y-%m-%d")}, update=False)


async def ensure_authentication_config(client: Client, ca_certificate: bytes, front_proxy_ca: bytes) -> None:
    """ConfigMap kube-system/extension-apiserver-authentication: how aggregated servers check our clients, and us.

    kube-controller-manager and kube-scheduler read it, too, and complain for ever of one without a front proxy.
    Source: kube-apiserver clusterauthenticationtrust; the values are kubeadm's.
    """
    data = {
        "client-ca-file": ca_certificate.decode(),
        "requestheader-client-ca-file": front_proxy_ca.decode(),
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
    await _ensure_config_map(client, "extension-apiserver-authentication", data, update=True)


async def ensure_kubernetes_service(
    client: Client, clock: Clock, *, cluster_ip: str, cidr: str, address: str, port: int
) -> None:
    """Service default/kubernetes at `cluster_ip`, its ServiceCIDR and IPAddress, and its endpoints `address:port`.

    `address` is an IP; a loopback one, or "", leaves no endpoints: nobody else could use them.
    """
    family = f"IPv{ipaddress.ip_address(cluster_ip).version}"
    await _ensure_all(client, clock, [_service_cidr_object(cidr)])
    await _ensure(client, _service(cluster_ip, family, port), SERVICES, _service_update)
    # where the allocator of Services claims addresses by creating the same object, it was first
    await _ensure(client, _ip_address(cluster_ip, family), IP_ADDRESSES, reconcile.untouched)
    if not address or ipaddress.ip_address(address).is_loopback:
        return
    await _ensure(client, _endpoints(address, port), ENDPOINTS, _replace("subsets"))
    await _ensure(client, _slice(address, port), ENDPOINT_SLICES, _replace("endpoints", "ports"))


# --- writing ----------------------------------------------------------------------------------------


async def _ensure_all(client: Client, clock: Clock, wanted: list[Obj]) -> None:
    writes = []
    for obj in wanted:
        kind = _KINDS[obj["kind"]]
        gvr = _gvr(obj)
        if not _is_complete(client, gvr, obj, kind):
            writes.append(_ensure(client, obj, gvr, kind.reconcile))
    created = await _all(writes)
    # a second round, not one write after the other: both rounds share group commits
    await _all([_write_status(client, clock, obj) for obj in created if obj is not None])


async def _all(writes: Sequence[Coroutine[None, None, Obj | None]]) -> Sequence[Obj | None]:
    """Their results, once all have ended; the first error then."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _gvr(obj: Obj) -> GVR:
    version = GroupVersion.parse(obj["apiVersion"])
    return GVR(version.group, version.version, _KINDS[obj["kind"]].plural)


def _is_complete(client: Client, gvr: GVR, obj: Obj, kind: _Kind) -> bool:
    """Decided without a task for what is there already: at every start but the first that is everything."""
    metadata = obj["metadata"]
    entry = client.cached(gvr, metadata.get("namespace", ""), metadata["name"])
    if entry is None:
        return False
    if kind.reconcile is reconcile.untouched:
        return True
    existing = entry.obj()
    if "roleRef" in obj and reconcile.must_recreate(existing, obj):
        return False
    return kind.reconcile(existing, obj) is None


async def _ensure(client: Client, obj: Obj, gvr: GVR, update: Reconcile) -> Obj | None:
    """What was created, or None if it was there."""
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    entry = client.cached(gvr, namespace, name)
    if entry is not None:
        existing = entry.obj()
        if "roleRef" in obj and reconcile.must_recreate(existing, obj):
            await client.delete(gvr, namespace, name, uid=entry.uid)
        else:
            changed = update(existing, obj)
            if changed is not None:
                await _tolerating(client.update(gvr, changed), "Conflict")
            return None
    return await _tolerating(client.create(gvr, obj), "AlreadyExists")


async def _write_status(client: Client, clock: Clock, created: Obj) -> None:
    status = _KINDS[created["kind"]].status
    if status is not None and not created.get("status"):
        created["status"] = status(created, rfc3339(clock.now()))
        await _tolerating(client.update(_gvr(created), created, subresource="status"), "Conflict")


async def _tolerating(write: Awaitable[Obj], reason: str) -> Obj | None:
    """None where another replica was faster: it writes the same."""
    try:
        return await write
    except ApiError as error:
        if error.reason != reason:
            raise
        return None


async def _ensure_config_map(client: Client, name: str, data: Obj, *, update: bool) -> None:
    metadata = {"name": name, "namespace": "kube-system"}
    entry = client.cached(CONFIG_MAPS, "kube-system", name)
    if entry is None:
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        await _tolerating(client.create(CONFIG_MAPS, wanted), "AlreadyExists")
        return
    existing = entry.obj()
    if update and existing.get("data") != data:
        await _tolerating(client.update(CONFIG_MAPS, {**existing, "data": data}), "Conflict")


# --- default/kubernetes -----------------------------------------------------------------------------


def _service(cluster_ip: str, family: str, port: int) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    }


def _service_update(existing: Obj, expected: Obj) -> Obj | None:
    """Only the ports follow: the address of a Service never changes."""
    if existing["spec"].get("ports") == expected["spec"]["ports"]:
        return None
    return {**existing, "spec": {**existing["spec"], "ports": expected["spec"]["ports"]}}


def _endpoints(address: str, port: int) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]},
        ],
    }


def _slice(address: str, port: int) -> Obj:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": f"IPv{ipaddress.ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def _service_cidr_object(cidr: str) -> Obj:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [cidr]},
    }


def _ip_address(cluster_ip: str, family: str) -> Obj:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": cluster_ip,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": family,
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}},
    }


def _replace(*fields: str) -> Reconcile:
    """An update that gives an object these fields as expected."""

    def update(existing: Obj, expected: Obj) -> Obj | None:
        if all(existing.get(field) == expected[field] for field in fields):
            return None
        return {**existing, **{field: expected[field] for field in fields}}

    return update
