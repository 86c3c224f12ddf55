"""Group apps, v1."""

from __future__ import annotations

from vapi.resources import fields
from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, editable, kind, scale, subresources

V1 = ("apps", "v1")

_SCALED = subresources(scale(), editable("status"))

ROWS: tuple[Resource, ...] = (
    kind(V1, "controllerrevisions", "ControllerRevision"),
    kind(
        V1,
        "daemonsets",
        "DaemonSet",
        short_names=("ds",),
        categories=("all",),
        subresources=STATUS,
        has_generation=True,
    ),
    kind(
        V1,
        "deployments",
        "Deployment",
        short_names=("deploy",),
        categories=("all",),
        subresources=_SCALED,
        has_generation=True,
    ),
    kind(
        V1,
        "replicasets",
        "ReplicaSet",
        short_names=("rs",),
        categories=("all",),
        subresources=_SCALED,
        fields={"status.replicas": fields.number("status.replicas")},
        has_generation=True,
    ),
    kind(
        V1,
        "statefulsets",
        "StatefulSet",
        short_names=("sts",),
        categories=("all",),
        subresources=_SCALED,
        has_generation=True,
    ),
)
