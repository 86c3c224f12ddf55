"""Choice: which DNS a configuration asks for, and where its parts are."""

from __future__ import annotations

import ipaddress

from vapi.config import Address, Config, ConfigError
from vapi.dns.manifest import Mode, Settings

PORT = 1053
"""Above 1024, so that nobody needs a capability to listen; users of vcluster know it."""
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


def listen(config: Config) -> Address:
    """Of the embedded server."""
    return config.dns_listen or Address(config.listen.host, PORT)


def _address(config: Config) -> tuple[str, int] | None:
    """None where no slice can say it: names and loopback are no endpoints."""
    if config.advertise is None:
        return None
    try:
        advertised = ipaddress.ip_address(config.advertise.host)
    except ValueError:
        return None
    return None if advertised.is_loopback else (str(advertised), listen(config).port)
