"""Defaults of workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers."""

from __future__ import annotations

from vapi.gvk import Obj
from vapi.schema.defaulting import pods
from vapi.schema.defaulting.storage import claim
from vapi.schema.defaulting.values import child, fill

_HISTORY = 10
_MAX_INT32 = 2**31 - 1


def pod_template(obj: Obj) -> None:
    pods.template(child(obj, "template"))


def deployment(obj: Obj) -> None:
    spec = child(obj, "spec")
    pods.template(child(spec, "template"))
    fill(spec, {"replicas": 1, "revisionHistoryLimit": _HISTORY, "progressDeadlineSeconds": 600})
    strategy = child(spec, "strategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        fill(child(strategy, "rollingUpdate"), {"maxUnavailable": "25%", "maxSurge": "25%"})
    obj.setdefault("status", {})


def replica_set(obj: Obj) -> None:
    spec = child(obj, "spec")
    spec.setdefault("replicas", 1)
    pods.template(child(spec, "template"))
    child(obj, "status").setdefault("replicas", 0)


def stateful_set(obj: Obj) -> None:
    spec = child(obj, "spec")
    pods.template(child(spec, "template"))
    fill(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": _HISTORY})
    strategy = child(spec, "updateStrategy")
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        child(strategy, "rollingUpdate")
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        fill(strategy["rollingUpdate"], {"partition": 0, "maxUnavailable": 1})
    retention = child(spec, "persistentVolumeClaimRetentionPolicy")
    fill(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
    for volume_claim in spec.get("volumeClaimTemplates") or ():
        fill(volume_claim, {"kind": "PersistentVolumeClaim", "apiVersion": "v1"})
        claim(volume_claim)
    fill(child(obj, "status"), {"replicas": 0, "availableReplicas": 0})


def daemon_set(obj: Obj) -> None:
    spec = child(obj, "spec")
    pods.template(child(spec, "template"))
    spec.setdefault("revisionHistoryLimit", _HISTORY)
    strategy = child(spec, "updateStrategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        fill(child(strategy, "rollingUpdate"), {"maxUnavailable": 1, "maxSurge": 0})


def replication_controller(obj: Obj) -> None:
    spec = child(obj, "spec")
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if template is not None:
        pods.template(template)
        labels = template.get("metadata", {}).get("labels")
        if labels:
            spec.setdefault("selector", dict(labels))
            child(obj, "metadata").setdefault("labels", dict(labels))
    child(obj, "status").setdefault("replicas", 0)


def job(obj: Obj) -> None:
    spec = child(obj, "spec")
    template = child(spec, "template")
    pods.template(template)
    if "parallelism" not in spec:
        spec["parallelism"] = 1
        spec.setdefault("completions", 1)
    if "backoffLimit" not in spec:
        spec["backoffLimit"] = _MAX_INT32 if "backoffLimitPerIndex" in spec else 6
    replacement = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    fill(
        spec,
        {
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": replacement,
            "manualSelector": False,
        },
    )
    labels = template.get("metadata", {}).get("labels")
    if labels:
        # the same map, as in Go: what the strategy adds to the one is in the other
        child(obj, "metadata").setdefault("labels", labels)
    failure_policy(spec)
    obj.setdefault("status", {})


def failure_policy(spec: Obj) -> None:
    for rule in spec.get("podFailurePolicy", {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"


def cron_job(obj: Obj) -> None:
    spec = child(obj, "spec")
    fill(
        spec,
        {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        },
    )
    job_spec = child(child(spec, "jobTemplate"), "spec")
    pods.template(child(job_spec, "template"))
    failure_policy(job_spec)
    obj.setdefault("status", {})
