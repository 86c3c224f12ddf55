"""Somebody edits or deletes the host's copy: nothing of the tenant changes, and the copy is put back.

Two kinds are otherwise: a pod ends as in a node drain, and a bound claim becomes Lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from conformance.checks.setting import (
    APPS,
    CORE,
    IMAGE,
    LONG_S,
    MERGE_PATCH,
    NETWORKING,
    Obj,
    Setting,
    expect,
    gone,
    pod,
    send,
    until,
)

LABELS = {"tier": "mine"}
_PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]


def _with(name: str, **parts: Any) -> Obj:
    return {"metadata": {"name": name, "labels": LABELS}, **parts}


def _template() -> Obj:
    return {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}


def _ending() -> Obj:
    return {"spec": pod("x", restartPolicy="Never")["spec"]}


@dataclass(frozen=True, slots=True)
class Kind:
    """`made` and the object of `edit`: the tenant's, and a merge patch of its host copy; `user`: a pod it is sent for.

    `parts`: what belongs to the tenant of it, and is held against what was there before.
    """

    plural: str
    made: Obj
    edit: Obj
    parts: tuple[str, ...] = ("spec",)
    prefix: str = CORE
    user: Obj | None = None
    before: tuple[tuple[str, str, Obj], ...] = field(default=())  # (prefix, plural, object) that has to be there first
    variant: str = ""  # of a virtual cluster beside, where the one under test does not send this kind


_APP = {"matchLabels": {"app": "web"}}
_SELECTED = {"podSelector": _APP, "policyTypes": ["Ingress"]}
_RULE = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
    "service": {"name": "kept", "port": {"number": 80}}}}]}}  # fmt: skip
_SERVICE = _with("kept", spec={"ports": _PORTS})

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "Service": Kind(
            "services",
            _with("kept", spec={"ports": _PORTS, "selector": {"app": "web"}}),
            {"spec": {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 81}]}},
        ),
        "ConfigMap": Kind(
            "configmaps",
            _with("kept", data={"key": "mine"}),
            {"data": {"key": "theirs", "other": "theirs"}},
            ("data",),
            user=pod("user", volumes=[{"name": "v", "configMap": {"name": "kept"}}]),
        ),
        "Secret": Kind(
            "secrets",
            _with("kept", stringData={"key": "mine"}),
            {"stringData": {"key": "theirs", "other": "theirs"}},
            ("data",),
            user=pod("user", volumes=[{"name": "v", "secret": {"secretName": "kept"}}]),
        ),
        "Endpoints": Kind(
            "endpoints",
            _with("kept", subsets=[{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "http", "port": 80}]}]),
            {"subsets": [{"addresses": [{"ip": "192.0.2.66"}], "ports": [{"name": "http", "port": 80}]}]},
            ("subsets",),
            before=((CORE, "services", _SERVICE),),
        ),
        "EndpointSlice": Kind(
            "endpointslices",
            {
                "metadata": {"name": "kept", "labels": LABELS | {"kubernetes.io/service-name": "kept"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["192.0.2.7"]}],
                "ports": [{"name": "http", "port": 80}],
            },
            {"endpoints": [{"addresses": ["192.0.2.66"]}]},
            ("endpoints", "ports"),
            "/apis/discovery.k8s.io/v1",
            before=((CORE, "services", _SERVICE),),
        ),
        "Ingress": Kind(
            "ingresses",
            _with("kept", spec={"rules": [_RULE]}),
            {"spec": {"rules": [_RULE | {"host": "theirs.example"}]}},
            prefix=NETWORKING,
        ),
        "NetworkPolicy": Kind(
            "networkpolicies",
            _with("kept", spec=_SELECTED),
            {"spec": {"podSelector": {"matchLabels": {"app": "theirs"}}, "policyTypes": ["Egress"]}},
            prefix=NETWORKING,
        ),
        "PodDisruptionBudget": Kind(
            "poddisruptionbudgets",
            _with("kept", spec={"minAvailable": 1, "selector": _APP}),
            {"spec": {"minAvailable": 7}},
            prefix="/apis/policy/v1",
        ),
        "PersistentVolumeClaim": Kind(
            "persistentvolumeclaims",
            _with("kept", spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}),
            {},  # its spec cannot be changed
        ),
        "DaemonSet": Kind(
            "daemonsets",
            _with("kept", spec={"minReadySeconds": 1, "selector": _APP, "template": _template()}),
            {"spec": {"minReadySeconds": 7}},
            prefix=APPS,
        ),
        **{
            kind: Kind(
                f"{kind.lower()}s",
                _with("kept", spec={"replicas": 1, "selector": _APP, "template": _template()}),
                {"spec": {"replicas": 2}},
                prefix=APPS,
                variant="host-workloads",
            )
            for kind in ("Deployment", "ReplicaSet", "StatefulSet")
        },
        "CronJob": Kind(
            "cronjobs",
            _with("kept", spec={"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": _ending()}}}),
            {"spec": {"schedule": "0 0 2 2 *"}},
            prefix="/apis/batch/v1",
            variant="host-workloads",
        ),
    }
)


def put_back(kind: str, s: Setting) -> None:
    row = KINDS[kind]
    s = s.beside(row.variant) if row.variant else s
    host = s.host
    for prefix, plural, obj in row.before:
        s.create(plural, obj, prefix=prefix)
    mine = _settled(s, row)
    found = functools.partial(host.find, row.plural, "kept", s.namespace, prefix=row.prefix)
    twin = until(found, lambda x: True, f"the host's {kind}")
    wanted = _parts(twin, row)
    change = {"metadata": {"labels": {"tier": "theirs"}}, **row.edit}
    path = host.path(row.plural, "kept", s.namespace, prefix=row.prefix)
    send(host.api, "PATCH", path, change, content_type=MERGE_PATCH)
    until(found, lambda x: _parts(x, row) == wanted, f"the edit of the host's {kind} to be undone")
    expect(_tenants(s, row), mine, f"the tenant's {kind} after the edit")
    send(host.api, "DELETE", path, {})
    before = twin["metadata"]["uid"]
    again = until(found, lambda x: x["metadata"]["uid"] != before, f"the deleted {kind} to be on the host again")
    expect(_parts(again, row), wanted, f"the new {kind} of the host")
    expect(_tenants(s, row), mine, f"the tenant's {kind} after the deletion")


def _settled(s: Setting, row: Kind) -> Obj:
    s.create(row.plural, row.made, prefix=row.prefix)
    if row.user:
        s.running(row.user)
    return _tenants(s, row)


def _tenants(s: Setting, row: Kind) -> Obj:
    seen = s.get(row.plural, "kept", prefix=row.prefix) or {"metadata": {}}
    return {
        "uid": seen["metadata"].get("uid"),
        "deleted": seen["metadata"].get("deletionTimestamp"),
        **_parts(seen, row),
    }


def _parts(obj: Obj, row: Kind) -> Obj:
    labels = obj["metadata"].get("labels") or {}
    return {"tier": labels.get("tier")} | {part: obj.get(part) for part in row.parts}


CHECKS: Mapping[str, Callable[[Setting], None]] = MappingProxyType(
    {
        f"[drift] {kind}: what is edited or deleted on the host is put back": functools.partial(put_back, kind)
        for kind in KINDS
    }
)


def pod_ends_as_in_a_drain(s: Setting) -> None:
    """One alone is gone; one of a Deployment is followed by another."""
    host = s.host
    s.running(pod("alone"))
    s.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--", "sleep", "3600")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    (first,) = _names(s)
    for name in ("alone", first):
        send(host.api, "DELETE", host.path("pods", name, s.namespace), {})
    gone(lambda: s.get("pods", "alone"), "the pod whose host pod was deleted")
    until(lambda: _names(s), lambda names: bool(names) and first not in names, "another pod of the Deployment", LONG_S)
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")


def _names(s: Setting) -> list[str]:
    items = s.send("GET", f"{CORE}/namespaces/{s.namespace}/pods?labelSelector=app%3Dweb")["items"]
    return [p["metadata"]["name"] for p in items]


def edited_pod_is_put_back(s: Setting) -> None:
    host = s.host
    mine = s.running(pod("web", labels=LABELS))
    path = host.path("pods", "web", s.namespace)
    container = {"name": "c", "image": "nginx:latest"}
    change = {"metadata": {"labels": {"tier": "theirs"}}, "spec": {"containers": [container]}}
    send(host.api, "PATCH", path, change, content_type="application/strategic-merge-patch+json")
    until(
        lambda: host.find("pods", "web", s.namespace),
        lambda p: (p["metadata"]["labels"]["tier"], p["spec"]["containers"][0]["image"]) == ("mine", IMAGE),
        "label and image of the host pod to be put back",
    )
    now = s.get("pods", "web") or {}
    expect((now["metadata"]["labels"], now["spec"]), (LABELS, mine["spec"]), "labels and spec of the tenant's pod")


def bound_claim_becomes_lost(s: Setting) -> None:
    """An empty disk in its place would be worse."""
    host, prefix = s.host, CORE
    s.create("persistentvolumeclaims", KINDS["PersistentVolumeClaim"].made)
    s.running(pod("user", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "kept"}}]))
    s.delete("pods", "user")
    gone(lambda: host.find("pods", "user", s.namespace), "the host pod")
    send(host.api, "DELETE", host.path("persistentvolumeclaims", "kept", s.namespace, prefix=prefix), {})
    until(
        lambda: s.get("persistentvolumeclaims", "kept"),
        lambda c: c["status"].get("phase") == "Lost",
        "phase Lost of the claim whose host claim was deleted",
    )
    until(lambda: s.events(of="kept"), bool, "an event that tells of it")
    expect(host.find("persistentvolumeclaims", "kept", s.namespace), None, "a new claim on the host")
