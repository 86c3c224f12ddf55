"""Forms of texts beyond object names: config keys, IP addresses, ports, paths. Each check answers "" or why not.

Source: k8s.io/apimachinery pkg/util/validation, pkg/api/validate/content.
"""

from __future__ import annotations

import ipaddress
import re

from vapi import names

_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_config_key = re.compile(_CONFIG_KEY).fullmatch

CONFIG_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)
IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def anything(_name: str) -> str:
    """For names that are not checked."""
    return ""


def config_key(text: str) -> str:
    if len(text) > names.MAX_SUBDOMAIN:
        return names.too_long(names.MAX_SUBDOMAIN)
    if not _config_key(text):
        return CONFIG_KEY_MESSAGE
    if text == ".":
        return "must not be '.'"
    if text == "..":
        return "must not be '..'"
    return "must not start with '..'" if text.startswith("..") else ""


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def ip_name(text: str) -> str:
    """Names of IPAddress objects: an address in its canonical form."""
    address = parse_ip(text)
    if address is None or "%" in text:
        return IP_MESSAGE
    if str(address) != text:
        return f'must be in canonical form ("{address}")'
    return ""
