"""Workloads: they roll out and roll back, whoever makes their pods."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from conformance.checks.setting import (
    APPS,
    CORE,
    IMAGE,
    LONG_S,
    Failed,
    Obj,
    Setting,
    expect,
    gone,
    is_ready,
    pod,
    until,
)

BATCH = "/apis/batch/v1"


def deployment_rolls_out_and_scales(s: Setting) -> None:
    s.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--", "sleep", "3600")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    s.kubectl("scale", "deployment/web", "--replicas=3")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    names = s.kubectl("get", "pods", "--selector=app=web", "--output=name").split()
    expect(len(names), 3, "pods after scaling")


def deployment_rolls_back(s: Setting) -> None:
    s.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--", "sleep", "3600")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    before = _template(s)
    s.kubectl("set", "env", "deployment/web", "NEW=yes")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    s.kubectl("rollout", "undo", "deployment/web")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    expect(_template(s), before, "the template after rollout undo")


def _template(s: Setting) -> Obj:
    found: Obj = (s.get("deployments", "web", prefix=APPS) or {})["spec"]["template"]["spec"]
    return found


def daemon_set_has_a_pod_on_each_node(s: Setting) -> None:
    """Its pods are the tenant's: its labels, its owner, logs and exec."""
    template = {
        "metadata": {"labels": {"app": "exporter"}},
        "spec": pod("x", command="echo spoken; sleep 3600")["spec"],
    }
    spec = {"selector": {"matchLabels": {"app": "exporter"}}, "template": template}
    made = s.create("daemonsets", {"metadata": {"name": "node-exporter"}, "spec": spec}, prefix=APPS)
    s.kubectl("rollout", "status", "daemonset/node-exporter", "--timeout=100s")
    pods = s.send("GET", f"{CORE}/namespaces/{s.namespace}/pods?labelSelector=app%3Dexporter")["items"]
    if not pods:
        raise Failed("the DaemonSet has no pods in the tenant")
    for one in pods:
        name, owner = one["metadata"]["name"], one["metadata"]["ownerReferences"][0]
        expect((owner["kind"], owner["uid"]), ("DaemonSet", made["metadata"]["uid"]), f"the owner of pod {name}")
        if not name.startswith("node-exporter-") or "-x-" in name:
            raise Failed(f"the pod is called {name}")
        if not s.simulated:
            until(
                functools.partial(s.kubectl, "logs", name), lambda text: text.strip() == "spoken", f"the log of {name}"
            )
            expect(s.sh(name, "echo here"), "here", "what exec says")
    first = pods[0]["metadata"]["uid"]
    s.delete("pods", pods[0]["metadata"]["name"])

    def others() -> list[str]:
        items = s.send("GET", f"{CORE}/namespaces/{s.namespace}/pods?labelSelector=app%3Dexporter")["items"]
        return [p["metadata"]["uid"] for p in items if is_ready(p)]

    until(
        others,
        lambda uids: len(uids) == len(pods) and first not in uids,
        "another pod in place of a deleted one",
        LONG_S,
    )
    s.delete("daemonsets", "node-exporter", prefix=APPS)
    gone(lambda: others() or None, "the pods of the deleted DaemonSet")


def stateful_set_is_ordered(s: Setting) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
    spec = {"serviceName": "web", "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    s.create("statefulsets", {"metadata": {"name": "web"}, "spec": spec}, prefix=APPS)
    s.kubectl("rollout", "status", "statefulset/web", "--timeout=110s")
    s.kubectl("scale", "statefulset/web", "--replicas=1")
    gone(lambda: s.get("pods", "web-1"), "the last pod after scaling down")
    expect(is_ready(s.get("pods", "web-0") or {}), True, "whether the first pod is ready")


def job_completes(s: Setting) -> None:
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": _ending()}}
    s.create("jobs", {"metadata": {"name": "count"}, "spec": spec}, prefix=BATCH)
    s.kubectl("wait", "--for=condition=Complete", "job/count", "--timeout=100s")
    status = (s.get("jobs", "count", prefix=BATCH) or {})["status"]
    expect((status["succeeded"], status["completedIndexes"]), (3, "0-2"), "what the Job has done")


def _ending() -> Obj:
    spec: Obj = pod("x", command="echo index $JOB_COMPLETION_INDEX", restartPolicy="Never")["spec"]
    return spec


def cron_job_fires(s: Setting) -> None:
    job = {"spec": {"template": {"spec": _ending()}}}
    s.create(
        "cronjobs", {"metadata": {"name": "often"}, "spec": {"schedule": "* * * * *", "jobTemplate": job}}, prefix=BATCH
    )

    def jobs() -> list[Obj]:
        items = s.send("GET", f"{BATCH}/namespaces/{s.namespace}/jobs")["items"]
        return [
            j for j in items if j["status"].get("succeeded") and j["metadata"]["ownerReferences"][0]["name"] == "often"
        ]

    until(jobs, bool, "a Job of the CronJob to succeed", LONG_S)


WAYS: Mapping[str, Callable[[Setting], None]] = MappingProxyType(
    {
        "a Deployment rolls out and scales": deployment_rolls_out_and_scales,
        "a Deployment rolls back": deployment_rolls_back,
        "a DaemonSet has a pod of the tenant on each node": daemon_set_has_a_pod_on_each_node,
        "a StatefulSet is ordered": stateful_set_is_ordered,
        "an indexed Job completes": job_completes,
        "a CronJob fires": cron_job_fires,
    }
)


def _on_the_host(check: Callable[[Setting], None], s: Setting) -> None:
    check(s.beside("host-workloads"))


def hostname_of_a_stateful_set(s: Setting) -> None:
    """Of one that our controller makes: pods of the host's have its names for them (docs/)."""
    s.containers()
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
    spec = {"serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": template}
    s.create("statefulsets", {"metadata": {"name": "web"}, "spec": spec}, prefix=APPS)
    s.kubectl("rollout", "status", "statefulset/web", "--timeout=110s")
    expect(s.sh("web-0", "hostname"), "web-0", "hostname in the container")


CHECKS: Mapping[str, Callable[[Setting], None]] = MappingProxyType(
    {"[workloads] hostnames of a StatefulSet are its own": hostname_of_a_stateful_set}
    | {f"[workloads] {title}": check for title, check in WAYS.items()}
    | {
        f"[workloads] {title}, made by the host": functools.partial(_on_the_host, check)
        for title, check in WAYS.items()
    }
)


def same_manifest_in_two_clusters(s: Setting) -> None:
    """The seeds' nginx pod: real on the host under another name, in the tenant under its own, in both at once."""
    other = s.beside("plain")
    manifest = {"apiVersion": "v1", "kind": "Pod", **pod("nginx")}
    for cluster in (s, other):
        cluster.kubectl_in(json.dumps(manifest), "apply", "-f", "-")
    addresses = []
    for cluster in (s, other):
        seen = until(lambda c=cluster: c.get("pods", "nginx"), is_ready, "the pod to be ready", LONG_S)  # type: ignore[misc]
        twin = until(lambda c=cluster: c.host.find("pods", "nginx", c.namespace), is_ready, "the host pod to be ready")  # type: ignore[misc]
        expect(seen["status"]["podIP"], twin["status"]["podIP"], "the pod's address on both sides")
        addresses.append(seen["status"]["podIP"])
    if addresses[0] == addresses[1]:
        raise Failed(f"both pods have address {addresses[0]}")
