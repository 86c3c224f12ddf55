"""The core group, v1."""

from __future__ import annotations

import dataclasses

from vapi.gvk import GVK
from vapi.resources import fields
from vapi.resources.resource import Propagation, Resource, StoredKind, Subresource, Verb
from vapi.resources.rows import ALL, STATUS, action, editable, kind, proxy, review, scale, stream, subresources

V1 = ("", "v1")

BINDING = GVK("", "v1", "Binding")

_POD_FIELDS = {
    **fields.texts("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
    "spec.hostNetwork": fields.boolean("spec.hostNetwork"),
    **fields.texts("status.phase", "status.podIP", "status.nominatedNodeName"),
    "status.podIPs": fields.never,
}

INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

EVENT = StoredKind(
    GVK("", "v1", "Event"),
    "events",
    namespaced=True,
    fields={
        **fields.texts(*(f"involvedObject.{name}" for name in INVOLVED)),
        **fields.texts("reason", "reportingComponent", "type"),
        "source": fields.event_source,
    },
)
EVENT_TTL_S = 3600
"""kube-apiserver's --event-ttl."""

_POD_SUBRESOURCES = subresources(
    stream("attach", "PodAttachOptions"),
    action("binding", BINDING),
    editable("ephemeralcontainers"),
    action("eviction", GVK("policy", "v1", "Eviction")),
    stream("exec", "PodExecOptions"),
    Subresource("log", (Verb.GET,)),
    stream("portforward", "PodPortForwardOptions"),
    proxy("PodProxyOptions"),
    editable("resize"),
    editable("status"),
)


_COMPONENT_STATUSES = dataclasses.replace(
    review(V1, "componentstatuses", "ComponentStatus", short_names=("cs",), verbs=frozenset({Verb.GET, Verb.LIST})),
    stored=StoredKind(GVK("", "v1", "ComponentStatus"), "componentstatuses", False),
)
"""Of no component, since they all are this process: always an empty list."""

ROWS: tuple[Resource, ...] = (
    review(V1, "bindings", "Binding", namespaced=True),
    _COMPONENT_STATUSES,
    kind(V1, "configmaps", "ConfigMap", short_names=("cm",)),
    kind(V1, "endpoints", "Endpoints", short_names=("ep",), update_creates=True),
    kind(V1, "events", "Event", stored=EVENT, short_names=("ev",), update_creates=True, ttl_s=EVENT_TTL_S),
    kind(
        V1,
        "limitranges",
        "LimitRange",
        short_names=("limits",),
        update_creates=True,
    ),
    kind(
        V1,
        "namespaces",
        "Namespace",
        namespaced=False,
        short_names=("ns",),
        verbs=ALL - {Verb.DELETECOLLECTION},
        subresources=subresources(Subresource("finalize", (Verb.UPDATE,)), editable("status")),
        fields=fields.texts("status.phase"),
        delete_returns_object=True,
    ),
    kind(
        V1,
        "nodes",
        "Node",
        namespaced=False,
        short_names=("no",),
        subresources=subresources(proxy("NodeProxyOptions"), editable("status")),
        fields={"spec.unschedulable": fields.boolean("spec.unschedulable")},
    ),
    kind(
        V1,
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        short_names=("pvc",),
        subresources=STATUS,
        delete_returns_object=True,
    ),
    kind(
        V1,
        "persistentvolumes",
        "PersistentVolume",
        namespaced=False,
        short_names=("pv",),
        subresources=STATUS,
        delete_returns_object=True,
    ),
    kind(
        V1,
        "pods",
        "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=_POD_SUBRESOURCES,
        fields=_POD_FIELDS,
        field_labels={**{label: label for label in _POD_FIELDS}, "spec.host": "spec.nodeName"},
        has_generation=True,
        graceful=True,
        delete_returns_object=True,
    ),
    kind(V1, "podtemplates", "PodTemplate", has_generation=True, delete_returns_object=True),
    kind(
        V1,
        "replicationcontrollers",
        "ReplicationController",
        short_names=("rc",),
        categories=("all",),
        subresources=subresources(scale(), editable("status")),
        fields={"status.replicas": fields.number("status.replicas")},
        has_generation=True,
        default_propagation=Propagation.ORPHAN,
    ),
    kind(
        V1,
        "resourcequotas",
        "ResourceQuota",
        short_names=("quota",),
        subresources=STATUS,
        delete_returns_object=True,
    ),
    kind(V1, "secrets", "Secret", fields=fields.texts("type")),
    kind(
        V1,
        "serviceaccounts",
        "ServiceAccount",
        short_names=("sa",),
        subresources=subresources(action("token", GVK("authentication.k8s.io", "v1", "TokenRequest"))),
        delete_returns_object=True,
    ),
    kind(
        V1,
        "services",
        "Service",
        short_names=("svc",),
        categories=("all",),
        subresources=subresources(proxy("ServiceProxyOptions"), editable("status")),
        fields=fields.texts("spec.clusterIP", "spec.type"),
        update_creates=True,
        delete_returns_object=True,
    ),
)
