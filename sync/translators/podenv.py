"""The environment of a container: the variables of the API server and of Services, and fields of the tenant's pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sync import metadata as md
from sync.translator import Context, ServiceLink
from vapi import encoding
from vapi.gvk import Obj

FIELD_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "metadata.name": f"metadata.annotations['{md.OBJECT_NAME}']",
        "metadata.namespace": f"metadata.annotations['{md.OBJECT_NAMESPACE}']",
        "metadata.uid": f"metadata.annotations['{md.OBJECT_UID}']",
        "spec.serviceAccountName": f"metadata.annotations['{md.SERVICE_ACCOUNT}']",
        "metadata.labels": f"metadata.annotations['{md.LABELS_TEXT}']",
        "metadata.annotations": f"metadata.annotations['{md.ANNOTATIONS_TEXT}']",
    }
)
"""Fields that differ on the host → the annotation that holds the tenant's. All others are the same there."""

TEMPLATE_FIELD_PATHS: Mapping[str, str] = MappingProxyType(
    {path: annotation for path, annotation in FIELD_PATHS.items() if path != "metadata.uid"}
)
"""The same for templates of the host's controllers: what these make has the host's uid in the tenant, too."""


def field_ref(reference: Obj, paths: Mapping[str, str] = FIELD_PATHS) -> Obj:
    """An ObjectFieldSelector that reads the tenant's value."""
    path = paths.get(reference.get("fieldPath", ""))
    return reference if path is None else {**reference, "fieldPath": path}


def downward_items(items: Iterable[Obj], paths: Mapping[str, str] = FIELD_PATHS) -> list[Obj]:
    """The items of a downwardAPI volume or source."""
    return [{**i, "fieldRef": field_ref(i["fieldRef"], paths)} if i.get("fieldRef") else i for i in items]


def container_env(container: Obj, variables: Mapping[str, str], paths: Mapping[str, str] = FIELD_PATHS) -> Obj:
    """A copy with `variables` before its own (so that `$(VAR)` finds them), without those that it sets itself."""
    own = [
        {**e, "valueFrom": {**e["valueFrom"], "fieldRef": field_ref(e["valueFrom"]["fieldRef"], paths)}}
        if (e.get("valueFrom") or {}).get("fieldRef")
        else e
        for e in container.get("env") or ()
    ]
    if not variables and not own:
        return container
    taken = {e["name"] for e in own}
    injected = [{"name": name, "value": value} for name, value in variables.items() if name not in taken]
    return {**container, "env": injected + own}


def pod_variables(context: Context, namespace: str, *, service_links: bool) -> dict[str, str]:
    """Sorted by name. Those of the API server are always there, also for a pod without service links.

    Source: kubelet getServiceEnvVarMap, envvars.FromServices.
    """
    variables: dict[str, str] = {}
    if service_links:
        for link in context.service_links(namespace):
            variables |= link_variables(link)
    if context.api_server_ip:
        server = ServiceLink("kubernetes", context.api_server_ip, (("https", context.api_server_port, "TCP"),))
        variables |= link_variables(server)
    return dict(sorted(variables.items()))


def link_variables(link: ServiceLink) -> dict[str, str]:
    """The variables of one Service: `_SERVICE_*` and those of Docker links."""
    prefix = link.name.upper().replace("-", "_")
    host = f"[{link.ip}]" if ":" in link.ip else link.ip
    variables = {f"{prefix}_SERVICE_HOST": link.ip}
    for position, (name, port, protocol) in enumerate(link.ports):
        url = f"{protocol.lower()}://{host}:{port}"
        if position == 0:
            variables[f"{prefix}_SERVICE_PORT"] = str(port)
            variables[f"{prefix}_PORT"] = url
        if name:
            variables[f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}"] = str(port)
        docker = f"{prefix}_PORT_{port}_{protocol.upper()}"
        variables[docker] = url
        variables[f"{docker}_PROTO"] = protocol.lower()
        variables[f"{docker}_PORT"] = str(port)
        variables[f"{docker}_ADDR"] = link.ip
    return variables


def service_link(service: Obj) -> ServiceLink | None:
    """What other pods see of a Service; None when it has no address of its own."""
    spec = service.get("spec") or {}
    ip = spec.get("clusterIP")
    if not ip or ip == "None":
        return None
    ports = tuple((p.get("name") or "", p["port"], p.get("protocol") or "TCP") for p in spec.get("ports") or ())
    return ServiceLink(service["metadata"]["name"], ip, ports)


def quoted(text: str) -> str:
    """As Go's %q does it for ordinary text."""
    return encoding.dumps(text).decode()
