"""Pods: the one kind whose life goes both ways. Source of the rules: sync-behaviour §3, design §6.

`to_host` gives the pod as it is created; later only its mutable paths go out
(`podupdate`), and its status comes back (`podstatus`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sync import metadata as md
from sync import names
from sync.translator import CONFIGMAPS, PODS, SECRETS, Context, Ref, Translator, Untranslatable, WhenLost
from sync.translators import podenv, podnames, podplacing, podstatus, podtokens, podupdate
from vapi.gvk import GVK, GVR, Obj

GVK_POD = GVK("", "v1", "Pod")

_DROPPED = frozenset(
    {
        "evictionResponders",
        "nodeName",
        "preemptionPolicy",  # computed from the priority: the host refuses another
        "priority",
        "priorityClassName",
        "schedulingGroup",
        "serviceAccount",
        "subdomain",
        "workloadRef",
    }
)

_PLACED_BY = frozenset({"affinity", "nodeSelector", "schedulerName", "topologySpreadConstraints"})
"""By which the tenant's scheduler chose the node."""

_API_HOSTNAMES = ("kubernetes.default.svc.{}", "kubernetes", "kubernetes.default", "kubernetes.default.svc")

MAX_HOSTNAME = 63

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 2048
"""Of a dnsConfig. Source: apis/core/validation validatePodDNSConfig."""


def to_host(virtual: Obj, context: Context) -> Obj:
    """Raises Untranslatable."""
    metadata = virtual["metadata"]
    namespace = metadata["namespace"]
    spec = _spec(virtual, context, namespace)
    desired = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": context.host_metadata(virtual, GVK_POD, controller=True),
        "spec": spec,
    }
    _add_metadata(desired, virtual, context)
    conditions = podstatus.gate_conditions(virtual)
    if conditions:
        desired["status"] = {"conditions": conditions}
    return desired


def _spec(virtual: Obj, context: Context, namespace: str) -> Obj:
    source: Obj = virtual["spec"]

    def new_name(_gvr: GVR, name: str) -> str:
        return context.host_name(name, namespace)

    spec = {k: v for k, v in podnames.rename(source, new_name).items() if k not in _DROPPED}
    spec["serviceAccountName"] = context.service_account
    spec["automountServiceAccountToken"] = False
    spec["enableServiceLinks"] = False
    variables = podenv.pod_variables(context, namespace, service_links=source.get("enableServiceLinks", True))
    for containers in podnames.CONTAINER_LISTS:
        if spec.get(containers):
            spec[containers] = [podenv.container_env(c, variables) for c in spec[containers]]
    if spec.get("volumes"):
        spec["volumes"] = [_volume(v, virtual, context) for v in spec["volumes"]]
    spec = _place(spec, source, context, namespace, context.chosen_node(virtual))
    _name_on_the_network(spec, virtual, context)
    return spec


def _volume(volume: Obj, virtual: Obj, context: Context) -> Obj:
    """One volume, names in it already renamed."""
    if volume.get("ephemeral"):
        metadata = virtual["metadata"]
        claim = context.host_name(f"{metadata['name']}-{volume['name']}", metadata["namespace"])
        return {"name": volume["name"], "persistentVolumeClaim": {"claimName": claim}}
    if (volume.get("downwardAPI") or {}).get("items"):
        downward = volume["downwardAPI"]
        return {**volume, "downwardAPI": {**downward, "items": podenv.downward_items(downward["items"])}}
    projected = volume.get("projected")
    if projected and projected.get("sources"):
        secret = podtokens.token_secret_name(context.cluster, virtual)
        sources = [_source(s, secret, volume["name"], i) for i, s in enumerate(projected["sources"])]
        return {**volume, "projected": {**projected, "sources": sources}}
    return volume


def _source(source: Obj, secret: str, volume: str, position: int) -> Obj:
    """One source of a projected volume."""
    if source.get("serviceAccountToken") is not None:
        return podtokens.host_source(secret, volume, position, source["serviceAccountToken"])
    if source.get("podCertificate") is not None:
        raise Untranslatable(
            f'volume "{volume}": podCertificate is not supported: the host would certify an identity of its own'
        )
    if (source.get("downwardAPI") or {}).get("items"):
        downward = source["downwardAPI"]
        return {**source, "downwardAPI": {**downward, "items": podenv.downward_items(downward["items"])}}
    return source


def _place(spec: dict[str, Any], source: Obj, context: Context, namespace: str, node: str) -> dict[str, Any]:
    """The spec with where it may run. `node`: chosen by the tenant, or ""."""
    affinity: dict[str, Any] = dict(source.get("affinity") or {})
    if context.virtual_nodes:  # what led to the node is dropped: it may be of labels that the host does not know
        affinity = {}
        spec = {k: v for k, v in spec.items() if k not in _PLACED_BY}
    for kind in ("podAffinity", "podAntiAffinity"):
        if affinity.get(kind):
            affinity[kind] = podplacing.pod_affinity(affinity[kind], context, namespace)
    if node:
        affinity = podplacing.on_node(affinity, node)
    if affinity:
        spec["affinity"] = affinity
    if spec.get("topologySpreadConstraints"):
        spec["topologySpreadConstraints"] = podplacing.spread(spec["topologySpreadConstraints"], context, namespace)
    return dict(podplacing.enforce(spec, context))


def _name_on_the_network(spec: dict[str, Any], virtual: Obj, context: Context) -> None:
    namespace = virtual["metadata"]["namespace"]
    if not spec.get("hostname") and not spec.get("hostNetwork") and not spec.get("hostnameOverride"):
        spec["hostname"] = hostname(virtual["metadata"]["name"])
    if context.api_server_ip:
        own = {"ip": context.api_server_ip, "hostnames": [h.format(context.cluster_domain) for h in _API_HOSTNAMES]}
        spec["hostAliases"] = [*(spec.get("hostAliases") or ()), own]
    if context.dns_ip and uses_cluster_dns(spec):
        spec["dnsPolicy"] = "None"
        spec["dnsConfig"] = _dns_config(spec.get("dnsConfig") or {}, context.dns_ip, namespace, context.cluster_domain)


def uses_cluster_dns(spec: Obj) -> bool:
    """Whether a pod's nameserver is the cluster's, by its dnsPolicy. Source: kubelet dns.go getPodDNSType."""
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    return policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.get("hostNetwork"))


def hostname(name: str) -> str:
    """Of a pod that sets none. Source: kubelet GeneratePodHostNameAndDomain, with dots made dashes."""
    return name[:MAX_HOSTNAME].replace(".", "-").rstrip("-")


def _dns_config(own: Obj, dns_ip: str, namespace: str, domain: str) -> Obj:
    """The tenant's DNS first; a user's own ndots stays. Cut where the host would refuse the pod."""
    options = list(own.get("options") or ())
    if not any(o.get("name") == "ndots" for o in options):
        options.append({"name": "ndots", "value": "5"})
    searches = dict.fromkeys([f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *(own.get("searches") or ())])
    return {
        "nameservers": [dns_ip, *(n for n in own.get("nameservers") or () if n != dns_ip)][:MAX_NAMESERVERS],
        "searches": _cut(list(searches)),
        "options": options,
    }


def _cut(searches: list[str]) -> list[str]:
    kept: list[str] = []
    for search in searches[:MAX_SEARCHES]:
        if len(" ".join([*kept, search])) > MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    return kept


def _add_metadata(desired: Obj, virtual: Obj, context: Context) -> None:
    """Labels of the Namespace, what fieldRefs read, and what later patches must know."""
    metadata = virtual["metadata"]
    labels: dict[str, str] = desired["metadata"]["labels"]
    annotations: dict[str, str] = desired["metadata"]["annotations"]
    tenant_labels = md.tenant_labels(virtual, context.from_host)
    tenant_annotations = md.tenant_annotations(virtual, context.from_host)
    gates = [g["name"] for g in virtual["spec"].get("schedulingGates") or ()]
    namespace_labels = {
        names.namespace_label(key): value for key, value in context.namespace_labels(metadata["namespace"]).items()
    }
    labels |= namespace_labels
    annotations[md.SERVICE_ACCOUNT] = virtual["spec"].get("serviceAccountName") or "default"
    annotations[md.GENERATION] = str(metadata.get("generation", 1))
    if context.virtual_nodes:
        annotations[md.NODE] = context.chosen_node(virtual)
    used = _downward_paths(virtual["spec"])
    if "metadata.labels" in used:
        annotations[md.LABELS_TEXT] = md.downward_text(metadata.get("labels") or {}, podenv.quoted)
    if "metadata.annotations" in used:
        annotations[md.ANNOTATIONS_TEXT] = md.downward_text(_seen_annotations(metadata), podenv.quoted)
    annotations[md.KEYS] = md.keys_text([*tenant_labels, *namespace_labels], tenant_annotations, gates)


def _seen_annotations(metadata: Obj) -> Mapping[str, str]:
    """All but the mark, which is no business of the tenant's containers and changes with each twin."""
    return {k: v for k, v in (metadata.get("annotations") or {}).items() if k != md.HOST_UID}


def _downward_paths(spec: Obj) -> set[str]:
    """The field paths that downwardAPI volumes show (env cannot show whole maps)."""
    paths: set[str] = set()
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            for item in (source.get("downwardAPI") or {}).get("items") or ():
                paths.add((item.get("fieldRef") or {}).get("fieldPath", ""))
    return paths


_SYNCED = frozenset({CONFIGMAPS, SECRETS})


def references(virtual: Obj) -> Iterable[Ref]:
    """The ConfigMaps and Secrets that it names, each once."""
    namespace = virtual["metadata"]["namespace"]
    return {Ref(gvr, namespace, name) for gvr, name in podnames.named(virtual["spec"]) if gvr in _SYNCED}


def wanted(virtual: Obj, context: Context) -> bool:
    """With virtual nodes: once the tenant's scheduler has placed it."""
    return not context.virtual_nodes or bool(context.chosen_node(virtual))


def creation(desired: Obj) -> Obj:
    """Without ephemeral containers and readiness gates' conditions, which can only be added to a pod that is."""
    spec = {k: v for k, v in desired["spec"].items() if k != "ephemeralContainers"}
    return {k: v for k, v in desired.items() if k != "status"} | {"spec": spec}


TRANSLATOR = Translator(
    resource=PODS,
    gvk=GVK_POD,
    to_host=to_host,
    references=references,
    wanted=wanted,
    creation=creation,
    status=podstatus.status,
    update=podupdate.update,
    settle=podupdate.settle,
    when_lost=WhenLost.END,
    forwards_deletion=True,
    keeps_body=True,
    priority=2,
)
