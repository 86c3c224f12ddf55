"""Requests about Services, to be sent to a host and to a virtual cluster on it: both must answer the same.

`Step` is one request. Names that begin with `$` are numbers that each side has of its own (`NUMBERS`): both sides
take them from the same host.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]

NAMESPACE = "service-scenarios"
ROOT = f"/api/v1/namespaces/{NAMESPACE}/services"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
DRY = "?dryRun=All"


@dataclass(frozen=True, slots=True)
class Step:
    """`body`: what is sent; a function: of what is stored, for a PUT."""

    method: str
    path: str
    body: Obj | Callable[[Obj], Obj] | bytes | None = None
    content_type: str = "application/json"

    def told(self) -> str:
        return f"{self.method} {self.path.removeprefix(ROOT)} {self.body if isinstance(self.body, dict) else ''}"


def service(name: str, **spec: Any) -> Obj:
    metadata = {"generateName": name} if name.endswith("-") else {"name": name}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def post(name: str, query: str = "", **spec: Any) -> Step:
    return Step("POST", f"{ROOT}{query}", service(name, **spec))


def put(name: str, query: str = "", **changes: Any) -> Step:
    """What is stored with these fields of its spec; None takes one away."""

    def change(stored: Obj) -> Obj:
        spec = {**stored["spec"], **changes}
        return {**stored, "spec": {key: value for key, value in spec.items() if value is not None}}

    return Step("PUT", f"{ROOT}/{name}{query}", change)


def put_alone(name: str, **spec: Any) -> Step:
    """As somebody does who keeps a file: only the version is what is stored."""

    def change(stored: Obj) -> Obj:
        sent = service(name, **spec)
        sent["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        return sent

    return Step("PUT", f"{ROOT}/{name}", change)


def patch(name: str, body: Obj, content_type: str = STRATEGIC, where: str = "") -> Step:
    return Step("PATCH", f"{ROOT}/{name}{where}", body, content_type)


def spec_patch(name: str, content_type: str = STRATEGIC, where: str = "", **spec: Any) -> Step:
    return patch(name, {"spec": spec}, content_type, where)


def apply(name: str, query: str = "?fieldManager=m&force=true", **spec: Any) -> Step:
    return Step("PATCH", f"{ROOT}/{name}{query}", service(name, **spec), APPLY)


def get(name: str) -> Step:
    return Step("GET", f"{ROOT}/{name}")


def delete(name: str) -> Step:
    return Step("DELETE", f"{ROOT}/{name}")


def _conditions(stored: Obj) -> Obj:
    condition = {
        "type": "T", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2024-01-01T00:00:00Z",
    }  # fmt: skip
    return {**copy.deepcopy(stored), "status": {**stored["status"], "conditions": [condition]}}


ONE = [{"port": 80}]
TWO = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
PORTS = ("$port1", "$port2")
SAME = [{"name": n, "port": 53, "protocol": p} for n, p in (("t", "TCP"), ("u", "UDP"), ("s", "SCTP"))]
AB = {"a": "b"}
NAMED = {"type": "ExternalName", "externalName": "example.com"}
RAW = b'{"metadata":{"name":"x","labels":{"a":"b"}},"spec":{"ports":[{"port":80}],"type":"LoadBalancer"}}'


def asks(name: str, number: str, **spec: Any) -> Step:
    return post(name, type="NodePort", ports=[{"port": 80, "nodePort": number}], **spec)


NUMBERS: Mapping[str, Mapping[str, Any]] = {
    "host": {"$port1": 31901, "$port2": 31902, "$ip1": "10.96.200.1"},
    "tenant": {"$port1": 31903, "$port2": 31904, "$ip1": "10.96.200.3"},
}

SCENARIOS: Mapping[str, tuple[Step, ...]] = {
    "an address": (post("x", ports=ONE, selector=AB), get("x")),
    "a node port": (post("x", ports=ONE, type="NodePort"), get("x")),
    "a node port asked for": (
        asks("x", "$port1"), asks("y", "$port1"), get("y"),
        post("y", DRY, type="NodePort", ports=[{"port": 80, "nodePort": "$port1"}]),
    ),
    "two node ports asked for": (
        *(
            post(name, type="NodePort", ports=[{**p, "nodePort": n} for p, n in zip(TWO, PORTS, strict=True)])
            for name in ("x", "y")
        ),
    ),
    "a node port out of range": (asks("x", 80),),  # type: ignore[arg-type]
    "an address asked for": (
        post("x", ports=ONE, clusterIP="$ip1"), post("y", ports=ONE, clusterIP="$ip1"),
        delete("x"), post("x", ports=ONE, clusterIP="$ip1"), delete("x"), post("y", ports=ONE, clusterIP="$ip1"),
    ),
    "an address that cannot be": (
        post("x", ports=ONE, clusterIP="192.168.4.4"), post("x", ports=ONE, clusterIP="bad"),
        post("x", ports=ONE, clusterIP="fd00::1"),
    ),
    "families": (
        post("x", ports=ONE, ipFamilyPolicy="PreferDualStack"), post("y", ports=ONE, ipFamilyPolicy="RequireDualStack"),
        post("z", ports=ONE, ipFamilies=["IPv6"]), post("w", ports=ONE, ipFamilies=["IPv4", "IPv6"]),
        post("v", ports=ONE, ipFamilies=["IPv4"]),
    ),
    "families that change": (
        post("x", ports=ONE), spec_patch("x", ipFamilyPolicy="PreferDualStack"),
        spec_patch("x", ipFamilyPolicy="RequireDualStack"), spec_patch("x", ipFamilyPolicy="SingleStack"),
    ),
    "headless": (
        post("x", ports=ONE, clusterIP="None", selector=AB), get("x"), post("y", ports=ONE, clusterIP="None"),
        post("z", clusterIP="None", selector=AB), post("w", ports=ONE, clusterIP="None", type="NodePort"),
        post("v", ports=ONE, clusterIPs=["None"], clusterIP="None"), post("u", ports=ONE, clusterIPs=["None"]),
    ),
    "headless with families": (
        post("x", clusterIP="None", selector=AB, ipFamilyPolicy="PreferDualStack"),
        post("y", clusterIP="None", selector=AB, ipFamilyPolicy="RequireDualStack"),
        post("z", clusterIP="None", ipFamilyPolicy="PreferDualStack"),
        post("w", clusterIP="None", selector=AB, ipFamilies=["IPv6"]),
        post("v", clusterIP="None", ipFamilies=["IPv6"]), post("u", clusterIP="None", ipFamilyPolicy="SingleStack"),
    ),
    "an external name": (
        post("x", **NAMED), get("x"), post("y", **NAMED, ports=ONE), post("z", type="ExternalName"),
        post("w", **NAMED, clusterIP="$ip1"),
    ),
    "load balancers": (
        post("x", ports=ONE, type="LoadBalancer"),
        post("y", ports=ONE, type="LoadBalancer", externalTrafficPolicy="Local"),
        post("z", ports=ONE, type="LoadBalancer", allocateLoadBalancerNodePorts=False),
        post("w", ports=ONE, type="LoadBalancer", loadBalancerClass="example.com/lb"),
        post("v", ports=ONE, type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"], loadBalancerIP="1.2.3.4"),
    ),
    "a health check port": (
        *(
            post(name, ports=ONE, type="LoadBalancer", externalTrafficPolicy=policy, healthCheckNodePort="$port1")
            for name, policy in (("y", "Local"), ("z", "Local"), ("w", "Cluster"))
        ),
    ),
    "a health check port that comes and goes": (
        post("y", ports=ONE, type="LoadBalancer", externalTrafficPolicy="Local"),
        spec_patch("y", externalTrafficPolicy="Cluster"), spec_patch("y", externalTrafficPolicy="Local"),
        put("y", healthCheckNodePort=None), put("y", healthCheckNodePort=31234),
    ),
    "a load balancer without node ports": (
        post("z", ports=ONE, type="LoadBalancer", allocateLoadBalancerNodePorts=False),
        spec_patch("z", allocateLoadBalancerNodePorts=True), spec_patch("z", allocateLoadBalancerNodePorts=False),
        spec_patch("z", ports=[{"port": 80, "nodePort": 0}]), put("z", ports=ONE), put("z", ports=[{"port": 81}]),
    ),
    "a load balancer's class": (
        post("z", ports=ONE, type="LoadBalancer", loadBalancerClass="example.com/lb"),
        spec_patch("z", loadBalancerClass="example.com/other"),
        spec_patch("z", type="ClusterIP", loadBalancerClass=None),
    ),
    "session affinity": (
        post("x", ports=ONE, sessionAffinity="ClientIP"),
        post("y", ports=ONE, sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 7}}),
        spec_patch("y", sessionAffinity="None"),
        spec_patch("y", MERGE, sessionAffinity="None", sessionAffinityConfig=None),
    ),
    "several ports and protocols": (
        post("x", ports=SAME), post("y", type="NodePort", ports=SAME),
        post("z", type="NodePort", ports=[{**p, "nodePort": "$port1"} for p in SAME[:2]]),
        post("w", type="NodePort", ports=[{**SAME[0], "nodePort": "$port2"}, SAME[1]]),
        post("v", ports=[{"name": "t", "port": 53, "targetPort": "dns", "appProtocol": "kubernetes.io/h2c"}]),
    ),
    "ports that change": (
        post("y", type="NodePort", ports=TWO), spec_patch("y", ports=[{"name": "c", "port": 82}]),
        put("y", ports=[*TWO, {"name": "c", "port": 82}]), put("y", ports=TWO[::-1]),
        put("y", ports=[{"name": "b", "port": 181}]), put("y", ports=[{"name": "x", "port": 181}]),
        put("y", ports=[{"name": "x", "port": 181, "nodePort": "$port1"}]),
        put("y", ports=[
            {"name": "x", "port": 181, "nodePort": "$port2"}, {"name": "y", "port": 182, "nodePort": "$port1"},
        ]),
        put("y", ports=[
            {"name": "x", "port": 181, "nodePort": "$port1"}, {"name": "y", "port": 182, "nodePort": "$port2"},
        ]),
        put("y", ports=[
            {"name": "x", "port": 181, "nodePort": "$port1"},
            {"name": "y", "port": 182, "protocol": "UDP", "nodePort": "$port1"},
        ]),
        put("y", ports=[]),
    ),
    "types, patched": (
        post("x", ports=ONE, selector=AB),
        *(spec_patch("x", type=kind) for kind in ("NodePort", "LoadBalancer", "NodePort", "ClusterIP")),
        spec_patch("x", **NAMED), spec_patch("x", type="ClusterIP"), spec_patch("x", **NAMED),
        spec_patch("x", type="NodePort", externalName=None), spec_patch("x", MERGE, **NAMED, ports=None),
        spec_patch("x", type="LoadBalancer"), spec_patch("x", type="LoadBalancer", ports=ONE),
    ),
    "types, replaced": (
        post("x", ports=ONE, selector=AB), put_alone("x", type="NodePort", ports=ONE),
        put_alone("x", type="LoadBalancer", ports=ONE), put_alone("x", ports=ONE), put_alone("x", **NAMED),
        put_alone("x", type="NodePort", ports=ONE),
    ),
    "an address that would change": (
        post("x", ports=ONE), spec_patch("x", clusterIP="None"), spec_patch("x", clusterIP="None", clusterIPs=["None"]),
        spec_patch("x", clusterIP="$ip1", clusterIPs=["$ip1"]), spec_patch("x", MERGE, clusterIP=None),
        spec_patch("x", MERGE, clusterIP="", clusterIPs=None),
        post("h", ports=ONE, clusterIP="None", selector=AB), spec_patch("h", clusterIP="$ip1", clusterIPs=["$ip1"]),
        spec_patch("h", MERGE, clusterIP=None), spec_patch("h", type="NodePort"),
        spec_patch("h", type="ExternalName", externalName="a.b"),
        spec_patch("h", MERGE, type="ExternalName", externalName="a.b", clusterIP=None, clusterIPs=None),
        spec_patch("h", type="ClusterIP", clusterIP="None"),
    ),
    "external addresses": (
        post("x", ports=ONE, externalIPs=["1.2.3.4"]), post("y", ports=ONE, externalIPs=["127.0.0.1"]),
        post("z", ports=ONE, externalIPs=["1.2.3.4"], externalTrafficPolicy="Local"),
        spec_patch("x", MERGE, externalIPs=None),
    ),
    "traffic": (
        post(
            "x", ports=ONE, internalTrafficPolicy="Local", trafficDistribution="PreferClose",
            publishNotReadyAddresses=True,
        ),
        post("y", ports=ONE, trafficDistribution="PreferSameNode"), post("z", ports=ONE, trafficDistribution="bad"),
        post("w", type="NodePort", ports=ONE, externalTrafficPolicy="Local"),
        spec_patch("y", internalTrafficPolicy="Local"), spec_patch("y", MERGE, trafficDistribution=None),
    ),
    "server-side apply": (
        apply("x", ports=ONE, selector=AB), apply("x", ports=ONE, selector=AB),
        apply("x", type="NodePort", ports=ONE, selector=AB),
        apply("x", type="NodePort", ports=[{"port": 80, "nodePort": "$port1"}], selector=AB),
        apply("x", type="NodePort", ports=[{"port": 80, "protocol": "TCP"}, {"port": 81, "name": "q"}]),
        apply("x", ports=ONE), get("x"), apply("y", "?fieldManager=m&dryRun=All", ports=ONE), get("y"),
    ),
    "a generated name": (post("generated-", ports=ONE, type="NodePort"),),
    "dry runs": (
        post("x", DRY, ports=ONE, type="NodePort"), get("x"), post("x", ports=ONE),
        spec_patch("x", where=DRY, type="NodePort"), get("x"),
        spec_patch("x", where=DRY, type="LoadBalancer", externalTrafficPolicy="Local"),
        Step("DELETE", f"{ROOT}/x{DRY}"), get("x"), post("y", DRY, ports=ONE, clusterIP="192.168.1.1"),
        post("y", DRY, type="NodePort", ports=[{"port": 80, "nodePort": 1}]), post("y", DRY, clusterIP="None"),
    ),
    "a PUT of what is not there": (Step("PUT", f"{ROOT}/x", service("x", ports=ONE)),),
    "no kind, and the status": (  # SVC-4 to SVC-8
        Step("POST", ROOT, RAW), get("x"), Step("GET", f"{ROOT}/x/status"),
        patch("x", {"metadata": {"annotations": {"p": "1"}}}, MERGE, "/status"),
        Step("PUT", f"{ROOT}/x/status", _conditions), patch("x", {"metadata": {"labels": {"l": "1"}}}, MERGE),
        Step("DELETE", f"{ROOT}?labelSelector=a%3Db"), get("x"),
    ),
    "what is invalid": (
        post("x", ports=[{"port": 0}]), post("x", ports=[{"port": 80}, {"port": 81}]), post("x"), post("UP", ports=ONE),
        post("x", ports=ONE, type="Foo"), post("9x", ports=ONE), post("x", ports=[{"port": 80, "nodePort": "$port1"}]),
        post("n" * 63, ports=ONE), post("n" * 64, ports=ONE),
    ),
    "a name that is taken": (
        post("x", ports=ONE), post("x", ports=ONE), post("x", ports=ONE, type="NodePort"), get("x"),
    ),
    "updates of nothing": (post("x", ports=ONE), put("x"), put_alone("x", ports=ONE)),
}  # fmt: skip
