"""Claims: they are bound by the host, told in the tenant, and gone on both sides."""

from __future__ import annotations

from typing import Any

from conformance.checks.setting import APPS, CORE, LONG_S, Obj, Setting, expect, get, gone, pod, until

CLAIMS = "persistentvolumeclaims"


def claim(name: str, **spec: Any) -> Obj:
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"metadata": {"name": name}, "spec": base | spec}


def user(name: str, claimed: str, command: str = "sleep 3600") -> Obj:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claimed}}]
    return pod(
        name, command=command, container={"volumeMounts": [{"name": "v", "mountPath": "/data"}]}, volumes=volumes
    )


def its_life_is_the_same_on_both_sides(s: Setting) -> None:
    host = s.host
    s.create(CLAIMS, claim("data"))
    s.running(user("writer", "data"))
    bound = until(lambda: s.get(CLAIMS, "data"), lambda c: c["status"].get("phase") == "Bound", "Bound", LONG_S)
    until(
        lambda: [x["status"] for x in (s.get(CLAIMS, "data"), host.find(CLAIMS, "data", s.namespace)) if x],
        lambda two: two[1:] == two[:1],
        "the claim's status to be equal on both sides",
    )
    volume = bound["spec"]["volumeName"]
    until(lambda: get(s.api, f"{CORE}/persistentvolumes/{volume}"), lambda v: True, f"volume {volume} in the tenant")
    s.delete("pods", "writer")
    s.delete(CLAIMS, "data")
    gone(lambda: s.get(CLAIMS, "data"), "the claim")
    gone(lambda: get(s.api, f"{CORE}/persistentvolumes/{volume}"), "the volume")
    gone(lambda: host.find(CLAIMS, "data", s.namespace), "the host claim")


def data_outlives_its_pod(s: Setting) -> None:
    s.containers()
    s.create(CLAIMS, claim("data"))
    s.running(user("writer", "data", "echo kept >/data/file; sleep 3600"))
    s.delete("pods", "writer")
    gone(lambda: s.get("pods", "writer"), "the writer")
    s.running(user("reader", "data"))
    expect(s.sh("reader", "cat /data/file"), "kept", "what the next pod reads")


def stateful_set_with_a_claim_each(s: Setting) -> None:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": user("x", "x")["spec"] | {"volumes": []}}
    template["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    spec = {
        "serviceName": "db",
        "replicas": 2,
        "selector": {"matchLabels": {"app": "db"}},
        "template": template,
        "volumeClaimTemplates": [claim("data")],
    }
    s.create("statefulsets", {"metadata": {"name": "db"}, "spec": spec}, prefix=APPS)
    s.kubectl("rollout", "status", "statefulset/db", "--timeout=110s")
    for name in ("data-db-0", "data-db-1"):
        until(lambda n=name: s.get(CLAIMS, n), lambda c: c["status"].get("phase") == "Bound", f"{name} to be bound")  # type: ignore[misc]


def the_tenant_has_the_hosts_classes(s: Setting) -> None:
    path = "/apis/storage.k8s.io/v1/storageclasses"
    theirs = s.send("GET", path)["items"]
    if s.below is None:
        return
    ours = (get(s.host.api, path) or {"items": []})["items"]
    seen, wanted = (sorted(c["metadata"]["name"] for c in side) for side in (theirs, ours))
    expect(seen, wanted, "StorageClasses of the tenant")
