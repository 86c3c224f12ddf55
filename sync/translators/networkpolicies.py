"""NetworkPolicies: the tenant's namespaces as labels of pods, so that a policy means on the host what it meant here.

All pods of the tenant are in one namespace of the host. Each carries the virtual
cluster's and its namespace's name, and the labels of its Namespace under hashed keys:
a peer becomes a podSelector over these, and never meets a pod of anybody else. What
selectors cannot say is refused. Source: sync-behaviour, "NetworkPolicies"; design §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sync import metadata as md
from sync import names
from sync.translator import Context, Translator, Untranslatable
from vapi import selectors
from vapi.gvk import GVK, GVR, Obj

NETWORKPOLICIES = GVR("networking.k8s.io", "v1", "networkpolicies")
GVK_NETWORKPOLICY = GVK("networking.k8s.io", "v1", "NetworkPolicy")

DNS_PORT = 53
DNS_POD_PORT = 1053
"""Where the tenant's DNS listens: policies see the ports of pods, not those of the Service before them."""
DNS_PROTOCOLS = ("TCP", "UDP")
DNS_NAMESPACE = "kube-system"
DNS_LABELS = {"k8s-app": "kube-dns"}


def to_host(virtual: Obj, context: Context) -> Obj:
    """Raises Untranslatable."""
    namespace, spec = virtual["metadata"]["namespace"], virtual.get("spec") or {}
    desired: dict[str, Any] = {
        "podSelector": pods_of(spec.get("podSelector") or {}, context, namespace, "spec.podSelector"),
        "policyTypes": list(spec.get("policyTypes") or default_types(spec)),
    }
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        if spec.get(direction) is not None:
            desired[direction] = [
                rule
                for index, each in enumerate(spec[direction])
                for rule in _rules(each, peers, context, namespace, f"spec.{direction}[{index}]")
            ]
    return {
        "apiVersion": GVK_NETWORKPOLICY.api_version,
        "kind": GVK_NETWORKPOLICY.kind,
        "metadata": context.host_metadata(virtual, GVK_NETWORKPOLICY),
        "spec": desired,
    }


def default_types(spec: Obj) -> Sequence[str]:
    """Source: networking/v1 SetDefaults_NetworkPolicy."""
    return ("Ingress", "Egress") if spec.get("egress") else ("Ingress",)


def _rules(rule: Obj, peers: str, context: Context, namespace: str, where: str) -> Iterable[Obj]:
    """One rule, and a second one where the tenant's DNS is no pod that a selector could meet."""
    translated = dict(rule)
    if rule.get("ports"):
        translated["ports"] = with_dns(rule["ports"])
    if rule.get(peers):
        translated[peers] = [
            _peer(peer, context, namespace, f"{where}.{peers}[{index}]") for index, peer in enumerate(rule[peers])
        ]
    yield translated
    if peers == "to" and rule.get("to") and (found := context.dns_endpoints()):
        protocols = [p for p in DNS_PROTOCOLS if not rule.get("ports") or allows(rule["ports"], p, DNS_PORT)]
        if protocols and any(_means_dns(peer, context, namespace) for peer in rule["to"]):
            yield {
                "to": [
                    {"ipBlock": {"cidr": f"{ip}/{128 if ':' in ip else 32}"}} for ip in sorted({ip for ip, _ in found})
                ],
                "ports": [{"protocol": p, "port": port} for p in protocols for port in sorted({n for _, n in found})],
            }


# --- who ------------------------------------------------------------------------------------------------


def pods_of(selector: Obj, context: Context, namespace: str, where: str) -> Obj:
    """A selector over the pods of one tenant namespace. Raises Untranslatable."""
    return _checked(selector, where) | {
        "matchLabels": {**(selector.get("matchLabels") or {}), **context.own_labels(namespace)}
    }


def _peer(peer: Obj, context: Context, namespace: str, where: str) -> Obj:
    if peer.get("ipBlock") is not None:
        return peer
    pods, spaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if spaces is None:
        return {"podSelector": pods_of(pods or {}, context, namespace, f"{where}.podSelector")}
    selector = _checked(pods or {}, f"{where}.podSelector")
    labels = {**(selector.get("matchLabels") or {}), md.MANAGED_BY: context.cluster}
    labels |= {names.namespace_label(k): v for k, v in (spaces.get("matchLabels") or {}).items()}
    expressions = [
        *(selector.get("matchExpressions") or ()),
        *({**e, "key": names.namespace_label(e["key"])} for e in spaces.get("matchExpressions") or ()),
    ]
    return {"podSelector": {"matchLabels": labels} | ({"matchExpressions": expressions} if expressions else {})}


def _checked(selector: Obj, where: str) -> Obj:
    """The tenant's labels under our domain never leave, so nothing on the host could be selected by them."""
    keys = [*(selector.get("matchLabels") or ()), *(e["key"] for e in selector.get("matchExpressions") or ())]
    for key in keys:
        if md.reserved(key):
            raise Untranslatable(f"{where}: the label {key} is reserved: pods cannot be selected by it on the host")
    return selector


def _means_dns(peer: Obj, context: Context, namespace: str) -> bool:
    """Whether the peer would meet the pods that clusters usually have for DNS."""
    if peer.get("ipBlock") is not None:
        return False
    spaces = peer.get("namespaceSelector")
    if spaces is None:
        fits = namespace == DNS_NAMESPACE
    else:
        fits = selectors.label_selector_from_obj(spaces).matches(context.namespace_labels(DNS_NAMESPACE))
    return fits and selectors.label_selector_from_obj(peer.get("podSelector") or {}).matches(DNS_LABELS)


# --- which ports ----------------------------------------------------------------------------------------


def with_dns(ports: Sequence[Obj]) -> list[Obj]:
    """With the port of the DNS pods wherever 53 is allowed."""
    more = [
        {"protocol": protocol, "port": DNS_POD_PORT}
        for protocol in DNS_PROTOCOLS
        if allows(ports, protocol, DNS_PORT) and not allows(ports, protocol, DNS_POD_PORT)
    ]
    return [*ports, *more]


def allows(ports: Sequence[Obj], protocol: str, number: int) -> bool:
    """Whether one of a rule's ports (there is at least one) is this number; names are the pods' own."""
    return any((p.get("protocol") or "TCP") == protocol and _covers(p, number) for p in ports)


def _covers(port: Obj, number: int) -> bool:
    first = port.get("port")
    if first is None:
        return True
    return isinstance(first, int) and first <= number <= (port.get("endPort") or first)


TRANSLATOR = Translator(
    resource=NETWORKPOLICIES,
    gvk=GVK_NETWORKPOLICY,
    to_host=to_host,
    exact=("spec",),
)
