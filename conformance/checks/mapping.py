"""Single Services that cross the border: a host's in the tenant, a tenant's under a name of the host.

On a cluster `service-mapping`, which maps FROM of the host to `default` of the tenant, and TO of the tenant to HOSTNS.
"""

from __future__ import annotations

from kubernetes import client

from conformance.checks.setting import (
    APPS,
    CORE,
    LONG_S,
    MERGE_PATCH,
    Failed,
    Obj,
    Setting,
    expect,
    get,
    gone,
    pod,
    send,
    until,
)

VARIANT = "service-mapping"
FROM, TO = "conformance-from", "conformance-to"
"""Namespaces of the sources: of the host, and of the tenant. Each has a Service `plain` and one `headless`."""
_PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def from_the_host(s: Setting) -> None:
    other = s.beside(VARIANT)
    _sources(other, other.host.api, FROM, other.made_below)
    plain = until(lambda: get(other.api, _service("default", "plain")), lambda x: True, "the Service in the tenant")
    expect([p["port"] for p in plain["spec"]["ports"]], [80], "its ports")
    source = get(other.host.api, _service(FROM, "plain")) or {}
    until(
        lambda: _ips(other.api, "default", "plain"), lambda seen: seen == [source["spec"]["clusterIP"]], "its address"
    )
    for replicas in (2, 0, 2):
        _scale(other.host.api, FROM, replicas)
        until(lambda n=replicas: _both(other, n), bool, f"the {replicas} addresses of the headless one", LONG_S)  # type: ignore[misc]
    send(other.host.api, "DELETE", _service(FROM, "plain"), {})
    gone(lambda: get(other.api, _service("default", "plain")), "the Service whose source is gone")
    gone(lambda: get(other.api, f"{CORE}/namespaces/default/endpoints/plain"), "its Endpoints")


def _both(other: Setting, replicas: int) -> bool:
    here, there = _ips(other.api, "default", "headless"), _ips(other.host.api, FROM, "headless")
    return here == there and len(there) == replicas


def to_the_host(s: Setting) -> None:
    """Under the names `from-tenant` and `from-tenant-headless`."""
    other = s.beside(VARIANT)
    host = other.host
    _sources(other, other.api, TO, other.made)
    plain = until(lambda: get(host.api, _service(host.namespace, "from-tenant")), lambda x: True, "the host Service")
    expect([p["port"] for p in plain["spec"]["ports"]], [80], "its ports")
    selector: dict[str, str] = plain["spec"]["selector"]
    if selector.get("app") != "source" or TO not in selector.values() or len(selector) != 3:
        raise Failed(f"its selector is not the tenant's, the namespace and the virtual cluster: {selector}")
    for replicas in (2, 0, 2):
        _scale(other.api, TO, replicas)

        def same(wanted: int = replicas) -> bool:
            sides = _ips(other.api, TO, "headless"), _ips(host.api, host.namespace, "from-tenant-headless")
            return sides[0] == sides[1] and len(sides[0]) == wanted

        until(same, bool, f"the {replicas} addresses of the headless one on both sides", LONG_S)
    send(other.api, "DELETE", _service(TO, "plain"), {})
    gone(lambda: get(host.api, _service(host.namespace, "from-tenant")), "the host Service whose source is gone")


def _sources(other: Setting, api: client.ApiClient, namespace: str, made: list[str]) -> None:
    path = f"{CORE}/namespaces/{namespace}"
    gone(lambda: get(api, path), f"namespace {namespace} of an earlier run")
    send(api, "POST", f"{CORE}/namespaces", {"metadata": {"name": namespace}})
    made.append(path)
    until(lambda: get(api, f"{path}/serviceaccounts/default"), lambda x: True, "the default service account")
    template = {"metadata": {"labels": {"app": "source"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "source"}}, "template": template}
    send(api, "POST", f"{APPS}/namespaces/{namespace}/deployments", {"metadata": {"name": "source"}, "spec": spec})
    for name, more in (("plain", {}), ("headless", {"clusterIP": "None"})):
        service = {"metadata": {"name": name}, "spec": {"ports": _PORTS, "selector": {"app": "source"}, **more}}
        send(api, "POST", f"{path}/services", service)
    until(lambda: _ips(api, namespace, "headless"), lambda seen: len(seen) == 2, "the sources to be ready", LONG_S)


def _service(namespace: str, name: str) -> str:
    return f"{CORE}/namespaces/{namespace}/services/{name}"


def _scale(api: client.ApiClient, namespace: str, replicas: int) -> None:
    path = f"{APPS}/namespaces/{namespace}/deployments/source"
    send(api, "PATCH", path, {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)


def _ips(api: client.ApiClient, namespace: str, service: str) -> list[str]:
    found: Obj = get(api, f"{CORE}/namespaces/{namespace}/endpoints/{service}") or {}
    return sorted(a["ip"] for x in found.get("subsets") or () for a in x.get("addresses") or ())
