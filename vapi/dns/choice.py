"""Choice: which DNS a configuration asks for, and where its parts are."""

from __future__ import annotations

import ipaddress

from vapi.config import Address, Config, ConfigError
from vapi.dns.manifest import Mode, Settings

PORT = 1053
"""Above 1024, so that nobody needs a capability to listen; users of vcluster know it."""
WILDCARDS = ("0.0.0.0", "::")
REAL_HOSTS = ("in-cluster", "kubeconfig")


def settings(config: Config) -> Settings:
    """Raises ConfigError for an embedded server that pods could not be told to reach."""
    mode = _mode(config)
    address = None
    if mode is Mode.EMBEDDED:
        address = _address(config)
        if address is None and config.host.kind in REAL_HOSTS:
            raise ConfigError(
                "--dns embedded: needs --advertise with an IP address under which pods reach this process"
            )
    return Settings(
        mode, domain=config.cluster_domain, image=config.dns_image, forward=config.dns_forward, address=address
    )


def _mode(config: Config) -> Mode:
    """Of `auto`: CoreDNS where it runs and can reach our API; without one pods keep the host's DNS."""
    if config.dns != "auto":
        return Mode(config.dns)
    reached = config.host.kind == "in-cluster" or config.advertise is not None
    return Mode.COREDNS if config.host.kind in REAL_HOSTS and reached else Mode.NONE


def listen(config: Config) -> tuple[Address, ...]:
    """Of the embedded server: the first of these that is this machine's.

    Where the API server listens; but on all addresses only in need: a UDP answer leaves from the address of its way,
    which on a machine with several need not be the one that was asked, and is thrown away then.
    """
    if config.dns_listen is not None:
        return (config.dns_listen,)
    own = Address(config.listen.host, PORT)
    if own.host not in WILDCARDS or config.advertise is None or not _is_address(config.advertise.host):
        return (own,)
    return (Address(config.advertise.host, PORT), own)


def _address(config: Config) -> tuple[str, int] | None:
    """None where no slice can say it: names and loopback are no endpoints."""
    if config.advertise is None or not _is_address(config.advertise.host):
        return None
    advertised = ipaddress.ip_address(config.advertise.host)
    return None if advertised.is_loopback else (str(advertised), listen(config)[0].port)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
