"""Pods: they run, they are told the same on both sides, and what they refer to reaches them."""

from __future__ import annotations

import functools

from conformance.checks.setting import LONG_S, Failed, Obj, Setting, expect, get, gone, is_ready, pod, send, until


def runs_and_both_sides_agree(s: Setting) -> None:
    s.running(pod("web"))
    if s.below is None:
        return

    def statuses() -> list[Obj]:
        sides = (s.get("pods", "web"), s.host.find("pods", "web", s.namespace))
        return [comparable(side["status"]) for side in sides if side]

    until(statuses, lambda sides: sides[1:] == sides[:1], "the status to be equal on both sides")


def comparable(status: Obj) -> Obj:
    """Without qosClass, which may differ, and observedGeneration, which counts each side's own generations."""
    conditions = [{k: v for k, v in c.items() if k != "observedGeneration"} for c in status.get("conditions", ())]
    kept = {k: v for k, v in status.items() if k not in ("qosClass", "observedGeneration")}
    return kept | {"conditions": sorted(conditions, key=lambda c: str(c["type"]))}


def is_scheduled_with_an_event(s: Setting) -> None:
    for name, spec in (("unnamed", {}), ("named", {"schedulerName": "default-scheduler"})):
        s.running(pod(name, **spec))
        look = functools.partial(s.events, of=name, reason="Scheduled")
        event = until(look, bool, f"the event Scheduled of pod {name}")[0]
        source = event.get("reportingComponent") or event.get("source", {}).get("component")
        expect(source, "default-scheduler", "who reports Scheduled")


def keeps_its_service_account(s: Setting) -> None:
    s.create("serviceaccounts", {"metadata": {"name": "robot"}})
    seen = s.running(pod("web", serviceAccountName="robot"))
    expect(seen["spec"]["serviceAccountName"], "robot", "spec.serviceAccountName")


def environment_and_files_reach_it(s: Setting) -> None:
    s.containers()
    s.create("configmaps", {"metadata": {"name": "config"}, "data": {"key": "from-a-map"}})
    s.create("secrets", {"metadata": {"name": "secret"}, "stringData": {"key": "from-a-secret"}})
    container = {
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "key"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
            {"name": "FIRST", "value": "Hello"},
            {"name": "SECOND", "value": "World"},
            {"name": "BOTH", "value": "$(FIRST) $(SECOND)"},
            {"name": "LITERAL", "value": "$$(FIRST)"},
        ],
        "volumeMounts": [{"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"}],
    }
    volumes = [{"name": "m", "configMap": {"name": "config"}}, {"name": "s", "secret": {"secretName": "secret"}}]
    s.running(pod("reader", container=container, volumes=volumes))
    script = 'echo "$A|$B|$BOTH|$LITERAL|$(cat /m/key)|$(cat /s/key)"'
    seen = s.sh("reader", script)
    expect(seen, "from-a-map|from-a-secret|Hello World|$(FIRST)|from-a-map|from-a-secret", "what the pod reads")


def older_services_are_in_its_environment(s: Setting) -> None:
    s.containers()
    service = s.create("services", {"metadata": {"name": "svc"}, "spec": {"ports": [{"port": 8080}]}})
    env = [{"name": "URL", "value": "tcp://$(SVC_SERVICE_HOST):$(SVC_SERVICE_PORT)"}]
    s.running(pod("reader", container={"env": env}))
    seen = s.sh("reader", "echo $URL")
    expect(seen, f"tcp://{service['spec']['clusterIP']}:8080", "the variable composed of the Service's address")


def its_log_is_read(s: Setting) -> None:
    s.containers()
    s.running(pod("talker", command="echo spoken; sleep 3600"))
    until(lambda: s.kubectl("logs", "talker"), lambda text: text.strip() == "spoken", "the log of the pod")


def tokens_come_from_a_secret(s: Setting) -> None:
    host = s.host
    s.running(pod("web"))
    found = until(lambda: host.find("pods", "web", s.namespace), lambda p: True, "the host pod")
    sources = [x for v in found["spec"].get("volumes", ()) for x in v.get("projected", {}).get("sources", ())]
    if not sources or any("serviceAccountToken" in x for x in sources):
        raise Failed(f"sources of the projected token on the host: {sources}")
    for name in (x["secret"]["name"] for x in sources if "secret" in x):
        if get(host.api, f"/api/v1/namespaces/{host.namespace}/secrets/{name}") is None:
            raise Failed(f"there is no Secret {name} on the host, which the pod's token comes from")
    if token := [k for k, v in found["metadata"].get("annotations", {}).items() if v.startswith("eyJ")]:
        raise Failed(f"the host pod has a token in its annotations: {token}")


def deletion_ends_it_on_both_sides(s: Setting) -> None:
    s.running(pod("web"))
    s.delete("pods", "web")
    gone(lambda: s.get("pods", "web"), "the pod")
    if s.below:
        gone(lambda: s.host.find("pods", "web", s.namespace), "the host pod")


def name_used_again_is_another_pod(s: Setting) -> None:
    first = s.running(pod("web"))
    s.delete("pods", "web")
    gone(lambda: s.get("pods", "web"), "the pod")
    second = s.running(pod("web"))
    if first["metadata"]["uid"] == second["metadata"]["uid"]:
        raise Failed("the second pod has the uid of the first")
    statuses = second["status"]["containerStatuses"]
    if not s.simulated and statuses[0]["containerID"] == first["status"]["containerStatuses"][0]["containerID"]:
        raise Failed("the second pod shows the container of the first")


def long_and_awkward_names_run(s: Setting) -> None:
    for name in ("n" * 63, "a-x-b", f"a-x-b-x-{'c' * 40}"):
        s.running(pod(name))


def events_speak_of_the_tenants_names(s: Setting) -> None:
    host = s.host
    s.running(pod("web"))
    events = s.send("GET", f"/api/v1/namespaces/{s.namespace}/events")["items"]
    theirs = host.name("web", s.namespace)
    if leaked := [e["message"] for e in events if theirs in e.get("message", "")]:
        raise Failed(f"the host's name of the pod stands in an event: {leaked[0]}")


def taken_name_is_told(s: Setting) -> None:
    """Somebody else's pod on the host has the name that the tenant's needs: it is left alone, and told of."""
    host = s.host
    path = f"/api/v1/namespaces/{host.namespace}/pods"
    theirs = send(host.api, "POST", path, pod(host.name("web", s.namespace)))
    s.made_below.append(f"{path}/{theirs['metadata']['name']}")
    s.create("pods", pod("web"))
    told = until(lambda: [e for e in s.events(of="web") if e["type"] == "Warning"], bool, "a Warning event")
    if leaked := [e["message"] for e in told if theirs["metadata"]["name"] in e["message"]]:
        raise Failed(f"the host's name of the pod stands in an event: {leaked[0]}")
    expect((s.get("pods", "web") or {})["status"]["phase"], "Pending", "phase of the tenant's pod")
    kept = host.find("pods", "web", s.namespace) or {"metadata": {}}
    expect(kept["metadata"].get("uid"), theirs["metadata"]["uid"], "the pod on the host")
    send(host.api, "DELETE", s.made_below.pop(), {})
    until(lambda: s.get("pods", "web"), is_ready, "the tenant's pod to run once the name is free", LONG_S)
