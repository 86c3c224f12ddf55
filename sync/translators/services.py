"""Services: their numbers were given by the host already (the Allocator), so they go out with them.

`default/kubernetes` is not sent: it stands for our own Service, which exists.
"""

from __future__ import annotations

from sync import metadata as md
from sync.translator import SERVICES, Context, Translator
from vapi.gvk import GVK, Obj

GVK_SERVICE = GVK("", "v1", "Service")

NUMBERS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""What the host decides, besides the node port of each port."""

OWN = ("default", "kubernetes")


def to_host(virtual: Obj, context: Context) -> Obj:
    spec: Obj = dict(virtual["spec"])
    if spec.get("selector"):
        spec["selector"] = context.selector_labels(spec["selector"], virtual["metadata"]["namespace"])
    else:
        spec.pop("selector", None)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.host_metadata(virtual, GVK_SERVICE),
        "spec": spec,
    }


def wanted(virtual: Obj, context: Context) -> bool:
    metadata = virtual["metadata"]
    return (metadata["namespace"], metadata["name"]) != OWN and not is_mapped(virtual, context)


def is_mapped(virtual: Obj, context: Context) -> bool:
    """Whether it stands for a Service of the host (`service_mapping`): its numbers are that one's."""
    metadata = virtual["metadata"]
    ours = (metadata.get("labels") or {}).get(md.MAPPED) == md.FROM_HOST
    return ours and (metadata["namespace"], metadata["name"]) in context.mapped


def status(virtual: Obj, host: Obj) -> Obj:
    """The load balancer is the host's, conditions of the tenant's controllers stay."""
    theirs: Obj = host.get("status") or {}
    return {**(virtual.get("status") or {}), "loadBalancer": theirs.get("loadBalancer") or {}}


def replace(desired: Obj, host: Obj) -> bool:
    """The cluster IP of a Service cannot change, and the tenant's is the one that its pods know."""
    want, have = desired["spec"].get("clusterIP"), host["spec"].get("clusterIP")
    exposed = "ExternalName" not in (desired["spec"].get("type"), host["spec"].get("type"))
    return bool(exposed and want and have and want != have)


def retreat(desired: Obj) -> Obj | None:
    """Without the numbers that somebody may have taken meanwhile: any others will do."""
    spec = {k: v for k, v in desired["spec"].items() if k != "healthCheckNodePort"}
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
        spec.pop("clusterIPs", None)
    if spec.get("ports"):
        spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec["ports"]]
    return {**desired, "spec": spec} if spec != desired["spec"] else None


def take_numbers(spec: Obj, answer: Obj) -> None:
    """The host's numbers into the tenant's Service."""
    for key in NUMBERS:
        if key in answer:
            spec[key] = answer[key]
        else:
            spec.pop(key, None)
    given = {_port_key(port): port.get("nodePort") for port in answer.get("ports") or ()}
    for port in spec.get("ports") or ():
        number = given.get(_port_key(port))
        if number:
            port["nodePort"] = number
        else:
            port.pop("nodePort", None)


def _port_key(port: Obj) -> tuple[int, str]:
    return port["port"], port.get("protocol", "TCP")


TRANSLATOR = Translator(
    resource=SERVICES,
    gvk=GVK_SERVICE,
    to_host=to_host,
    wanted=wanted,
    status=status,
    replace=replace,
    retreat=retreat,
    exact=("spec.selector", "spec.ports", "spec.externalIPs", "spec.loadBalancerSourceRanges"),
    keeps_body=True,
    priority=1,
)
