"""Services, their numbers and their status; Endpoints and EndpointSlices."""

from __future__ import annotations

import json
from typing import Any

from conformance.checks.setting import (
    CORE,
    MERGE_PATCH,
    Failed,
    Host,
    Obj,
    Setting,
    expect,
    get,
    gone,
    pod,
    refused,
    send,
    until,
)


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
    keys = {"labels": {"app": "web"}, "annotations": {"example.com/note": "mine"}}
    made = s.create("services", _service("headless", clusterIP="None") | {"metadata": {"name": "headless", **keys}})
    expect(made["spec"]["clusterIP"], "None", "clusterIP")
    if s.below:
        twin = until(lambda: s.host.find("services", "headless", s.namespace), lambda x: True, "the host Service")
        expect(twin["spec"]["clusterIP"], "None", "clusterIP on the host")
        expect(twin["metadata"]["labels"].get("app"), "web", "label app on the host")
        expect(twin["metadata"]["annotations"].get("example.com/note"), "mine", "the annotation on the host")


def changes_reach_the_host(s: Setting) -> None:
    host = s.host
    s.create("services", _service("svc", clusterIP="None"))
    change = {"metadata": {"labels": {"tier": "new"}, "annotations": {"example.com/note": "new"}}}
    s.patch("services", "svc", change | {"spec": {"ports": [{"name": "http", "port": 8080}]}})

    def seen() -> list[Any]:
        twin = host.find("services", "svc", s.namespace) or {"metadata": {}, "spec": {"ports": [{}]}}
        keys = (twin["metadata"].get("labels") or {}, twin["metadata"].get("annotations") or {})
        return [keys[0].get("tier"), keys[1].get("example.com/note"), twin["spec"]["ports"][0].get("port")]

    until(seen, lambda found: found == ["new", "new", 8080], "label, annotation and port on the host")


def watch_sees_its_life(s: Setting) -> None:
    """kubectl's own watch: the change of a label, and DELETED after a deletion by label."""
    s.create("services", _service("svc") | {"metadata": {"name": "svc", "labels": {"kind": "short"}}})
    path = f"{CORE}/namespaces/{s.namespace}/services"
    start = s.send("GET", path)["metadata"]["resourceVersion"]
    s.patch("services", "svc", {"metadata": {"labels": {"patched": "yes"}}})
    s.send("DELETE", f"{path}?labelSelector=kind%3Dshort", {})
    seen = s.watched(f"{path}?watch=1&timeoutSeconds=5&resourceVersion={start}")
    if not any(e["type"] == "MODIFIED" and e["object"]["metadata"]["labels"].get("patched") for e in seen):
        raise Failed(f"the watch does not show the patched label: {[e['type'] for e in seen]}")
    expect(seen[-1]["type"], "DELETED", "the last event of the watch")


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
    ports = [{"name": "http", "port": 80}]
    s.create("services", {"metadata": {"name": "outside"}, "spec": {"clusterIP": "None", "ports": ports}})
    name = host.name("outside", s.namespace)

    def there() -> list[str]:
        return [a for x in _slices(host, name) for e in x.get("endpoints") or () for a in e["addresses"]]

    until(there, lambda seen: "192.0.2.7" in seen, "a slice of the host Service to hold the address")
    endpoints = until(lambda: host.find("endpoints", "outside", s.namespace), lambda x: True, "the host Endpoints")
    expect(endpoints["subsets"][0]["addresses"][0]["ip"], "192.0.2.7", "address of the host Endpoints")
    twin = host.find("services", "outside", s.namespace) or {"spec": {"ports": [{}]}}
    expect(twin["spec"]["ports"][0].get("port"), 80, "port of the host Service")
    s.delete("services", "outside")
    gone(lambda: host.find("services", "outside", s.namespace), "the host Service")
    gone(lambda: host.find("endpoints", "outside", s.namespace), "the host Endpoints")
    gone(lambda: _slices(host, name) or None, "the slices of the host Service")


def server_is_where_the_host_reaches_it(s: Setting) -> None:
    """Of default/kubernetes in the tenant, and of the Service of this virtual cluster on the host."""
    ours = [_addresses(x) for x in _slices(s.host, s.host.cluster)]
    theirs = get(s.api, f"{CORE}/namespaces/default/endpoints/kubernetes") or {}
    addresses = sorted(a["ip"] for x in theirs.get("subsets") or () for a in x.get("addresses") or ())
    expect(addresses, sorted({a for slice_ in ours for a in slice_}), "addresses of Endpoints default/kubernetes")
    ports = {p["name"] for x in theirs["subsets"] for p in x["ports"]}
    expect(sorted(ports), ["https"], "ports of Endpoints default/kubernetes")


def _addresses(slice_: Obj) -> list[str]:
    return [a for e in slice_.get("endpoints") or () for a in e["addresses"]]


def _slices(host: Host, service: str) -> list[Obj]:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{host.namespace}/endpointslices"
    found: list[Obj] = send(host.api, "GET", f"{path}?labelSelector=kubernetes.io/service-name={service}", None)[
        "items"
    ]
    return found


def taken_node_port_is_refused(s: Setting) -> None:
    """A number that another tenant has is answered as any cluster answers it."""
    other = s.beside("plain")
    taken = s.create("services", _service("first", type="NodePort"))["spec"]["ports"][0]["nodePort"]
    asked = _service("second", type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": taken}])
    said = refused(lambda: other.create("services", asked), status=422, text="provided port is already allocated")
    if '"second"' not in said or _foreign(said, other.host):
        raise Failed(f"the refusal is not in the tenant's names: {said}")
    expect(other.get("services", "second"), None, "the Service that was refused")


def _foreign(text: str, host: Host) -> bool:
    return "-x-" in text or host.namespace in text


def every_verb_gives_the_hosts_numbers(s: Setting) -> None:
    """create, apply on both sides, generateName, replace, patch: the answer has what the host gave."""
    text = json.dumps(_service("applied", type="NodePort") | {"apiVersion": "v1", "kind": "Service"})
    for name, how in (("applied", "--server-side"), ("applied2", "--server-side=false")):
        s.kubectl_in(text.replace("applied", name), "apply", how, "-f", "-")
        _same_numbers(s, name)
    generated = _service("", type="NodePort") | {"metadata": {"generateName": "made-"}}
    _same_numbers(s, s.create("services", generated)["metadata"]["name"])
    put = s.create("services", _service("put"))
    put["spec"]["type"] = "NodePort"
    s.send("PUT", f"{CORE}/namespaces/{s.namespace}/services/put", put)
    _same_numbers(s, "put")
    s.create("services", {"metadata": {"name": "alias"}, "spec": {"type": "ExternalName", "externalName": "a.example"}})
    s.patch("services", "alias", {"spec": _service("", type="NodePort")["spec"] | {"externalName": None}})
    _same_numbers(s, "alias")


def its_ports_are_on_the_host(s: Setting) -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "http"},
        {"name": "dns", "port": 53, "targetPort": 1053, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "targetPort": 1053, "protocol": "TCP"},
    ]
    affinity = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90}}}
    s.create("services", _service("svc", ports=ports, **affinity))
    spec = until(lambda: s.host.find("services", "svc", s.namespace), lambda x: True, "the host Service")["spec"]
    expect(spec["ports"], ports, "ports on the host")
    expect({key: spec.get(key) for key in affinity}, affinity, "session affinity on the host")


def _same_numbers(s: Setting, name: str) -> None:
    spec = (s.get("services", name) or {})["spec"]
    twin = until(lambda: s.host.find("services", name, s.namespace), lambda x: True, f"the host Service of {name}")
    for key in ("clusterIP", "clusterIPs"):
        expect(spec.get(key), twin["spec"].get(key), f"{key} of {name}")
    expect(spec["ports"][0].get("nodePort"), twin["spec"]["ports"][0].get("nodePort"), f"nodePort of {name}")
    if not spec["ports"][0].get("nodePort"):
        raise Failed(f"{name} has no nodePort: {spec}")


def load_balancers_status_comes_back(s: Setting) -> None:
    host = s.host
    s.create("services", _service("svc", type="LoadBalancer"))
    until(lambda: host.find("services", "svc", s.namespace), lambda x: True, "the host Service")
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}}
    path = f"{host.path('services', 'svc', s.namespace)}/status"
    send(host.api, "PATCH", path, ingress, content_type=MERGE_PATCH)

    def addresses() -> list[str]:
        status = (s.get("services", "svc") or {})["status"]
        return [x.get("ip", "") for x in status.get("loadBalancer", {}).get("ingress") or ()]

    until(addresses, lambda seen: seen == ["203.0.113.9"], "the load balancer's address in the tenant")
