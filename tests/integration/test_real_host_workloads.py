"""Workloads in both ways on a real host with a real node: the tenant sees the same, whoever makes the pods.

One virtual cluster lets the host's controllers run all kinds, the other has ours for all of them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host_cluster import AGNHOST, HostCluster
from tests.integration.tenants import Tenant, containers, deployment, shell, tenant
from tests.vapi_process import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

KINDS = ("deployments", "replicasets", "replicationcontrollers", "statefulsets", "daemonsets", "jobs", "cronjobs")
WAYS = ("host", "virtual")


def arguments(way: str) -> tuple[str, ...]:
    """All nodes are seen, or a DaemonSet of ours would have none to be on before other pods have one."""
    return ("--sync-nodes-mode=all", *(f"--workloads-{kind}={way}" for kind in KINDS))


@pytest.fixture(scope="module", params=WAYS)
def one(
    request: pytest.FixtureRequest, node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenant]:
    way = request.param
    directory = tmp_path_factory.mktemp(f"ways-{way}")
    name = f"wl-{way[0]}"
    with tenant(
        node_host, directory, name=name, advertise=node_host.our_address(), arguments=(*arguments(way), "--dns=none")
    ) as made:
        yield made


def workload(kind: str, name: str, *, command: tuple[str, ...] = (), env: Any = (), **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": AGNHOST, "env": list(env)}
    container |= {"command": list(command)} if command else {"args": ["pause"]}
    container |= spec.pop("container", {})
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec.pop("pod", {})},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def agent(host: HostCluster, name: str = "agent", **spec: Any) -> dict[str, Any]:
    """A DaemonSet of one node that is ready: others may have Nodes of their own there."""
    ready = ("Ready", "True")
    nodes = (
        node["metadata"]["labels"]["kubernetes.io/hostname"]
        for node in host.json("get", "nodes")["items"]
        if ready in [(c["type"], c["status"]) for c in node["status"].get("conditions") or ()]
        and node["status"].get("addresses")
        and not node["spec"].get("taints")
    )
    return workload("DaemonSet", name, pod={"nodeSelector": {"kubernetes.io/hostname": next(nodes)}}, **spec)


def job(name: str, command: tuple[str, ...], **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": AGNHOST, "command": list(command)}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def pods(a: Tenant, selector: str) -> list[Any]:
    return a.listed("pods", "-l", selector)


def rolled_out(a: Tenant, what: str) -> None:
    a.kubectl("rollout", "status", what, "--timeout=90s")


def names_of_host(a: Tenant, said: str) -> list[str]:
    """What of the host's names is in it; the values of our own annotations aside."""
    return re.findall(rf"[\w.-]*-x-[\w.-]*-x-{a.name}[\w.-]*", said)


def test_a_daemon_set_runs_on_the_node_and_its_pod_is_like_any_other(one: Tenant) -> None:
    reads = [
        {"name": env, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for env, path in (("ME", "metadata.name"), ("MY_UID", "metadata.uid"), ("WHERE", "metadata.namespace"))
    ]
    one.vapi.apply(agent(one.host, env=reads, command=shell("echo started; sleep 1000")))
    (pod,) = until(lambda: pods(one, "app=agent"), lambda found: len(found) == 1)
    rolled_out(one, "daemonset/agent")
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("DaemonSet", "agent", True)
    assert owner["uid"] == one.get("daemonset", "agent")["metadata"]["uid"]
    seen = one.kubectl("exec", name, "--", "sh", "-c", "echo $ME $MY_UID $WHERE").split()
    assert seen == [name, uid, "default"]
    assert one.kubectl("logs", name).strip() == "started"
    assert one.find("node", one.get("pod", name)["spec"]["nodeName"]) is not None  # it may be older than its binding
    described = until(lambda: one.kubectl("describe", "pod", name), lambda text: "Started" in text)
    assert names_of_host(one, described) == []
    one.kubectl("delete", "pod", name)
    (after,) = until(
        lambda: pods(one, "app=agent"), lambda found: [p for p in found if p["metadata"]["uid"] != uid] == found != []
    )
    rolled_out(one, "daemonset/agent")
    assert after["metadata"]["ownerReferences"] == pod["metadata"]["ownerReferences"]


def test_a_daemon_set_rolls_out_and_back(one: Tenant) -> None:
    one.vapi.apply(agent(one.host, "rolling", env=[{"name": "V", "value": "1"}]))
    rolled_out(one, "daemonset/rolling")
    one.kubectl("set", "env", "daemonset/rolling", "V=2")
    rolled_out(one, "daemonset/rolling")
    history = one.kubectl("rollout", "history", "daemonset/rolling")
    assert re.findall(r"^(\d+) ", history, re.MULTILINE) == ["1", "2"]
    one.kubectl("rollout", "undo", "daemonset/rolling")
    rolled_out(one, "daemonset/rolling")
    spec = one.get("daemonset", "rolling")["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [{"name": "V", "value": "1"}]
    assert "volumes" not in spec


def test_a_daemon_pod_that_is_called_failed_is_replaced(one: Tenant) -> None:
    one.vapi.apply(agent(one.host, "failing"))
    (pod,) = until(lambda: pods(one, "app=failing"), lambda found: len(found) == 1)
    rolled_out(one, "daemonset/failing")
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    one.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Failed"}}')
    until(
        lambda: pods(one, "app=failing"),
        lambda found: (
            len(found) == 1 and found[0]["metadata"]["uid"] != uid and found[0]["status"]["phase"] == "Running"
        ),
    )


def test_a_revision_that_the_tenant_makes_is_counted(one: Tenant) -> None:
    one.vapi.apply(agent(one.host, "counted", env=[{"name": "V", "value": "1"}]))
    rolled_out(one, "daemonset/counted")
    (first,) = until(lambda: history(one), lambda found: len(found) == 1)
    metadata = {k: first["metadata"][k] for k in ("labels", "ownerReferences")} | {"name": "counted-own"}
    metadata["labels"]["controller-revision-hash"] = "own"
    kept = {k: first[k] for k in ("apiVersion", "kind", "data")}
    one.vapi.apply({**kept, "metadata": metadata, "revision": 2})
    # of two that say the same, a controller that looks meanwhile keeps the later
    one.kubectl("delete", "controllerrevision", first["metadata"]["name"], "--ignore-not-found")
    one.kubectl("set", "env", "daemonset/counted", "V=2")
    rolled_out(one, "daemonset/counted")
    found = {each["revision"]: each["metadata"]["name"] for each in history(one)}
    assert sorted(found) == [2, 3]
    assert found[2] == "counted-own"
    one.kubectl("rollout", "undo", "daemonset/counted", "--to-revision=2")
    rolled_out(one, "daemonset/counted")
    spec = one.get("daemonset", "counted")["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [{"name": "V", "value": "1"}]
    found = {each["metadata"]["name"]: each["revision"] for each in history(one)}
    assert (len(found), found["counted-own"]) == (2, 4)
    one.kubectl("delete", "controllerrevision", next(name for name, number in found.items() if number == 3))
    (last,) = until(lambda: history(one), lambda found: len(found) == 1)
    assert last["metadata"]["name"] == "counted-own"


def history(a: Tenant) -> list[Any]:
    return a.listed("controllerrevisions", "-l", "app=counted")


def test_a_deployment_rolls_out_scales_and_rolls_back(one: Tenant) -> None:
    one.vapi.apply(deployment("web", 2, env=[{"name": "V", "value": "1"}]))
    rolled_out(one, "deployment/web")
    first = one.get("deployment", "web")["spec"]["template"]
    one.kubectl("set", "env", "deployment/web", "V=2")
    rolled_out(one, "deployment/web")
    one.kubectl("scale", "deployment/web", "--replicas=3")
    rolled_out(one, "deployment/web")
    one.kubectl("rollout", "undo", "deployment/web")
    rolled_out(one, "deployment/web")
    here = one.get("deployment", "web")
    assert here["spec"]["template"] == first
    assert here["status"]["observedGeneration"] == here["metadata"]["generation"]
    assert here["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    sets = one.listed("replicasets", "-l", "app=web")
    assert sorted(rs["spec"]["replicas"] for rs in sets) == [0, 3]
    running = until(lambda: pods(one, "app=web"), lambda found: len(found) == 3)
    assert {p["metadata"]["ownerReferences"][0]["kind"] for p in running} == {"ReplicaSet"}
    assert names_of_host(one, json.dumps([here, sets])) == []


def test_a_stateful_set_keeps_its_names_over_a_rollout(one: Tenant) -> None:
    one.vapi.apply(
        workload("StatefulSet", "db", serviceName="db", replicas=2, env=[{"name": "V", "value": "1"}]),
    )
    rolled_out(one, "statefulset/db")
    assert [p["metadata"]["name"] for p in pods(one, "app=db")] == ["db-0", "db-1"]
    one.kubectl("set", "env", "statefulset/db", "V=2")
    rolled_out(one, "statefulset/db")
    one.kubectl("rollout", "undo", "statefulset/db")
    rolled_out(one, "statefulset/db")
    assert [p["metadata"]["name"] for p in pods(one, "app=db")] == ["db-0", "db-1"]
    assert one.get("statefulset", "db")["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] == "1"


def test_a_stateful_sets_claims_keep_their_data_over_a_restart_and_without_it(one: Tenant) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }
    store = workload(
        "StatefulSet",
        "store",
        serviceName="store",
        replicas=1,
        command=shell("echo started >> /data/log; sleep 1000"),
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumeClaimTemplates=[claim],
    )
    until(lambda: one.find("storageclass", "local-path", ""))
    one.vapi.apply(store)
    rolled_out(one, "statefulset/store")
    uid = one.get("pvc", "data-store-0")["metadata"]["uid"]
    one.kubectl("rollout", "restart", "statefulset/store")
    rolled_out(one, "statefulset/store")
    one.kubectl("delete", "statefulset", "store")
    until(lambda: pods(one, "app=store"), lambda found: not found)
    one.vapi.kill()
    one.vapi.start()
    time.sleep(2)
    assert "deletionTimestamp" not in one.get("pvc", "data-store-0")["metadata"]
    one.vapi.apply(store)
    rolled_out(one, "statefulset/store")
    until(
        lambda: one.kubectl("exec", "store-0", "--", "cat", "/data/log").split(), lambda said: said == ["started"] * 3
    )
    bound = one.get("pvc", "data-store-0")
    assert (bound["metadata"]["uid"], bound["status"]["phase"]) == (uid, "Bound")
    until(lambda: one.find("pv", bound["spec"]["volumeName"], ""))
    one.kubectl("delete", "statefulset", "store")
    one.kubectl("delete", "pvc", "data-store-0")
    until(lambda: one.host.json("-n", one.namespace, "get", "pvc")["items"], lambda left: not left)


def test_a_job_and_an_indexed_job_run_once(one: Tenant) -> None:
    one.vapi.apply(
        job("once", shell("echo done")),
        job(
            "indexed", shell("echo index $JOB_COMPLETION_INDEX"), completions=2, parallelism=2, completionMode="Indexed"
        ),
    )
    for name in ("once", "indexed"):
        one.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=60s")
    assert one.kubectl("logs", "job/once").strip() == "done"
    found = pods(one, "job-name=indexed")
    said = sorted(one.kubectl("logs", p["metadata"]["name"]).strip() for p in found)
    assert said == ["index 0", "index 1"]
    assert sorted(p["spec"]["hostname"] for p in found) == ["indexed-0", "indexed-1"]
    assert one.get("job", "indexed")["status"]["completedIndexes"] == "0,1"


def test_a_cron_job_fires(one: Tenant) -> None:
    made = job("tick", shell("echo tick"))
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"metadata": {"labels": {"app": "tick"}}, "spec": made["spec"]},
        },
    }
    one.vapi.apply(cron)
    (fired, *_) = until(lambda: one.listed("jobs", "-l", "app=tick"), timeout_s=90)
    one.kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    name = fired["metadata"]["name"]
    one.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=60s")
    assert fired["metadata"]["ownerReferences"][0]["name"] == "tick"
    assert one.kubectl("logs", f"job/{name}").strip() == "tick"
    until(lambda: one.get("cronjob", "tick")["status"].get("lastSuccessfulTime"))


@pytest.mark.parametrize("policy", ["background", "foreground", "orphan"])
def test_a_deployment_is_deleted_with_what_it_made_or_without(one: Tenant, policy: str) -> None:
    name = f"gone-{policy}"
    one.vapi.apply(deployment(name, 1))
    rolled_out(one, f"deployment/{name}")
    (before,) = pods(one, f"app={name}")
    one.kubectl("delete", "deployment", name, f"--cascade={policy}")
    if policy == "orphan":
        time.sleep(3)
        (after,) = pods(one, f"app={name}")
        assert containers([after]) == containers([before])
        one.kubectl("delete", "replicaset", "-l", f"app={name}")
    until(lambda: pods(one, f"app={name}"), lambda found: not found)
    until(
        lambda: one.host.json("-n", one.namespace, "get", "pods", "-l", f"app={name}")["items"], lambda found: not found
    )


def test_the_hosts_copy_is_put_back_and_the_tenants_stays(one: Tenant) -> None:
    one.vapi.apply(deployment("kept", 1))
    rolled_out(one, "deployment/kept")
    uid = one.get("deployment", "kept")["metadata"]["uid"]
    kind = "deployment" if one.twin("deployment", "kept") else "pod"
    if kind == "deployment":
        one.host_kubectl("scale", "deployment", one.host_name("kept"), "--replicas=3")
        until(lambda: one.twin("deployment", "kept"), lambda twin: twin["spec"]["replicas"] == 1)
        patch = '{"spec":{"minReadySeconds":9}}'
        one.host_kubectl("patch", "deployment", one.host_name("kept"), "--type=merge", "-p", patch)
        until(lambda: one.twin("deployment", "kept"), lambda twin: "minReadySeconds" not in twin["spec"])
        one.host_kubectl("delete", "deployment", one.host_name("kept"))
    else:
        (pod,) = pods(one, "app=kept")
        one.host_kubectl("delete", "pod", one.host_name(pod["metadata"]["name"]))
    until(lambda: pods(one, "app=kept"), lambda found: len(found) == 1 and found[0]["status"]["phase"] == "Running")
    rolled_out(one, "deployment/kept")
    assert one.get("deployment", "kept")["metadata"]["uid"] == uid


def test_killed_in_the_middle_of_a_rollout_it_goes_on(one: Tenant) -> None:
    one.vapi.apply(deployment("steady", 4, env=[{"name": "V", "value": "0"}]))
    rolled_out(one, "deployment/steady")
    for round_ in (1, 2, 3):
        one.kubectl("set", "env", "deployment/steady", f"V={round_}")
        time.sleep(0.3 * round_)
        one.vapi.kill()
        one.vapi.start()
    rolled_out(one, "deployment/steady")

    def uids() -> tuple[list[str], list[str]]:
        there = one.host.json("-n", one.namespace, "get", "pods", "-l", "app=steady")["items"]
        here = [p for p in pods(one, "app=steady") if "deletionTimestamp" not in p["metadata"]]
        uid = "vapi.dev/object-uid"
        return (
            sorted(p["metadata"]["uid"] for p in here),
            sorted(p["metadata"]["annotations"][uid] for p in there if "deletionTimestamp" not in p["metadata"]),
        )

    until(uids, lambda both: both[0] == both[1] and len(both[0]) == 4)
    until(lambda: pods(one, "app=steady"), lambda found: len(found) == 4)
    env = [p["spec"]["containers"][0]["env"][0]["value"] for p in pods(one, "app=steady")]
    assert env == ["3"] * 4


def test_the_same_manifests_give_the_same_view(node_host: HostCluster, tmp_path: Path) -> None:
    seen = {}
    for way in WAYS:
        with tenant(
            node_host, tmp_path / way, name=f"wl-v{way[0]}", advertise=node_host.our_address(),
            arguments=(*arguments(way), "--dns=none"),
        ) as made:  # fmt: skip
            made.vapi.apply(
                deployment("web", 2),
                agent(node_host),
                workload("StatefulSet", "db", serviceName="db", replicas=2),
                job("once", shell("true")),
            )
            for what in ("deployment/web", "daemonset/agent", "statefulset/db"):
                rolled_out(made, what)
            made.kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=60s")
            until(lambda: view(made), lambda found: "Pending" not in str(found))
            seen[way] = view(made)
    for kind in _KINDS_SEEN:
        assert seen["host"][kind] == seen["virtual"][kind]


_KINDS_SEEN = ("deployments", "replicasets", "daemonsets", "statefulsets", "jobs", "controllerrevisions", "pods")
_VARIES = re.compile(r"-(?=[a-z0-9]*\d|[bcdfghjklmnpqrstvwxz])[a-z0-9]{5,10}(?=$|-)")


def view(a: Tenant) -> Any:
    """What kubectl shows, without what differs from run to run."""
    return {kind: sorted((_shown(obj) for obj in a.listed(kind)), key=str) for kind in _KINDS_SEEN}


def _shown(obj: Any) -> Any:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    return {
        "name": _VARIES.sub("-*", metadata["name"]),
        "labels": sorted((metadata.get("labels") or {}).keys()),
        "annotations": sorted(k for k in metadata.get("annotations") or {} if not k.startswith("vapi.dev/")),
        "owners": [
            (r["kind"], _VARIES.sub("-*", r["name"]), r["controller"]) for r in metadata.get("ownerReferences") or ()
        ],
        "spec": sorted(spec),
        "containers": [sorted(c) for c in spec.get("containers") or ()],
        "tolerations": sorted(str(t) for t in spec.get("tolerations") or ()),
        "volumes": [sorted(v) for v in spec.get("volumes") or ()],
        "counts": {k: v for k, v in status.items() if isinstance(v, int)},
        "conditions": sorted((c["type"], c["status"]) for c in status.get("conditions") or ()),
        "phase": status.get("phase"),
    }
