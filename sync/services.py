"""HostAllocator: the numbers of a tenant's Service come from the host, before the Service is committed.

On every write that needs a number, whatever the verb: the host's Service is made or changed first, then its
clusterIPs, families and node ports are what is committed. A host error is the tenant's answer, in the tenant's names;
nothing is stored then. A dry run is one on the host, too. From the host's answer to the commit the engine keeps away
from the Service (`gate`). A host Service without its virtual one (we died between the two) is released after two
minutes, or at once when another write needs its number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from sync import metadata as md
from sync.cluster import Cluster, ClusterError, PatchType, Unreachable
from sync.gate import Gate
from sync.ownership import HostState, Identity, Twin, applier_patch, classify, make_twin
from sync.state import with_desired_hash
from sync.translator import SERVICES, Context, Untranslatable
from sync.translators import services
from sync.wording import details_in_tenant_words, in_tenant_words
from vapi import errors
from vapi.clock import Clock, rfc3339
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.admission import Lookup
from vapi.registry.allocator import Release
from vapi.registry.caller import Caller

log = logging.getLogger(__name__)

_ASKS = (
    "type",
    "ports",
    "clusterIP",
    "clusterIPs",
    "ipFamilies",
    "ipFamilyPolicy",
    "externalIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "allocateLoadBalancerNodePorts",
)
"""A change of these may need another number, or be refused by the host."""
EXTERNAL_NAME = "ExternalName"
ANSWER_S = 10.0
"""A tenant waits no longer than this for a host that is silent; what it makes later, the engine releases."""
AGAIN_S = 0.05
"""Between two looks at a predecessor that is still going. A host tells of a deletion before its numbers are free."""
TAKEN = "already allocated"
"""In what a host says of a number that somebody has. Source: ipallocator.ErrAllocated, portallocator.ErrAllocated."""
NO_HOST = "the host cluster cannot be reached, and Services get their addresses from it: try again"
STILL_GOING = "the host object of a deleted Service of that name is still there: try again"
_PIECE = 64
"""Twins looked through between two turns of the loop: a decode is 10 µs (law 9)."""


def _no_twins() -> Iterable[Twin]:
    return ()


class HostAllocator:
    """Knows the host from `attach` on; until then a Service that needs a number is answered with 503."""

    def __init__(self, clock: Clock, lookup: Lookup | None = None) -> None:
        """`lookup`: the tenant's Services; None: none is known (tests of a single Service)."""
        self.gate = Gate()
        self._clock = clock
        self._lookup = lookup
        self._host: Cluster | None = None
        self._context: Callable[[], Context] | None = None
        self._twins: Callable[[], Iterable[Twin]] = _no_twins

    @property
    def attached(self) -> bool:
        return self._host is not None

    def use(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def attach(
        self, host: Cluster, context: Callable[[], Context], twins: Callable[[], Iterable[Twin]] = _no_twins
    ) -> None:
        """`twins`: what is known of the host's Services."""
        self._host = host
        self._context = context
        self._twins = twins

    async def allocate(self, caller: Caller, obj: Obj, old: Obj | None) -> Release:
        metadata, spec = obj["metadata"], obj["spec"]
        name = (metadata["namespace"], metadata["name"])
        if old is None and self._uid(name):
            raise errors.already_exists(SERVICES, metadata["name"])  # or its twin would be taken for a predecessor's
        if self._context is not None and services.is_mapped(obj, self._context()):
            return _nothing_to_release  # it has the numbers of the host's Service for which it stands
        if name == services.OWN or not _asks(spec, old):
            without_numbers(spec)
            return _nothing_to_release
        if self._host is None or self._context is None:
            raise errors.service_unavailable(NO_HOST, retry_after_s=1)
        context, asked = self._context(), _Asked(self._host, self._context(), obj, rehearsed=caller.dry_run)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.gate.enter(name)
                try:
                    if old is None and self._uid(name):
                        raise errors.already_exists(SERVICES, metadata["name"])
                    answer = await self._answer(asked, context, obj, exists=old is not None)
                except BaseException:
                    self.gate.leave(name)
                    raise
        except TimeoutError:
            raise errors.service_unavailable(STILL_GOING if asked.waits else NO_HOST, retry_after_s=1) from None
        services.take_numbers(spec, answer["spec"])
        return self._releaser(name, answer if asked.made else None)

    async def released(self, obj: Obj) -> None:
        """The engine deletes the twin of a deleted Service."""

    async def _answer(self, asked: _Asked, context: Context, obj: Obj, *, exists: bool) -> Obj:
        """The host's Service as it answered. Raises ApiError."""
        try:
            desired = self._desired(context, obj)
            return await asked.answer(desired, exists=exists, free=self._free)
        except ClusterError as error:
            raise _in_tenant_names(error, obj["metadata"], context) from None

    def _desired(self, context: Context, obj: Obj) -> Obj:
        try:
            desired = services.to_host(obj, context)
        except Untranslatable as error:
            raise errors.forbidden(SERVICES, obj["metadata"]["name"], str(error)) from None
        desired, _ = with_desired_hash(desired)
        desired["metadata"]["annotations"][md.ALLOCATED_AT] = rfc3339(self._clock.now())
        return desired

    async def _free(self, host: Cluster, desired: Obj) -> bool:
        """Delete our Services that nobody has any more and that hold a number of `desired`; whether there were any."""
        asked, freed = numbers_of(desired["spec"]), False
        for count, twin in enumerate(list(self._twins())):
            if count % _PIECE == _PIECE - 1:
                await asyncio.sleep(0)
            name = (twin.object_namespace, twin.object_name)
            held = twin.value is not None and not twin.deleting and self._uid(name) != twin.object_uid
            mine = twin.name == desired["metadata"]["name"]
            if not held or mine or self.gate.busy(name) or asked.isdisjoint(numbers_of(twin.obj()["spec"])):
                continue
            await _delete(host, desired["metadata"]["namespace"], twin.name, twin.uid)
            freed = True
        return freed

    def _uid(self, name: tuple[str, str]) -> str:
        """Of the tenant's Service; "" without one."""
        entry = self._lookup.cached(SERVICES, *name) if self._lookup is not None else None
        return entry.uid if entry is not None else ""

    def _releaser(self, name: tuple[str, str], made: Obj | None) -> Release:
        done = False

        async def release(*, committed: bool = False) -> None:
            nonlocal done
            if done:
                return
            done = True
            try:
                if made is not None and not committed and self._host is not None:
                    metadata = made["metadata"]
                    await self._host.delete(SERVICES, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            except ClusterError:
                pass  # the engine finds it without a virtual Service and releases it after two minutes
            finally:
                self.gate.leave(name)

        return release


class _Asked:
    """What one write asks of the host, until it has answered."""

    def __init__(self, host: Cluster, context: Context, obj: Obj, *, rehearsed: bool) -> None:
        metadata = obj["metadata"]
        self._host = host
        self._uid = metadata["uid"]
        self._rehearsed = rehearsed
        self._namespace = context.host_namespace
        self._name = context.host_name(metadata["name"], metadata["namespace"])
        self._identity = Identity(
            context.cluster, md.kind_text(services.GVK_SERVICE), metadata["namespace"], metadata["name"], self._name
        )
        self.made = False
        """It was made, just now."""
        self.waits = False
        """For a predecessor to go."""

    async def answer(self, desired: Obj, *, exists: bool, free: Callable[[Cluster, Obj], Any]) -> Obj:
        """`exists`: the host should have it, so look first. Goes on until cancelled. Raises ClusterError.

        `free`: whether numbers that stood in the way have been given back.
        """
        look, refused = exists, False
        while True:
            found = await self._find() if look else None
            if found is not None and not await self._is_ours(found):
                self.waits = True
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                if found is not None:
                    return await self._change(found, desired)
                return await self._make(desired)
            except ClusterError as error:
                taken = TAKEN in error.message
                if isinstance(error, Unreachable) or not (taken or error.code in (404, 409, 422)):
                    raise
                if error.code == 404 and found is None:
                    raise  # the namespace is missing
                if not taken and error.code != 422:
                    await asyncio.sleep(0)
                elif found is None and await self._find() is not None:
                    pass  # its own predecessor may have what it asks for
                elif not taken or refused:
                    raise
                else:
                    refused = True
                    if not await free(self._host, desired):
                        await asyncio.sleep(AGAIN_S)
                look = True

    async def _make(self, desired: Obj) -> Obj:
        if self._rehearsed:
            return await self._host.rehearse(SERVICES, desired, apply=False)
        answer = await self._host.create(SERVICES, desired)
        self.made = True
        return answer

    async def _change(self, found: Obj, desired: Obj) -> Obj:
        metadata = {**desired["metadata"], "uid": found["metadata"]["uid"]}
        if self._rehearsed:
            return await self._host.rehearse(SERVICES, {**desired, "metadata": metadata}, apply=True)
        operations = applier_patch(found)
        if operations:
            await self._host.patch(SERVICES, self._namespace, self._name, operations, content_type=PatchType.JSON)
        return await self._host.apply(SERVICES, {**desired, "metadata": metadata})

    async def _find(self) -> Obj | None:
        try:
            return await self._host.get(SERVICES, self._namespace, self._name)
        except ClusterError as error:
            if error.code != 404:
                raise
            return None

    async def _is_ours(self, found: Obj) -> bool:
        """True: the twin of this very Service. False: it is going, as a predecessor's does. Raises for others."""
        match classify(make_twin(found), self._identity, virtual_uid=self._uid):
            case HostState.OURS:
                return True
            case HostState.FOREIGN:
                raise ClusterError(
                    409, "Conflict", f'services "{self._name}": an object of somebody else has its place on the host'
                )
            case HostState.STALE if not self._rehearsed:
                await _delete(self._host, self._namespace, self._name, found["metadata"]["uid"])
        return False


async def _delete(host: Cluster, namespace: str, name: str, uid: str) -> None:
    try:
        await host.delete(SERVICES, namespace, name, uid=uid)
    except ClusterError as error:
        if error.code not in (404, 409):
            raise


def _in_tenant_names(error: ClusterError, metadata: Obj, context: Context) -> ApiError:
    """What the host says of a Service is the tenant's answer; what it says of us is not."""
    name, namespace = metadata["name"], metadata["namespace"]
    about_us = error.code in (401, 404) or (error.code == 403 and 'User "' in error.message)
    if isinstance(error, Unreachable) or about_us:
        if about_us:
            log.warning("the host gives no numbers to Services", extra={"code": error.code, "error": error.message})
        return errors.service_unavailable(NO_HOST, retry_after_s=1)

    def say(text: str) -> str:
        known = {context.host_name(name, namespace): name}
        return in_tenant_words(
            text, known, cluster=context.cluster, host_namespace=context.host_namespace, namespace=namespace
        )

    details = error.details
    if details is not None:
        details = details_in_tenant_words({k: v for k, v in details.items() if k != "uid"}, say)
    return ApiError(error.code, error.reason, say(error.message), details, int(error.retry_after_s))


async def _nothing_to_release(*, committed: bool = False) -> None:
    return None


def _asks(spec: Obj, old: Obj | None) -> bool:
    if old is None:
        return spec.get("type") != EXTERNAL_NAME
    before = old["spec"]
    if spec.get("type") == before.get("type") == EXTERNAL_NAME:
        return False
    return any(spec.get(key) != before.get(key) for key in _ASKS)


def numbers_of(spec: Obj) -> frozenset[str | int]:
    """Addresses and node ports that it has, or asks for."""
    found = [*(spec.get("clusterIPs") or ()), spec.get("clusterIP"), spec.get("healthCheckNodePort")]
    found += [port.get("nodePort") for port in spec.get("ports") or ()]
    return frozenset(number for number in found if number and number != "None")


def without_numbers(spec: dict[str, Any]) -> None:
    """ExternalName Services: what kube-apiserver takes away without asking an allocator."""
    if spec.get("type") == EXTERNAL_NAME:
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(key, None)
