"""Services, Endpoints, ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import functools
from typing import Any

from conformance.checks.setting import Failed, Obj, Setting, expect, get, gone, pod, send, until

_READY = {"labels": {"app": "web"}}


def _service(name: str, **spec: Any) -> Obj:
    base: Obj = {"ports": [{"name": "http", "port": 80}], "selector": {"app": "web"}}
    return {"metadata": {"name": name}, "spec": base | spec}


def numbers_are_the_hosts(s: Setting) -> None:
    made = s.create("services", _service("svc", type="LoadBalancer", externalTrafficPolicy="Local"))
    spec = made["spec"]
    if not spec.get("clusterIP") or not spec["ports"][0].get("nodePort") or not spec.get("healthCheckNodePort"):
        raise Failed(f"numbers are missing in the answer to the creation: {spec}")
    if s.below:
        twin = until(lambda: s.host.find("services", "svc", s.namespace), lambda x: True, "the host Service")
        for key in ("clusterIP", "healthCheckNodePort"):
            expect(twin["spec"].get(key), spec[key], f"{key} on the host")
        ports = [[p.get("nodePort") for p in x["spec"]["ports"]] for x in (twin, made)]
        expect(ports[0], ports[1], "nodePorts on the host")


def kind_and_version_may_be_left_out(s: Setting) -> None:
    path = f"/api/v1/namespaces/{s.namespace}/services"
    expect(s.send("POST", path, _service("bare"))["kind"], "Service", "kind of the answer")
    if s.below:
        until(lambda: s.host.find("services", "bare", s.namespace), lambda x: True, "the host Service")


def status_is_patched_and_replaced(s: Setting) -> None:
    s.create("services", _service("svc", type="LoadBalancer"))
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    s.patch("services", "svc/status", {**ingress, "metadata": {"annotations": {"patched": "yes"}}})
    seen = s.get("services", "svc") or {}
    expect(seen["metadata"]["annotations"].get("patched"), "yes", "annotation patched through /status")
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a check"}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    seen["status"]["conditions"] = [condition]
    del seen["metadata"]["resourceVersion"]  # others may write to the Service, and that is no conflict to be shown here
    path = f"/api/v1/namespaces/{s.namespace}/services/svc/status"
    expect(s.send("PUT", path, seen)["status"]["conditions"][0]["reason"], "E2E", "condition replaced through /status")


def headless_is_headless_on_both_sides(s: Setting) -> None:
    made = s.create("services", _service("headless", clusterIP="None") | {"metadata": {"name": "headless", **_READY}})
    expect(made["spec"]["clusterIP"], "None", "clusterIP")
    if s.below:
        twin = until(lambda: s.host.find("services", "headless", s.namespace), lambda x: True, "the host Service")
        expect(twin["spec"]["clusterIP"], "None", "clusterIP on the host")
        expect(twin["metadata"]["labels"].get("app"), "web", "label app on the host")


def deletion_removes_it_on_both_sides(s: Setting) -> None:
    s.create("services", _service("svc"))
    s.delete("services", "svc")
    gone(lambda: s.get("services", "svc"), "the Service")
    if s.below:
        gone(lambda: s.host.find("services", "svc", s.namespace), "the host Service")


def endpoints_hold_the_ready_pods(s: Setting) -> None:
    s.create("services", _service("svc"))
    address = s.running(pod("web", labels={"app": "web"}))["status"]["podIP"]

    def addresses() -> list[str]:
        subsets = (s.get("endpoints", "svc") or {}).get("subsets") or ()
        return [a["ip"] for subset in subsets for a in subset.get("addresses", ())]

    def in_slices() -> list[str]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{s.namespace}/endpointslices"
        slices = s.send("GET", f"{path}?labelSelector=kubernetes.io/service-name=svc")["items"]
        return [a for x in slices for e in x.get("endpoints") or () for a in e["addresses"]]

    until(addresses, lambda seen: seen == [address], f"Endpoints to hold {address}")
    until(in_slices, lambda seen: seen == [address], f"the EndpointSlice to hold {address}")
    s.delete("pods", "web")
    until(addresses, lambda seen: seen == [], "Endpoints to be empty")
    until(in_slices, lambda seen: seen == [], "the EndpointSlice to be empty")


def endpoints_without_selector_reach_the_host(s: Setting) -> None:
    host = s.host
    subsets = [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "http", "port": 80}]}]
    s.create("endpoints", {"metadata": {"name": "outside"}, "subsets": subsets})
    s.create("services", {"metadata": {"name": "outside"}, "spec": {"ports": [{"name": "http", "port": 80}]}})
    name = host.name("outside", s.namespace)
    path = f"/apis/discovery.k8s.io/v1/namespaces/{host.namespace}/endpointslices"

    def there() -> list[str]:
        return [a for x in _slices(s, path, name) for e in x.get("endpoints") or () for a in e["addresses"]]

    until(there, lambda seen: "192.0.2.7" in seen, "a slice of the host Service to hold the address")
    s.delete("services", "outside")
    gone(lambda: host.find("services", "outside", s.namespace), "the host Service")


def _slices(s: Setting, path: str, service: str) -> list[Obj]:
    query = f"{path}?labelSelector=kubernetes.io/service-name={service}"
    found: list[Obj] = send(s.host.api, "GET", query, None)["items"]
    return found


def its_edits_reach_the_host_copy(s: Setting) -> None:
    host = s.host
    s.create("configmaps", {"metadata": {"name": "config"}, "data": {"key": "old"}})
    s.create("secrets", {"metadata": {"name": "secret"}, "stringData": {"key": "old"}})
    volumes = [{"name": "m", "configMap": {"name": "config"}}, {"name": "s", "secret": {"secretName": "secret"}}]
    s.running(pod("reader", volumes=volumes))
    s.patch("configmaps", "config", {"data": {"key": "new"}})
    s.patch("secrets", "secret", {"stringData": {"key": "new"}})
    encoded = base64.b64encode(b"new").decode()
    for plural, name, wanted in (("configmaps", "config", "new"), ("secrets", "secret", encoded)):
        look = functools.partial(host.find, plural, name, s.namespace)
        until(look, functools.partial(_holds, wanted), f"the edit in the host's {plural}")


def _holds(wanted: str, obj: Obj) -> bool:
    return bool(obj["data"]["key"] == wanted)


def what_nobody_refers_to_stays_here(s: Setting) -> None:
    host = s.host
    s.create("configmaps", {"metadata": {"name": "unused"}, "data": {"key": "value"}})
    s.running(pod("web"))  # by then it would have come
    expect(host.find("configmaps", "unused", s.namespace), None, "a host copy of a ConfigMap that no pod refers to")


def every_namespace_trusts_the_server(s: Setting) -> None:
    found = until(lambda: s.get("configmaps", "kube-root-ca.crt"), lambda x: True, "ConfigMap kube-root-ca.crt")
    if "BEGIN CERTIFICATE" not in found["data"]["ca.crt"]:
        raise Failed("ca.crt holds no certificate")


def it_goes_with_its_namespace(s: Setting) -> None:
    other = f"{s.namespace}-b"
    s.send("POST", "/api/v1/namespaces", {"metadata": {"name": other}})
    s.made.append(f"/api/v1/namespaces/{other}")
    s.create("secrets", {"metadata": {"name": "same"}, "stringData": {"key": "b"}}, namespace=other)
    s.create("secrets", {"metadata": {"name": "same"}, "stringData": {"key": "a"}})
    s.send("DELETE", f"/api/v1/namespaces/{other}", {})
    gone(lambda: _namespace(s, other), f"namespace {other}")
    kept = s.get("secrets", "same") or {}
    expect(kept.get("data", {}).get("key"), base64.b64encode(b"a").decode(), "the Secret of the same name elsewhere")


def _namespace(s: Setting, name: str) -> Obj | None:
    return get(s.api, f"/api/v1/namespaces/{name}")
