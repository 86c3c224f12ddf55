"""HostAllocator: the numbers of a tenant's Service come from the host, before the Service is committed.

On every write that needs a number (any verb): the host's Service is made or
changed first, then its clusterIPs, families and node ports are what is committed. A host error is
the tenant's answer, in the tenant's names; nothing is stored then. A host
Service without its virtual one (we died between the two) is released after two minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sync import metadata as md
from sync.cluster import Cluster, ClusterError, Unreachable
from sync.ownership import HostState, Identity, classify, make_twin
from sync.state import with_desired_hash
from sync.translator import SERVICES, Context, Untranslatable
from sync.translators import services
from vapi import errors
from vapi.clock import Clock, rfc3339
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.allocator import Release
from vapi.registry.caller import Caller

NUMBERS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
"""What the host decides, besides the node port of each port."""
_ASKS = (
    "type",
    "ports",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "allocateLoadBalancerNodePorts",
)
"""A change of these may need another number."""
_NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
TRIES = 3
ANSWER_S = 10.0
"""A tenant waits no longer than this for a host that is silent; what it makes later, the engine releases."""
NO_HOST = "the host cluster cannot be reached, and Services get their addresses from it: try again"


class HostAllocator:
    """Knows the host from `attach` on; until then a Service that needs a number is answered with 503."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._host: Cluster | None = None
        self._context: Callable[[], Context] | None = None

    @property
    def attached(self) -> bool:
        return self._host is not None

    def attach(self, host: Cluster, context: Callable[[], Context]) -> None:
        self._host = host
        self._context = context

    async def allocate(self, caller: Caller, obj: Obj, old: Obj | None) -> Release:
        metadata, spec = obj["metadata"], obj["spec"]
        if self._context is not None and services.is_mapped(obj, self._context()):
            return _nothing_to_release  # it has the numbers of the host's Service for which it stands
        if old is not None:
            keep_numbers(spec, old["spec"])
        if (metadata["namespace"], metadata["name"]) == services.OWN or not _needs_numbers(spec, old):
            without_numbers(spec)
            return _nothing_to_release
        if caller.dry_run:
            return _nothing_to_release
        if self._host is None or self._context is None:
            raise errors.service_unavailable(NO_HOST, retry_after_s=1)
        context = self._context()
        try:
            async with asyncio.timeout(ANSWER_S):
                answer, made = await self._ask(self._host, context, obj, exists=old is not None)
        except (Unreachable, TimeoutError):
            raise errors.service_unavailable(NO_HOST, retry_after_s=1) from None
        except ClusterError as error:
            raise self._in_tenant_names(error, metadata, context) from None
        take_numbers(spec, answer["spec"])
        return self._releaser(answer) if made else _nothing_to_release

    async def released(self, obj: Obj) -> None:
        """The engine deletes the twin of a deleted Service."""

    async def _ask(self, host: Cluster, context: Context, obj: Obj, *, exists: bool) -> tuple[Obj, bool]:
        """The host's Service as it answered, and whether it was made just now. Raises ClusterError.

        `exists`: the host should have it, so look first: a POST would be refused for its own address, not its name.
        """
        desired = self._desired(context, obj)
        name = desired["metadata"]["name"]
        look, refused = exists, None
        for _ in range(TRIES):
            if look:
                found = await _find(host, context, name)
                if found is None and refused is not None:
                    raise refused
                if found is not None and await self._is_ours(host, context, obj, found):
                    desired["metadata"]["uid"] = found["metadata"]["uid"]
                    return await host.apply(SERVICES, desired), False
            desired["metadata"].pop("uid", None)
            try:
                return await host.create(SERVICES, desired), True
            except ClusterError as error:
                if error.code not in (409, 422) or isinstance(error, Unreachable):
                    raise
                look, refused = True, error if error.code == 422 else None
        raise refused or ClusterError(409, "Conflict", f'services "{name}" is being deleted on the host, try again')

    async def _is_ours(self, host: Cluster, context: Context, obj: Obj, found: Obj) -> bool:
        """True: the twin of this very Service. False: a predecessor's was deleted, ask again. Raises for others."""
        metadata = obj["metadata"]
        name = found["metadata"]["name"]
        identity = Identity(context.cluster, "Service", metadata["namespace"], metadata["name"], name)
        match classify(make_twin(found), identity, virtual_uid=metadata["uid"]):
            case HostState.OURS:
                return True
            case HostState.FOREIGN:
                raise ClusterError(
                    409, "Conflict", f'services "{name}": an object of somebody else has its place on the host'
                )
            case HostState.STALE:
                await host.delete(SERVICES, context.host_namespace, name, uid=found["metadata"]["uid"])
        return False

    def _desired(self, context: Context, obj: Obj) -> Obj:
        try:
            desired = services.to_host(obj, context)
        except Untranslatable as error:
            raise errors.forbidden(SERVICES, obj["metadata"]["name"], str(error)) from None
        desired, _ = with_desired_hash(desired)
        desired["metadata"]["annotations"][md.ALLOCATED_AT] = rfc3339(self._clock.now())
        return desired

    def _in_tenant_names(self, error: ClusterError, metadata: Obj, context: Context) -> ApiError:
        name, namespace = metadata["name"], metadata["namespace"]
        message = error.message.replace(context.host_name(name, namespace), name).replace(
            context.host_namespace, namespace
        )
        details: Obj = {"name": name, "kind": "Service" if error.code == 422 else "services"}
        if error.code == 422:
            details["causes"] = [_cause(message)]
        return ApiError(error.code, error.reason, message, details, int(error.retry_after_s))

    def _releaser(self, made: Obj) -> Release:
        async def release() -> None:
            metadata = made["metadata"]
            if self._host is None:
                return
            try:
                await self._host.delete(SERVICES, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            except ClusterError:
                return  # the engine finds it without a virtual Service and releases it after two minutes

        return release


async def _find(host: Cluster, context: Context, name: str) -> Obj | None:
    try:
        return await host.get(SERVICES, context.host_namespace, name)
    except ClusterError as error:
        if error.code != 404:
            raise
        return None


def _cause(message: str) -> Obj:
    """Of `Service "x" is invalid: field: why`: kubectl prints causes, not the message. Of several errors one cause."""
    said = message.partition(" is invalid: ")[2] or message
    field, colon, why = said.partition(": ")
    if not colon or said.startswith("["):
        return {"reason": "FieldValueInvalid", "message": said, "field": "spec"}
    return {"reason": "FieldValueInvalid", "message": why, "field": field}


async def _nothing_to_release() -> None:
    return None


def _needs_numbers(spec: Obj, old: Obj | None) -> bool:
    if spec.get("type") == "ExternalName":
        return False
    headless = spec.get("clusterIP") == "None"
    if headless and spec.get("type") not in _NODE_PORT_TYPES:
        return False
    if old is None:
        return True
    return any(spec.get(key) != old["spec"].get(key) for key in _ASKS)


def without_numbers(spec: dict[str, Any]) -> None:
    """ExternalName and headless Services: what kube-apiserver fills in without asking an allocator."""
    if spec.get("type") == "ExternalName":
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(key, None)
        return
    if spec.get("clusterIP") != "None":
        return
    spec["clusterIPs"] = ["None"]
    if "ipFamilies" not in spec:
        both = not spec.get("selector") and "ipFamilyPolicy" not in spec
        spec["ipFamilies"] = ["IPv4", "IPv6"] if both else ["IPv4"]
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if both else "SingleStack")
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def keep_numbers(spec: dict[str, Any], old: Obj) -> None:
    """An update that leaves numbers out means the old ones. Source: registry/core/service patchAllocatedValues."""
    if spec.get("type") == "ExternalName" or old.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        for key in ("clusterIP", "clusterIPs"):
            if key in old:
                spec[key] = old[key]
    for key in ("ipFamilies", "ipFamilyPolicy"):
        if key not in spec and key in old:
            spec[key] = old[key]
    if spec.get("type") in _NODE_PORT_TYPES and old.get("type") in _NODE_PORT_TYPES:
        ports = {(p.get("protocol"), p["port"]): p.get("nodePort") for p in old.get("ports") or ()}
        used = {p.get("nodePort") for p in spec.get("ports") or ()}
        for port in spec.get("ports") or ():
            before = ports.get((port.get("protocol"), port["port"]))
            if not port.get("nodePort") and before and before not in used:
                port["nodePort"] = before
    elif spec.get("type") == "ClusterIP":
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if spec.get("type") == "LoadBalancer" and old.get("healthCheckNodePort"):
        spec.setdefault("healthCheckNodePort", old["healthCheckNodePort"])


def take_numbers(spec: dict[str, Any], answer: Obj) -> None:
    """The host's numbers into the tenant's Service."""
    for key in NUMBERS:
        if key in answer:
            spec[key] = answer[key]
        else:
            spec.pop(key, None)
    theirs = answer.get("ports") or []
    for port, given in zip(spec.get("ports") or (), theirs, strict=False):
        if given.get("nodePort"):
            port["nodePort"] = given["nodePort"]
        else:
            port.pop("nodePort", None)
