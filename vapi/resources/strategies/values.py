"""Forms of texts beyond object names: config keys, IP addresses, ports, paths. Each check answers "" or why not.

Source: k8s.io/apimachinery pkg/util/validation, pkg/api/validate/content.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from vapi import names

_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_config_key = re.compile(_CONFIG_KEY).fullmatch

CONFIG_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_CONFIG_KEY}')"
)
IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
MAX_PORT_NAME = 15

_RELAXED_ENV = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_relaxed_env = re.compile(r"[ -<>-~]+").fullmatch
_HEADER = r"[-A-Za-z0-9]+"
_header = re.compile(_HEADER).fullmatch
_HEADER_MESSAGE = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    f"(e.g. 'X-Header-Name', regex used for validation is '{_HEADER}')"
)
_PERCENT = "[0-9]+%"
_percent = re.compile(_PERCENT).fullmatch
_PERCENT_MESSAGE = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    f"(e.g. '1%',  or '93%', regex used for validation is '{_PERCENT}')"
)
_C_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_c_name = re.compile(_C_NAME).fullmatch
_C_NAME_MESSAGE = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    f"characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '{_C_NAME}')"
)
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{_LABEL}(\.{_LABEL})*"
_wildcard = re.compile(_WILDCARD).fullmatch
_WILDCARD_MESSAGE = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character "
    f"(e.g. '*.example.com', regex used for validation is '{_WILDCARD}')"
)
_UNDERSCORE = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED = rf"{_UNDERSCORE}(\.{_UNDERSCORE})*"
_underscored = re.compile(_UNDERSCORED).fullmatch
_UNDERSCORED_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_UNDERSCORED}')"
)
_decimal = re.compile(r"0|-?[1-9][0-9]*").fullmatch
_port_charset = re.compile(r"[-a-z0-9]+").fullmatch
_letter = re.compile(r"[a-z]").search

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def anything(_name: str) -> str:
    """For names that are not checked."""
    return ""


def config_key(text: str) -> str:
    if len(text) > names.MAX_SUBDOMAIN:
        return names.too_many_characters(names.MAX_SUBDOMAIN)
    if not _config_key(text):
        return CONFIG_KEY_MESSAGE
    if text == ".":
        return "must not be '.'"
    if text == "..":
        return "must not be '..'"
    return "must not start with '..'" if text.startswith("..") else ""


def env_name(text: str) -> str:
    return "" if _relaxed_env(text) else _RELAXED_ENV


def header_name(text: str) -> str:
    return "" if _header(text) else _HEADER_MESSAGE


def percent(text: str) -> str:
    return "" if _percent(text) else _PERCENT_MESSAGE


def c_identifier(text: str) -> str:
    return "" if _c_name(text) else _C_NAME_MESSAGE


def wildcard_subdomain(text: str) -> str:
    if len(text) > names.MAX_SUBDOMAIN:
        return names.too_many_characters(names.MAX_SUBDOMAIN)
    return "" if _wildcard(text) else _WILDCARD_MESSAGE


def underscored_subdomain(text: str) -> str:
    """Of DNS searches."""
    if len(text) > names.MAX_SUBDOMAIN:
        return names.too_many_characters(names.MAX_SUBDOMAIN)
    return "" if _underscored(text) else _UNDERSCORED_MESSAGE


def decimal_integer(text: str) -> str:
    if not text:
        return "must be non-empty"
    return "" if _decimal(text) else "must be a valid decimal integer in canonical form"


def port_name(text: str) -> Sequence[str]:
    """All that is wrong with the name of a port (IANA_SVC_NAME)."""
    problems = []
    if len(text) > MAX_PORT_NAME:
        problems.append(names.too_many_characters(MAX_PORT_NAME))
    if not _port_charset(text):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _letter(text):
        problems.append("must contain at least one letter (a-z)")
    if "--" in text:
        problems.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


# --- addresses -----------------------------------------------------------------------------------


def parse_ip(text: str) -> Address | None:
    """None for what is no address; leading zeros and zones are refused."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _sloppy(text: str) -> str:
    """Without the leading zeros of the parts of an IPv4 address."""
    head, colon, tail = text.rpartition(":")
    return head + colon + ".".join(part.lstrip("0") or part[:1] for part in tail.split(".")) if "." in tail else text


def parse_sloppy_ip(text: str) -> Address | None:
    """Leading zeros mean nothing."""
    return parse_ip(text) or parse_ip(_sloppy(text))


def ip(text: str) -> str:
    """Any spelling of an address, but no ambiguous one."""
    address = parse_ip(text)
    if address is None:
        return IP_MESSAGE if parse_sloppy_ip(text) is None else "must not have leading 0s"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return "must not be an IPv4-mapped IPv6 address"
    return ""


def ip_name(text: str) -> str:
    """Names of IPAddress objects: an address in its canonical form."""
    problem = ip(text)
    if problem:
        return problem
    canonical = str(parse_ip(text))
    return "" if canonical == text else f'must be in canonical form ("{canonical}")'


def parse_cidr(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """None for what is no network; bits beyond the prefix are cut off."""
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or parse_ip(address) is None:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def cidr(text: str) -> str:
    address, _, length = text.partition("/")
    network = parse_cidr(text)
    if network is None:
        sloppy = f"{_sloppy(address)}/{length}"
        return CIDR_MESSAGE if parse_cidr(sloppy) is None else "must not have leading 0s in IP or prefix length"
    if length != str(network.prefixlen):
        return "must not have leading 0s in IP or prefix length"
    parsed = parse_ip(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return "must not have an IPv4-mapped IPv6 address"
    return "" if parsed == network.network_address else "must not have bits set beyond the prefix length"


def canonical_cidr(text: str) -> str:
    problem = cidr(text)
    if problem:
        return problem
    canonical = str(parse_cidr(text))
    return "" if canonical == text else f'must be in canonical form ("{canonical}")'
