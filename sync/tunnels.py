"""Tunnels: where on the host a tenant's logs, exec, attach, portforward and proxy requests go.

Pure path work plus one GET: right before dialling, the host pod on the
translated name must be the twin of the tenant's pod (marker and uid). Only containers of the
tenant's pod are reached; what the host injected stays out of sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

from sync import rights
from sync.cluster import Cluster, ClusterError
from sync.ownership import HostState, Identity, Twin, classify, make_twin
from sync.translator import PODS, SERVICES, Context
from sync.virtual import VirtualCluster
from sync.wording import in_tenant_words
from vapi.gvk import GVR, Obj

NAMED = ("log", "exec", "attach")
"""Subresources that take a container."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class HostPath:
    """On the host's API server: path and query of the same request there. "" : there is nothing yet (204)."""

    path: str
    query: str
    say: Callable[[str], str] = field(default=str, compare=False)
    """What the host answers in place of the container, in the tenant's words."""


class Tunnels:
    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        context: Callable[[], Context],
        child: Callable[[str], str] = lambda _uid: "",
    ) -> None:
        """`child`: uid of a pod that the host's controllers made → its name there; "": it is none of those."""
        self._child = child
        self._virtual = virtual
        self._host = host
        self._context = context
        self._rights = rights.Told()

    async def pod(self, namespace: str, name: str, subresource: str, query: str, rest: str = "") -> HostPath:
        """Raises ClusterError in the tenant's names. `name` of a proxy may be `[scheme:]name[:port]`."""
        scheme, plain, port = _split(name) if subresource == "proxy" else ("", name, "")
        entry = self._virtual.cached(PODS, namespace, plain)
        if entry is None:
            raise _not_found(PODS, plain)
        pod = entry.obj()
        if not pod["spec"].get("nodeName"):
            if subresource == "log":
                return HostPath("", "")
            raise ClusterError(400, "BadRequest", f"pod {plain} does not have a host assigned")
        if subresource in NAMED:
            query = _with_container(pod, subresource, query)
        twin = await self._twin("Pod", PODS, entry.namespace, plain, entry.uid)
        host_name = ":".join(p for p in (scheme, twin.name, port) if p) if subresource == "proxy" else twin.name
        path = f"/api/v1/namespaces/{self._context().host_namespace}/pods/{quote(host_name, safe=':')}/{subresource}"
        return HostPath(f"{path}{rest}", query, self._words(twin, namespace, plain))

    async def service(self, namespace: str, name: str, query: str, rest: str = "") -> HostPath:
        """The proxy of a Service. Raises ClusterError."""
        scheme, plain, port = _split(name)
        entry = self._virtual.cached(SERVICES, namespace, plain)
        if entry is None:
            raise _no_endpoints(plain)
        twin = await self._twin("Service", SERVICES, namespace, plain, entry.uid)
        host_name = f"{scheme}:{twin.name}:{port}" if scheme else ":".join(p for p in (twin.name, port) if p)
        path = f"/api/v1/namespaces/{self._context().host_namespace}/services/{quote(host_name, safe=':')}/proxy"
        return HostPath(f"{path}{rest}", query, self._words(twin, namespace, plain))

    def _words(self, twin: Twin, namespace: str, name: str) -> Callable[[str], str]:
        context = self._context()

        def say(text: str) -> str:
            self._rights.tell(text)
            return in_tenant_words(
                rights.for_tenant(text),
                {twin.name: name},
                cluster=context.cluster,
                host_namespace=context.host_namespace,
                namespace=namespace,
            )

        return say

    async def _twin(self, kind: str, gvr: GVR, namespace: str, name: str, uid: str) -> Twin:
        context = self._context()
        child = self._child(uid) if gvr == PODS else ""
        host_name = child or context.host_name(name, namespace)
        try:
            found = await self._host.get(gvr, context.host_namespace, host_name)
        except ClusterError as error:
            if error.code == 404:
                raise ClusterError(404, "NotFound", f'{gvr.resource} "{name}" not found on its node') from None
            raise
        twin = make_twin({"kind": kind, **found})
        if child and twin.uid == uid and twin.managed_by == context.cluster:
            return twin
        identity = Identity(context.cluster, kind, namespace, name, host_name)
        state = classify(twin, identity, virtual_uid=uid)
        if state not in (HostState.OURS, HostState.OURS_DELETING):
            raise ClusterError(404, "NotFound", f'{gvr.resource} "{name}" not found on its node')
        return twin


def _with_container(pod: Obj, subresource: str, query: str) -> str:
    """The query with a container of the tenant's pod in it. Raises ClusterError 400 as kube-apiserver words it."""
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = next((value for key, value in pairs if key == "container"), "")
    name, spec = pod["metadata"]["name"], pod["spec"]
    containers = [c["name"] for c in spec.get("containers") or ()]
    every = containers + [c["name"] for key in ("initContainers", "ephemeralContainers") for c in spec.get(key) or ()]
    if asked:
        if asked not in every:
            raise ClusterError(400, "BadRequest", f"container {asked} is not valid for pod {name}")
        return query
    annotations = pod["metadata"].get("annotations") or {}
    chosen = annotations.get(DEFAULT_CONTAINER, "") if subresource != "log" else ""
    if chosen not in containers:
        chosen = _only(name, containers, spec)
    pairs = [(key, value) for key, value in pairs if key != "container"]
    return urlencode([*pairs, ("container", chosen)])


def _only(name: str, containers: Sequence[str], spec: Obj) -> str:
    if len(containers) == 1:
        return containers[0]
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    inits = [c["name"] for c in spec.get("initContainers") or ()]
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise ClusterError(400, "BadRequest", text)


def _split(name: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]`. Source: apimachinery util/net SplitSchemeNamePort."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return ("", parts[0], parts[1]) if len(parts) == 2 else ("", name, "")


def _not_found(gvr: GVR, name: str) -> ClusterError:
    return ClusterError(404, "NotFound", f'{gvr.resource} "{name}" not found')


def _no_endpoints(name: str) -> ClusterError:
    return ClusterError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
