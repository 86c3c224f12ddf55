"""What changes of a running pod, on either side, and who may change it."""

from __future__ import annotations

from typing import Any

from conformance.checks.pods import comparable
from conformance.checks.setting import (
    CORE,
    IMAGE,
    LONG_S,
    MERGE_PATCH,
    Failed,
    Obj,
    Setting,
    expect,
    is_ready,
    pod,
    send,
    stays,
    until,
)

KEY = "conformance.example.com/team"
GATE = "conformance.example.com/gate"


def ephemeral_container_reaches_it(s: Setting) -> None:
    s.containers()
    s.running(pod("web"))
    s.kubectl("debug", "web", f"--image={IMAGE}", "--container=look", "--target=c", "--", "sleep", "600")

    def states() -> list[Obj]:
        statuses = (s.get("pods", "web") or {})["status"].get("ephemeralContainerStatuses") or ()
        return [x["state"] for x in statuses if x["name"] == "look"]

    until(states, lambda found: any("running" in x for x in found), "the ephemeral container to run", LONG_S)
    expect(s.sh("web", "echo still here"), "still here", "what its first container says")


def readiness_gate_holds_it_back_until_set(s: Setting) -> None:
    s.create("pods", pod("gated", readinessGates=[{"conditionType": GATE}]))
    seen = until(lambda: s.get("pods", "gated"), lambda p: p["status"].get("phase") == "Running", "Running", LONG_S)
    if is_ready(seen):
        raise Failed("ready, though its readiness gate is not set")
    condition = {"type": GATE, "status": "True"}
    path = f"{CORE}/namespaces/{s.namespace}/pods/gated/status"
    change = {"status": {"conditions": [condition]}}
    s.send("PATCH", path, change, content_type="application/strategic-merge-patch+json")
    ready = until(lambda: s.get("pods", "gated"), is_ready, "the pod to be ready once the gate is set", LONG_S)
    if len(ready["status"]["conditions"]) < 5:
        raise Failed(f"conditions of the ready pod: {ready['status']['conditions']}")
    if s.below is None:
        return

    def sides() -> list[Obj]:
        both = (s.get("pods", "gated"), s.host.find("pods", "gated", s.namespace))
        return [comparable(side["status"]) for side in both if side]

    agreed = until(sides, lambda two: two[1:] == two[:1], "the status to be equal on both sides")
    if not any(c["type"] == GATE and c["status"] == "True" for c in agreed[1]["conditions"]):
        raise Failed("the host pod does not have the condition of the gate")


def namespace_labels_are_on_the_host_pod(s: Setting) -> None:
    host = s.host

    def values() -> list[str]:
        found = host.find("pods", "web", s.namespace) or {"metadata": {}}
        return list(found["metadata"].get("labels", {}).values())

    def label(value: str) -> None:
        change = {"metadata": {"labels": {KEY: value}}}
        s.send("PATCH", f"{CORE}/namespaces/{s.namespace}", change, content_type=MERGE_PATCH)

    label("blue")
    s.running(pod("web"))
    until(values, lambda seen: "blue" in seen, "the value of the Namespace's label on the new host pod")
    label("green")
    until(values, lambda seen: "green" in seen, "its new value on the running host pod")


def keys_given_to_the_host_come_from_it(s: Setting) -> None:
    """The keys of the pattern are the host's; others that somebody sets on its copy do not come."""
    other = s.beside("host-keys")
    other.running(pod("web"))
    keys = {KEY: "from-the-host", "example.org/other": "from-the-host"}
    path = other.host.path("pods", "web", other.namespace)
    send(other.host.api, "PATCH", path, {"metadata": {"labels": keys, "annotations": keys}}, content_type=MERGE_PATCH)

    def maps() -> list[dict[str, str]]:
        metadata = (other.get("pods", "web") or {})["metadata"]
        return [metadata.get("labels") or {}, metadata.get("annotations") or {}]

    until(maps, lambda two: all(m.get(KEY) for m in two), "the label and the annotation of the host on the pod")
    stays(maps, lambda two: not any("example.org/other" in m for m in two), "that other keys of the host stay there")


def what_the_host_writes_stays_there(s: Setting) -> None:
    s.running(pod("web", labels={"app": "web"}))
    path = s.host.path("pods", "web", s.namespace)
    change = {"metadata": {"labels": {KEY: "x", "app": "x"}, "annotations": {KEY: "x"}}}
    send(s.host.api, "PATCH", path, change, content_type=MERGE_PATCH)
    until(
        lambda: s.host.find("pods", "web", s.namespace),
        lambda p: p["metadata"]["labels"].get("app") == "web",
        "the tenant's label to be put back on the host pod",
    )

    def maps() -> list[dict[str, str]]:
        metadata = (s.get("pods", "web") or {})["metadata"]
        return [metadata.get("labels") or {}, metadata.get("annotations") or {}]

    stays(maps, lambda two: two[0] == {"app": "web"} and KEY not in two[1], "the tenant's labels and annotations")


def generation_is_observed(s: Setting) -> None:
    s.running(pod("web"))

    def observed() -> int:
        return int((s.get("pods", "web") or {})["status"].get("observedGeneration", 0))

    until(observed, lambda n: n == 1, "status.observedGeneration to be 1", LONG_S)
    added = {"key": KEY, "operator": "Exists", "effect": "NoSchedule"}
    spec: dict[str, Any] = (s.get("pods", "web") or {})["spec"]
    s.patch("pods", "web", {"spec": {"tolerations": [*(spec.get("tolerations") or ()), added]}})
    until(observed, lambda n: n == 2, "status.observedGeneration to be 2 once a toleration was added", LONG_S)


def subdomain_leaves_its_quality_of_service(s: Setting) -> None:
    s.create("services", {"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
    s.running(pod("web", hostname="one", subdomain="web"))
    expect((s.get("pods", "web") or {})["status"]["qosClass"], "BestEffort", "status.qosClass")
    stays(lambda: s.get("pods", "web") or {}, is_ready, "that the pod is ready")
    if told := [e["message"] for e in s.events(of="web") if "qosClass" in e.get("message", "")]:
        raise Failed(f"an event speaks of qosClass: {told[0]}")
