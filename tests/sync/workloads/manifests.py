"""Workloads as a tenant writes them, one of each kind, and whose an object is."""

from __future__ import annotations

from vapi.gvk import Obj


def template(app: str, image: str = "i:1", **spec: object) -> Obj:
    containers = [{"name": "c", "image": image}]
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": containers, **spec}}


def deployment(replicas: int = 2) -> Obj:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def daemon_set(**spec: object) -> Obj:
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent"), **spec}
    return {"metadata": {"name": "agent", "namespace": "default"}, "spec": spec}


def stateful_set() -> Obj:
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "db"}},
        "template": template("db"),
    }
    return {"metadata": {"name": "db", "namespace": "default"}, "spec": spec}


def job(**spec: object) -> Obj:
    spec = {"template": template("once", restartPolicy="Never"), **spec}
    return {"metadata": {"name": "once", "namespace": "default"}, "spec": spec}


def cron_job() -> Obj:
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job()["spec"]}}
    return {"metadata": {"name": "tick", "namespace": "default"}, "spec": spec}


def owner(obj: Obj) -> tuple[str, str, str]:
    (reference,) = obj["metadata"]["ownerReferences"]
    assert reference["controller"]
    return reference["kind"], reference["name"], reference["uid"]
