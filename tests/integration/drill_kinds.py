"""Kinds of the drill: how each object is made at a revision, what shows the revision on the host, how a twin is spoilt.

Every object carries its revision as a label, and in what matters of its content: `content` picks that out of a twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tests.host_cluster import AGNHOST
from tests.integration.api import Obj

REVISION = "drill/revision"


def revision_of(obj: Obj) -> str:
    return str((obj["metadata"].get("labels") or {}).get(REVISION, ""))


@dataclass(frozen=True, slots=True)
class Kind:
    """`names`: of the objects that the drill makes in each of its namespaces."""

    plural: str
    api: str
    names: tuple[str, ...]
    spec: Callable[[str, int], Obj]
    """(name, revision) → the object less metadata."""
    content: Callable[[Obj], Any] = lambda _obj: None
    """Of a twin, or of the tenant's object: must be equal."""
    spoils: tuple[Obj, ...] = ()
    """Merge patches of a twin."""
    on_demand: bool = False
    workload: bool = False
    fixed: bool = False
    """Only its labels can change."""

    def collection(self, namespace: str) -> str:
        """Path; "" for that of all namespaces."""
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"/{self.api}{where}/{self.plural}"

    def make(self, name: str, revision: int) -> Obj:
        return {"metadata": {"name": name, "labels": {REVISION: str(revision)}}, **self.spec(name, revision)}

    def change(self, name: str, revision: int) -> Obj:
        """A merge patch."""
        labels: Obj = {"metadata": {"labels": {REVISION: str(revision)}}}
        return labels if self.fixed else {**labels, **self.spec(name, revision)}


def pod_template(name: str, revision: int, **spec: Any) -> Obj:
    container = {
        "name": "main",
        "image": AGNHOST,
        "command": ["/agnhost", "pause"],
        "env": [{"name": "REVISION", "value": str(revision)}],
        "envFrom": [
            {"configMapRef": {"name": "config-0", "optional": True}},
            {"secretRef": {"name": "secret-0", "optional": True}},
        ],
        **spec.pop("container", {}),
    }
    return {
        "metadata": {"labels": {"app": name, REVISION: str(revision)}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def _selector(name: str) -> Obj:
    return {"matchLabels": {"app": name}}


def _deployment(name: str, revision: int) -> Obj:
    return {
        "spec": {"replicas": 1 + revision % 3, "selector": _selector(name), "template": pod_template(name, revision)}
    }


def _stateful_set(name: str, revision: int) -> Obj:
    container = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Mi"}}}
    return {
        "spec": {
            "replicas": 1 + revision % 2,
            "serviceName": "service-0",
            "podManagementPolicy": "Parallel" if name.endswith("1") else "OrderedReady",
            "selector": _selector(name),
            "template": pod_template(name, revision // 3, container=container),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        }
    }


def _daemon_set(name: str, revision: int) -> Obj:
    return {"spec": {"selector": _selector(name), "template": pod_template(name, revision)}}


def _job_spec(name: str, revision: int, seconds: float) -> Obj:
    container = {"command": ["sh", "-c", f"sleep {seconds}"]}
    template = pod_template(name, revision, container=container, restartPolicy="Never")
    return {"completions": 2 + revision % 3, "parallelism": 2, "backoffLimit": 100, "template": template}


def _job(name: str, revision: int) -> Obj:
    spec = _job_spec(name, revision, 1 + revision % 3)
    return {"spec": {**spec, "completionMode": "Indexed" if name.endswith("1") else "NonIndexed"}}


def _cron_job(name: str, revision: int) -> Obj:
    job = {"spec": {**_job_spec(name, revision, 0.2), "completions": 1, "parallelism": 1}}
    return {"spec": {"schedule": "* * * * *", "successfulJobsHistoryLimit": 20, "jobTemplate": job}}


def _service(name: str, revision: int) -> Obj:
    spec: Obj = {"selector": {"app": "deployment-0"}, "ports": [{"port": 80 + revision % 7, "protocol": "TCP"}]}
    kind = name.rpartition("-")[2]
    if kind == "1":
        spec["type"] = "NodePort"
    elif kind == "2":
        spec["type"] = "LoadBalancer"
    elif kind == "3":
        spec = {"type": "ExternalName", "externalName": f"r{revision}.example.com"}
    elif kind == "4":
        spec["clusterIP"] = "None"
    return {"spec": spec}


def _ingress(_name: str, revision: int) -> Obj:
    backend = {"service": {"name": "service-0", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {"spec": {"rules": [{"host": f"r{revision}.example.com", "http": {"paths": [path]}}]}}


def _policy(_name: str, revision: int) -> Obj:
    return {"spec": {"podSelector": _selector("deployment-0"), "ingress": [{"ports": [{"port": 8000 + revision}]}]}}


def _budget(_name: str, revision: int) -> Obj:
    return {"spec": {"minAvailable": revision % 2, "selector": _selector("deployment-0")}}


def _claim(_name: str, _revision: int) -> Obj:
    return {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Mi"}}}}


def _pod(name: str, revision: int) -> Obj:
    return {"spec": pod_template(name, revision)["spec"]}


def _slice(_name: str, revision: int) -> Obj:
    endpoint = {"addresses": [f"198.51.100.{1 + revision % 250}"]}
    return {"addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": 80, "name": ""}]}


def _ports(service: Obj) -> Any:
    spec = service["spec"]
    ports = [(p["port"], p.get("nodePort")) for p in spec.get("ports") or ()]
    return spec.get("type"), spec.get("clusterIP"), spec.get("externalName"), ports


def _host_of(ingress: Obj) -> Any:
    return [rule["host"] for rule in ingress["spec"].get("rules") or ()]


def _rules_of(policy: Obj) -> Any:
    return [rule.get("ports") for rule in policy["spec"].get("ingress") or ()]


def _env_of(template: Obj) -> Any:
    """REVISION only: the others are ours."""
    return [e["value"] for c in template["spec"]["containers"] for e in c.get("env") or () if e["name"] == "REVISION"]


def _pods_of(workload: Obj) -> Any:
    spec = workload["spec"]
    return spec.get("replicas"), _env_of(spec["template"])


NOISE: Obj = {"metadata": {"labels": {REVISION: "spoilt"}}}
RATHER: Obj = {"metadata": {"labels": {REVISION: None}}}
UNLABELLED: Obj = {"metadata": {"labels": {"vapi.dev/managed-by": None}}}
NAMELESS: Obj = {"metadata": {"labels": {"vapi.dev/namespace": None}}}
NO_UID: Obj = {"metadata": {"annotations": {"vapi.dev/object-uid": None}}}
NO_NAME: Obj = {"metadata": {"annotations": {"vapi.dev/object-name": None}}}
BARE: Obj = {"metadata": {"annotations": None}}
NAKED: Obj = {"metadata": {"annotations": None, "labels": None}}
FREED: Obj = {"metadata": {"ownerReferences": None}}
EVERY_SPOIL: tuple[Obj, ...] = (NOISE, RATHER, UNLABELLED, NAMELESS, NO_UID, NO_NAME, BARE, NAKED, FREED)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.plural: kind
        for kind in (
            Kind(
                "configmaps", "api/v1", ("config-0", "config-1"),
                lambda name, revision: {"data": {"revision": str(revision), name: "x"}},
                content=lambda obj: obj.get("data"), on_demand=True,
                spoils=({"data": {"revision": "spoilt"}}, {"data": {"more": "spoilt"}}, {"data": None}),
            ),
            Kind(
                "secrets", "api/v1", ("secret-0", "secret-1"),
                lambda _name, revision: {"stringData": {"password": f"very-secret-{revision}-of-the-drill"}},
                content=lambda obj: obj.get("data"), on_demand=True,
                spoils=({"data": {"password": "c3BvaWx0"}}, {"data": None}),
            ),
            Kind(
                "services", "api/v1", tuple(f"service-{n}" for n in range(5)), _service, content=_ports,
                spoils=({"spec": {"ports": [{"port": 7, "protocol": "TCP"}]}}, {"spec": {"selector": {"a": "b"}}}),
            ),
            Kind(
                "ingresses", "apis/networking.k8s.io/v1", ("ingress-0",), _ingress, content=_host_of,
                spoils=({"spec": {"rules": [{"host": "spoilt.example.com"}]}},),
            ),
            Kind(
                "networkpolicies", "apis/networking.k8s.io/v1", ("policy-0",), _policy, content=_rules_of,
                spoils=({"spec": {"ingress": None}}, {"spec": {"podSelector": {}, "egress": [{}]}}),
            ),
            Kind(
                "poddisruptionbudgets", "apis/policy/v1", ("budget-0",), _budget,
                content=lambda obj: obj["spec"].get("minAvailable"), spoils=({"spec": {"minAvailable": 9}},),
            ),
            Kind("persistentvolumeclaims", "api/v1", ("claim-0",), _claim, fixed=True),
            Kind(
                "pods", "api/v1", ("pod-0",), _pod, content=_env_of, fixed=True,
                spoils=({"spec": {"activeDeadlineSeconds": 3600}},),
            ),
            Kind(
                "deployments", "apis/apps/v1", ("deployment-0", "deployment-1"), _deployment, content=_pods_of,
                spoils=({"spec": {"replicas": 0}}, {"spec": {"replicas": 3, "paused": True}}), workload=True,
            ),
            Kind(
                "statefulsets", "apis/apps/v1", ("set-0", "set-1"), _stateful_set, content=_pods_of,
                spoils=({"spec": {"replicas": 0}},), workload=True,
            ),
            Kind("daemonsets", "apis/apps/v1", ("daemon-0",), _daemon_set, content=_pods_of, workload=True),
            Kind(
                "jobs", "apis/batch/v1", ("job-0", "job-1"), _job, workload=True, fixed=True,
                content=lambda obj: obj["spec"].get("completions"), spoils=({"spec": {"suspend": True}},),
            ),
            Kind(
                "cronjobs", "apis/batch/v1", ("cron-0",), _cron_job, workload=True,
                content=lambda obj: obj["spec"].get("schedule"), spoils=({"spec": {"schedule": "0 0 1 1 *"}},),
            ),
        )
    }
)  # fmt: skip
