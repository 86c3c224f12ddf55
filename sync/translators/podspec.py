"""PodSpec: what the spec of a pod and that of a template become on the host; the two share all of it.

What hangs on whose spec it is stands in `Terms`: a pod's own name is its hostname and part of its claims' names, and
it sees the Services of now. A template is for many pods that the host makes, and must not vary, or each change would
roll out: it has no names and no Services, only the API server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sync.translator import (
    CLAIMS,
    CONFIGMAPS,
    PRIORITYCLASSES,
    RUNTIMECLASSES,
    SECRETS,
    Context,
    Ref,
    Untranslatable,
    Withheld,
)
from sync.translators import podenv, podnames, podplacing, podtokens
from vapi.gvk import GVR, Obj

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


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose spec it is."""

    namespace: str
    """The tenant's."""
    token_secret: str
    """The host's Secret with its tokens."""
    pod: str = ""
    """The tenant's pod; "": it is a template's."""
    node: str = ""
    """Chosen by the tenant."""

    @property
    def field_paths(self) -> Mapping[str, str]:
        return podenv.FIELD_PATHS if self.pod else podenv.TEMPLATE_FIELD_PATHS


def host_spec(source: Obj, terms: Terms, context: Context) -> dict[str, Any]:
    """The PodSpec as the host is asked for it. Raises Untranslatable."""

    def new_name(_gvr: GVR, name: str) -> str:
        return context.host_name(name, terms.namespace)

    spec: dict[str, Any] = {k: v for k, v in podnames.rename(source, new_name).items() if k not in _DROPPED}
    if source.get("priorityClassName") and (priority_class := context.priority_class(source["priorityClassName"])):
        spec["priorityClassName"] = priority_class
    spec["serviceAccountName"] = context.service_account
    spec["automountServiceAccountToken"] = False
    spec["enableServiceLinks"] = False
    links = bool(terms.pod) and source.get("enableServiceLinks", True)
    variables = podenv.pod_variables(context, terms.namespace, service_links=links)
    for containers in podnames.CONTAINER_LISTS:
        if spec.get(containers):
            spec[containers] = [podenv.container_env(c, variables, terms.field_paths) for c in spec[containers]]
    if spec.get("volumes"):
        spec["volumes"] = [_volume(v, terms, context) for v in spec["volumes"]]
    spec = _place(spec, source, context, terms)
    _name_on_the_network(spec, terms, context)
    return spec


def _volume(volume: Obj, terms: Terms, context: Context) -> Obj:
    """One volume, names in it already renamed."""
    if volume.get("ephemeral") and terms.pod:
        claim = context.host_name(f"{terms.pod}-{volume['name']}", terms.namespace)
        return {"name": volume["name"], "persistentVolumeClaim": {"claimName": claim}}
    if (volume.get("downwardAPI") or {}).get("items"):
        downward = volume["downwardAPI"]
        items = podenv.downward_items(downward["items"], terms.field_paths)
        return {**volume, "downwardAPI": {**downward, "items": items}}
    projected = volume.get("projected")
    if projected and projected.get("sources"):
        sources = [_source(s, terms, volume["name"], i) for i, s in enumerate(projected["sources"])]
        return {**volume, "projected": {**projected, "sources": sources}}
    return volume


def _source(source: Obj, terms: Terms, volume: str, position: int) -> Obj:
    """One source of a projected volume."""
    if source.get("serviceAccountToken") is not None:
        return podtokens.host_source(terms.token_secret, volume, position, source["serviceAccountToken"])
    if source.get("podCertificate") is not None:
        raise Untranslatable(
            f'volume "{volume}": podCertificate is not supported: the host would certify an identity of its own'
        )
    if (source.get("downwardAPI") or {}).get("items"):
        downward = source["downwardAPI"]
        items = podenv.downward_items(downward["items"], terms.field_paths)
        return {**source, "downwardAPI": {**downward, "items": items}}
    return source


def _place(spec: dict[str, Any], source: Obj, context: Context, terms: Terms) -> dict[str, Any]:
    """The spec with where it may run."""
    affinity: dict[str, Any] = dict(source.get("affinity") or {})
    if context.virtual_nodes:  # what led to the node is dropped: it may be of labels that the host does not know
        affinity = {}
        spec = {k: v for k, v in spec.items() if k not in _PLACED_BY}
    for kind in ("podAffinity", "podAntiAffinity"):
        if affinity.get(kind):
            affinity[kind] = podplacing.pod_affinity(affinity[kind], context, terms.namespace)
    if terms.node:
        affinity = podplacing.on_node(affinity, terms.node)
    if affinity:
        spec["affinity"] = affinity
    if spec.get("topologySpreadConstraints"):
        spec["topologySpreadConstraints"] = podplacing.spread(
            spec["topologySpreadConstraints"], context, terms.namespace
        )
    return dict(podplacing.enforce(spec, context))


def _name_on_the_network(spec: dict[str, Any], terms: Terms, context: Context) -> None:
    unnamed = not spec.get("hostname") and not spec.get("hostNetwork") and not spec.get("hostnameOverride")
    if terms.pod and unnamed:
        spec["hostname"] = hostname(terms.pod)
    if context.api_server_ip:
        own = {"ip": context.api_server_ip, "hostnames": [h.format(context.cluster_domain) for h in _API_HOSTNAMES]}
        spec["hostAliases"] = [*(spec.get("hostAliases") or ()), own]
    if context.dns_ip and uses_cluster_dns(spec):
        spec["dnsPolicy"] = "None"
        spec["dnsConfig"] = _dns_config(
            spec.get("dnsConfig") or {}, context.dns_ip, terms.namespace, context.cluster_domain
        )


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


def downward_paths(spec: Obj) -> set[str]:
    """The field paths that downwardAPI volumes show (env cannot show whole maps)."""
    paths: set[str] = set()
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            for item in (source.get("downwardAPI") or {}).get("items") or ():
                paths.add((item.get("fieldRef") or {}).get("fieldPath", ""))
    return paths


_SYNCED = frozenset({CLAIMS, CONFIGMAPS, SECRETS})


def references(spec: Obj, namespace: str) -> Iterable[Ref]:
    """What a spec names and goes out with it, each once."""
    found = {Ref(gvr, namespace, name) for gvr, name in podnames.named(spec) if gvr in _SYNCED}
    if spec.get("priorityClassName"):
        found.add(Ref(PRIORITYCLASSES, "", spec["priorityClassName"]))
    return found


def admit(spec: Obj, context: Context) -> None:
    """What a spec names of the host's classes must be the host's. Raises Withheld."""
    name = spec.get("runtimeClassName")
    why = context.withheld_class(RUNTIMECLASSES, name) if name else ""
    if why:
        raise Withheld(f"not synced: {why}")
