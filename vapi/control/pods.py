"""What controllers ask of a Pod: facts derived once per revision, and what follows from them. Pure."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from vapi.clock import parse_rfc3339
from vapi.gvk import Obj

FINISHED = ("Succeeded", "Failed")

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(frozen=True, slots=True)
class PodPort:
    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Address:
    """`family`: IPv4 or IPv6; `ip` in canonical form."""

    family: str
    ip: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """Times as Kubernetes writes them; "" where there is none."""

    phase: str
    deleting: bool
    node: str
    created: str
    ready: bool
    ready_since: str
    restarts: int
    deletion_cost: int
    addresses: tuple[Address, ...]
    hostname: str
    subdomain: str
    restart_policy: str
    ports: tuple[PodPort, ...]

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED

    @property
    def active(self) -> bool:
        """Counts as a replica. Source: controller.IsPodActive."""
        return not self.deleting and not self.finished

    @property
    def terminating(self) -> bool:
        return self.deleting and not self.finished


def pod_facts(pod: Obj) -> PodFacts:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    ready: Obj = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), {})
    return PodFacts(
        phase=status.get("phase", ""),
        deleting="deletionTimestamp" in metadata,
        node=spec.get("nodeName", ""),
        created=metadata.get("creationTimestamp", ""),
        ready=ready.get("status") == "True",
        ready_since=(ready.get("lastTransitionTime") or "") if ready.get("status") == "True" else "",
        restarts=max((c.get("restartCount", 0) for c in status.get("containerStatuses") or ()), default=0),
        deletion_cost=_deletion_cost(metadata.get("annotations") or {}),
        addresses=_addresses(status),
        hostname=spec.get("hostname", ""),
        subdomain=spec.get("subdomain", ""),
        restart_policy=spec.get("restartPolicy", ""),
        ports=_ports(spec),
    )


def _addresses(status: Obj) -> tuple[Address, ...]:
    ips = [each.get("ip", "") for each in status.get("podIPs") or ()] or [status.get("podIP", "")]
    found = (address_of(ip) for ip in ips if ip)
    return tuple(address for address in found if address is not None)


def address_of(text: str) -> Address | None:
    """None: it is no address."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return Address(f"IPv{ip.version}", str(ip))


def _ports(spec: Obj) -> tuple[PodPort, ...]:
    """Of containers, and of init containers that stay (sidecars): what a named target port can mean."""
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    return tuple(
        PodPort(port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
        for container in (*(spec.get("containers") or ()), *sidecars)
        for port in container.get("ports") or ()
    )


def _deletion_cost(annotations: Obj) -> int:
    try:
        return int(annotations.get(DELETION_COST, 0))
    except ValueError:
        return 0


def available_in_s(pod: PodFacts, min_ready_s: int, now: dt.datetime) -> float | None:
    """Seconds until the pod counts as available, 0 if it does now; None: not before it is ready."""
    if not pod.ready:
        return None
    if not min_ready_s:
        return 0.0
    if not pod.ready_since:
        return None
    since = parse_rfc3339(pod.ready_since)
    return max(0.0, (since + dt.timedelta(seconds=min_ready_s) - now).total_seconds())
