"""Nodes: which of the host's a tenant sees, and what of them is its own."""

from __future__ import annotations

from typing import Any

from conformance.checks.setting import (
    CORE,
    LONG_S,
    MERGE_PATCH,
    Failed,
    Obj,
    Setting,
    expect,
    get,
    gone,
    is_ready,
    pod,
    send,
    stays,
    until,
)

NODES = f"{CORE}/nodes"
POOL = "conformance.example.com/pool"
"""Label and taint that `dedicated-nodes` asks for, with the value `dedicated`."""


def nodes(api: Any) -> dict[str, Obj]:
    return {n["metadata"]["name"]: n for n in (get(api, NODES) or {"items": []})["items"]}


def every_node_has_an_address(s: Setting) -> None:
    found = nodes(s.api)
    if not found:
        raise Failed("there is no node")
    for name, node in found.items():
        types = [a["type"] for a in node["status"].get("addresses", ())]
        if "InternalIP" not in types:
            raise Failed(f"node {name} has no InternalIP: {types}")


def it_runs_on_a_node_that_is_there(s: Setting) -> None:
    node = s.running(pod("web"))["spec"].get("nodeName", "")
    if get(s.api, f"{NODES}/{node}") is None:
        raise Failed(f"the pod says it runs on {node!r}, which is no node")


def all_of_the_host_are_seen(s: Setting) -> None:
    other = s.beside("all-nodes")

    def both() -> list[dict[str, Any]]:
        sides = nodes(other.api), nodes(other.host.api)
        return [{n: _without_ours(x["metadata"].get("labels") or {}) for n, x in side.items()} for side in sides]

    until(both, lambda two: two[0] == two[1] and bool(two[0]), "nodes and their labels to be those of the host")


def _without_ours(labels: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in labels.items() if "vapi.dev/" not in k and "vcluster.loft.sh/" not in k}


def fake_node(s: Setting, name: str) -> Obj:
    """A node of the host that nobody stands behind: dedicated, tainted, ready for the first 40 s, then not."""
    taint = {"key": POOL, "value": "dedicated", "effect": "NoSchedule"}
    labels = {POOL: "dedicated", "kubernetes.io/hostname": name}
    made = s.create_below(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}})
    room = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi"}
    status = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}],
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "192.0.2.250"}],
    }
    send(s.host.api, "PATCH", f"{NODES}/{name}/status", {"status": status}, content_type=MERGE_PATCH)
    return made


def only_those_with_the_label_are_seen_and_used(s: Setting) -> None:
    """Whatever the tenant writes."""
    other = s.beside("dedicated-nodes")
    name = f"{s.namespace}-fake"
    fake_node(s, name)
    until(lambda: sorted(nodes(other.api)), lambda seen: seen == [name], f"the tenant's nodes to be {name} alone")
    other.create("pods", pod("free"))
    other.create("pods", pod("wilful", nodeSelector={POOL: "other"}, tolerations=[{"operator": "Exists"}]))

    def node() -> str:
        twin = other.host.find("pods", "free", other.namespace) or {"spec": {}}
        return str(twin["spec"].get("nodeName", ""))

    until(node, lambda seen: seen == name, "the host pod to be placed on the dedicated node", LONG_S)

    def elsewhere() -> list[str]:
        used = [p["spec"].get("nodeName", name) for p in other.host.all("pods")]
        return [node for node in used if node != name]

    stays(elsewhere, lambda found: not found, "that no pod of the tenant is on another node")
    send(s.host.api, "DELETE", f"{NODES}/{name}", {})
    until(
        lambda: sorted(nodes(other.api)),
        lambda seen: not seen,
        "the node that is gone to be gone in the tenant",
        LONG_S,
    )
    gone(lambda: other.get("pods", "free"), "the pod of the node that is gone")


def taint_of_a_virtual_node_stays_with_the_tenant(s: Setting) -> None:
    other = s.beside("virtual-nodes")
    name, here = _used(other)
    taint = {"key": f"{s.namespace}.example.com/mine", "value": "yes", "effect": "NoSchedule"}
    before: list[Obj] = nodes(other.api)[name]["spec"].get("taints") or []
    path = f"{NODES}/{name}"
    send(other.api, "PATCH", path, {"spec": {"taints": [*before, taint]}}, content_type=MERGE_PATCH)
    try:
        tolerations = [{"key": taint["key"], "operator": "Exists"}]
        other.running(pod("tolerant", nodeSelector=here, tolerations=tolerations))
        other.create("pods", pod("intolerant", nodeSelector=here))
        stays(
            lambda: (other.get("pods", "intolerant") or {})["status"].get("phase"),
            lambda phase: phase == "Pending",
            "that the pod which does not tolerate the taint is pending",
        )
        until(lambda: other.events(of="intolerant", reason="FailedScheduling"), bool, "the event FailedScheduling")
        theirs = nodes(other.host.api)[name]["spec"].get("taints") or ()
        expect(taint in theirs, False, f"the tenant's taint on node {name} of the host")
    finally:
        send(other.api, "PATCH", path, {"spec": {"taints": before}}, content_type=MERGE_PATCH)
    until(lambda: other.get("pods", "intolerant"), is_ready, "the other pod to run once the taint is gone", LONG_S)


def label_of_a_virtual_node_stays_with_the_tenant(s: Setting) -> None:
    other, key = s.beside("virtual-nodes"), f"{s.namespace}.example.com/mine"
    name, _ = _used(other)
    path = f"{NODES}/{name}"
    send(other.api, "PATCH", path, {"metadata": {"labels": {key: "yes"}}}, content_type=MERGE_PATCH)
    try:
        seen = other.running(pod("web", nodeSelector={key: "yes"}))
        expect(seen["spec"]["nodeName"], name, "the node of a pod that selects the tenant's label")
        expect(key in (nodes(other.host.api)[name]["metadata"]["labels"]), False, "the tenant's label on the host")
    finally:
        send(other.api, "PATCH", path, {"metadata": {"labels": {key: None}}}, content_type=MERGE_PATCH)


def _used(other: Setting) -> tuple[str, dict[str, str]]:
    """A node that runs pods, which those that other checks make do not, and what selects it."""
    name = str(other.running(pod("first"))["spec"]["nodeName"])
    key = "kubernetes.io/hostname"
    return name, {key: nodes(other.api)[name]["metadata"]["labels"][key]}


def host_port_clash_is_told_in_the_tenants_names(s: Setting) -> None:
    """Two tenants want one port of one node: the second waits, and reads why."""
    port = _free_port(s)
    _clash(s, {"ports": [{"containerPort": 80, "hostPort": port}]})


def host_network_clash_is_told_in_the_tenants_names(s: Setting) -> None:
    _clash(s, {"ports": [{"containerPort": _free_port(s)}]}, hostNetwork=True)


def _free_port(s: Setting) -> int:
    """Below those of NodePorts, and of this check alone."""
    return 20_000 + int(s.namespace.removeprefix("check-"), 36) % 9_000


def _clash(s: Setting, asked: Obj, **spec: Any) -> None:
    s.containers()
    other = s.beside("plain")
    first = s.running(pod("web", container=asked, **spec))
    node = nodes(s.host.api)[first["spec"]["nodeName"]]
    same_node = {"kubernetes.io/hostname": node["metadata"]["labels"]["kubernetes.io/hostname"]}
    other.create("pods", pod("web", container=asked, nodeSelector=same_node, **spec))
    told = until(lambda: other.events(of="web", reason="FailedScheduling"), bool, "the event FailedScheduling", LONG_S)[
        -1
    ]["message"]
    if "port" not in told or "-x-" in told or other.host.namespace in told or s.host.namespace in told:
        raise Failed(f"the event does not tell of the port in the tenant's names: {told}")
    expect((other.get("pods", "web") or {})["status"]["phase"], "Pending", "phase of the second pod")
    s.delete("pods", "web")
    until(lambda: other.get("pods", "web"), is_ready, "the second pod to run once the port is free", LONG_S)
