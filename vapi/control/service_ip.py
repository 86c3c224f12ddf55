"""The numbers of Services when no host gives them: cluster IPs and node ports from ranges of our own.

What is taken is read from the view (facts once per revision) plus the claims of
writes that are still on their way; between looking and claiming nothing awaits.
Claims end by themselves: by then the write is in the view, or it failed. With
several replicas on one etcd this is not enough (design §3: claimed by creating a key).
Source: pkg/registry/core/service/storage/alloc.go, ipallocator, portallocator; contract §5.3.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vapi import errors
from vapi.clock import Clock
from vapi.control import kinds
from vapi.control.informer import sliced
from vapi.control.service_families import EXTERNAL_NAME, NONE, SERVICE, family_of, fill_families
from vapi.gvk import Obj
from vapi.registry.admission import Lookup
from vapi.registry.allocator import Release
from vapi.registry.caller import Caller

DEFAULT_RANGE = "10.96.0.0/16"
DEFAULT_PORTS = (30000, 32767)

CLAIM_S = 120.0
"""Longer than any request: a claim that is this old is in the view, or its write failed."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Number = str | int
"""A cluster IP or a node port."""


@dataclass(frozen=True, slots=True)
class IpRange:
    """Addresses of one family. The first 256 at most are kept for those who ask for one. Source: ipallocator."""

    network: Network

    @property
    def family(self) -> str:
        return f"IPv{self.network.version}"

    def has(self, address: str) -> bool:
        """The network's own and, for IPv4, the broadcast address are not given."""
        number = int(ipaddress.ip_address(address)) - int(self.network.network_address)
        return 0 < number <= self._size

    @property
    def _size(self) -> int:
        return min(self.network.num_addresses, 1 << 16) - (2 if self.network.version == 4 else 1)

    def free(self, is_taken: Callable[[Number], bool], pick: random.Random) -> str | None:
        """None: all are taken."""
        kept = min(max(16, (self._size + 2) // 16), 256, self._size)
        base = self.network.network_address
        offset = _free((kept, self._size), (0, kept), lambda n: is_taken(str(base + n + 1)), pick)
        return None if offset is None else str(base + offset + 1)


DRY_RUN_PORT = 32_768
"""A dry run is given the numbers after it; upstream portallocator."""


@dataclass(frozen=True, slots=True)
class PortRange:
    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def free(self, is_taken: Callable[[Number], bool], pick: random.Random) -> int | None:
        size = self.last - self.first + 1
        kept = min(max(16, size // 32), 128, size)
        offset = _free((kept, size), (0, kept), lambda n: is_taken(self.first + n), pick)
        return None if offset is None else self.first + offset


def _free(
    upper: tuple[int, int], lower: tuple[int, int], is_taken: Callable[[int], bool], pick: random.Random
) -> int | None:
    """The first free number from a random one on, going round; in `lower` only when `upper` is full."""
    for start, end in (upper, lower):
        size = end - start
        begin = pick.randrange(size) if size > 0 else 0
        for step in range(size):
            number = start + (begin + step) % size
            if not is_taken(number):
                return number
    return None


def numbers_of(service: Obj) -> tuple[Number, ...]:
    """What a Service holds."""
    spec = service.get("spec") or {}
    if spec.get("type") == EXTERNAL_NAME:
        return ()
    ips: Sequence[str] = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    ports = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    health = [spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else []
    return (*(ip for ip in ips if ip and ip != NONE), *ports, *health)


class ServiceAllocator:
    """The `Allocator` of Services. Runs on the loop."""

    def __init__(
        self,
        lookup: Lookup,
        clock: Clock,
        *,
        ip_ranges: Sequence[str] = (DEFAULT_RANGE,),
        ports: tuple[int, int] = DEFAULT_PORTS,
        pick: random.Random | None = None,
    ) -> None:
        """`ip_ranges`: one per family, the default one first. Raises ValueError for a bad range."""
        self._lookup = lookup
        self._clock = clock
        self._ranges = {each.family: each for each in (IpRange(ipaddress.ip_network(text)) for text in ip_ranges)}
        self._ports = PortRange(*ports)
        self._pick = pick or random.Random()
        self._known: dict[str, tuple[int, tuple[Number, ...]]] | None = None
        """Store key → revision and the numbers it has there; None before the first look."""
        self._claims: dict[Number, float] = {}
        """Number → when the claim ends."""

    async def allocate(self, caller: Caller, obj: Obj, old: Obj | None) -> Release:
        """See `registry.allocator`. A dry run gets an address that is free now and stand-ins for ports.

        It claims none: the write that follows may get others.
        """
        spec = obj["spec"]
        if old is not None:
            await self.released(old)  # it is in the view: its claims have done their work
        if spec.get("type") == EXTERNAL_NAME:
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"):
                spec.pop(key, None)
            _drop_node_ports(spec)
            return _nothing
        if self._known is None:
            await self._learn()
        work = _Allocation(self, obj, old, self._taken(), dry_run=caller.dry_run)
        work.cluster_ips()
        work.node_ports()
        work.health_check_port()
        if caller.dry_run or not work.claimed:
            return _nothing
        claimed = tuple(work.claimed)
        ends = self._clock.monotonic() + CLAIM_S
        self._claims.update(dict.fromkeys(claimed, ends))

        async def release(*, committed: bool = False) -> None:
            for number in () if committed else claimed:  # of what is committed they end by themselves
                self._claims.pop(number, None)

        return release

    async def released(self, obj: Obj) -> None:
        """Claims of `obj` end; what it holds in the view counts as long as it is there."""
        for number in numbers_of(obj):
            self._claims.pop(number, None)

    @property
    def ranges(self) -> dict[str, IpRange]:
        return self._ranges

    @property
    def port_range(self) -> PortRange:
        return self._ports

    @property
    def pick(self) -> random.Random:
        return self._pick

    async def _learn(self) -> None:
        """What is there at the start, in slices: from then on a look decodes but what has changed."""
        known: dict[str, tuple[int, tuple[Number, ...]]] = {}
        async for entry in sliced(self._lookup.entries(kinds.SERVICES)):
            known[entry.key] = (entry.revision, numbers_of(entry.obj()))
        self._known = known

    def _taken(self) -> set[Number]:
        """Never awaits: between it and the claim nobody else takes a number."""
        now = self._clock.monotonic()
        self._claims = {number: ends for number, ends in self._claims.items() if ends > now}
        taken: set[Number] = set(self._claims)
        before, known = self._known or {}, {}
        for entry in self._lookup.entries(kinds.SERVICES):
            found = before.get(entry.key)
            if found is None or found[0] != entry.revision:
                found = (entry.revision, numbers_of(entry.obj()))
            known[entry.key] = found
            taken.update(found[1])
        self._known = known
        return taken


class _Allocation:
    """One write: what it asks for, what it holds already, what it is given."""

    def __init__(
        self, allocator: ServiceAllocator, service: Obj, old: Obj | None, taken: set[Number], *, dry_run: bool
    ) -> None:
        self._allocator = allocator
        self._dry_run = dry_run
        self._service = service
        self._spec: Obj = service["spec"]
        self._old = old
        self._before: Obj = (old or {}).get("spec") or {}
        self._held = set(numbers_of(old)) if old else set()
        self._taken = taken
        self.claimed: list[Number] = []

    # --- cluster IPs ----------------------------------------------------------------------------------

    def cluster_ips(self) -> None:
        spec, before = self._spec, self._before
        if not spec.get("clusterIP") and not spec.get("clusterIPs") and before.get("clusterIPs"):
            # A PUT that names none keeps what it has. Source: patchAllocatedValues.
            spec.update(clusterIP=before["clusterIP"], clusterIPs=list(before["clusterIPs"]))
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        self._check_ips(spec.get("clusterIPs") or ())
        ranges = self._allocator.ranges
        fill_families(self._service, self._old, tuple(ranges))
        ips: list[str] = list(spec.get("clusterIPs") or ())
        if ips and ips[0] == NONE:
            spec["clusterIP"] = NONE
            return
        families: Sequence[str] = spec.get("ipFamilies") or ()
        asked = list(ips)
        for index, family in enumerate(families):
            if index >= len(ips):
                ips.append(self._any_ip(ranges[family]))
            else:
                self._this_ip(ips[index], asked)
        spec["clusterIPs"] = ips[: max(1, len(families))]
        spec["clusterIP"] = ips[0]

    def _check_ips(self, ips: Sequence[str]) -> None:
        """Raises ApiError 422. Source: validation.ValidateServiceClusterIPsRelatedFields."""
        causes = []
        for index, ip in enumerate(ips):
            try:
                if ip != NONE:
                    family_of(ip)
            except ValueError:
                detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                causes.append(errors.field_invalid(f"spec.clusterIPs[{index}]", ip, detail))
        if causes:
            raise errors.invalid(SERVICE, self._service["metadata"]["name"], causes)

    def _any_ip(self, ip_range: IpRange) -> str:
        ip = ip_range.free(self._taken.__contains__, self._allocator.pick)
        if ip is None:
            name = self._service["metadata"]["name"]
            raise errors.internal(f'failed to allocate a serviceIP for Service "{name}": range is full')
        self._claim(ip)
        return ip

    def _this_ip(self, ip: str, asked: list[str]) -> None:
        if ip in self._held:
            return
        ip_range = self._allocator.ranges.get(family_of(ip))
        if ip_range is None or not ip_range.has(ip):
            self._refuse_ip(ip, asked, "the provided network does not match the current range")
        if ip in self._taken:
            self._refuse_ip(ip, asked, "provided IP is already allocated")
        self._claim(ip)

    def _refuse_ip(self, ip: str, asked: list[str], why: str) -> None:
        cause = errors.field_invalid("spec.clusterIPs", asked, f"failed to allocate IP {ip}: {why}")
        raise errors.invalid(SERVICE, self._service["metadata"]["name"], [cause])

    # --- node ports -----------------------------------------------------------------------------------

    def node_ports(self) -> None:
        """One number a port; ports with the same number and different protocols share one."""
        spec = self._spec
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            _drop_node_ports(spec)
            return
        gives = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)
        ports: Sequence[Obj] = spec.get("ports") or ()
        shared = {port["port"]: port["nodePort"] for port in reversed(ports) if port.get("nodePort")}
        mine: set[Number] = set(self._held)
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                self._this_port(port["nodePort"], f"spec.ports[{index}].nodePort", mine)
            elif not gives:
                continue
            elif port["port"] in shared and self._old is None:
                port["nodePort"] = shared[port["port"]]
            else:
                port["nodePort"] = shared[port["port"]] = self._any_port("a nodePort")
            mine.add(port["nodePort"])

    def _any_port(self, what: str) -> int:
        if self._dry_run:
            # a stand-in that says so by counting up; upstream: PortAllocationOperation.AllocateNext
            number: int | None = 1 + max((n for n in self.claimed if isinstance(n, int)), default=DRY_RUN_PORT)
        else:
            number = self._allocator.port_range.free(self._taken.__contains__, self._allocator.pick)
        if number is None:
            raise errors.internal(f"failed to allocate {what}: range is full")
        self._claim(number)
        return number

    def _this_port(self, number: int, path: str, mine: Iterable[Number]) -> None:
        if number in mine:
            return
        why = self._why_not(number)
        if why:
            cause = errors.field_invalid(path, number, why)
            raise errors.invalid(SERVICE, self._service["metadata"]["name"], [cause])
        self._claim(number)

    def _why_not(self, number: int) -> str:
        ports = self._allocator.port_range
        if number not in ports:
            valid = f"{ports.first}-{ports.last}"
            return f"provided port is not in the valid range. The range of valid ports is {valid}"
        return "provided port is already allocated" if number in self._taken else ""

    def health_check_port(self) -> None:
        spec = self._spec
        if spec.get("type") != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            spec.pop("healthCheckNodePort", None)
            return
        number = spec.get("healthCheckNodePort") or self._before.get("healthCheckNodePort") or 0
        if not number:
            number = self._any_port("a HealthCheck NodePort 0")
        elif number not in self._held:
            why = self._why_not(number)
            if why:
                raise errors.internal(f"failed to allocate requested HealthCheck NodePort {number}: {why}")
            self._claim(number)
        spec["healthCheckNodePort"] = number

    def _claim(self, number: Number) -> None:
        self._taken.add(number)
        self.claimed.append(number)


def _drop_node_ports(spec: Obj) -> None:
    for port in spec.get("ports") or ():
        port.pop("nodePort", None)


async def _nothing(*, committed: bool = False) -> None:
    return None
