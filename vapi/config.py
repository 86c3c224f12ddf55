"""Configuration: flags over VAPI_… variables over the YAML file over defaults; the only reader of the environment.

Every setting is a row of `SETTINGS`: its flag is `--host-rate`, its variable
`VAPI_HOST_RATE`, its key in the file `hostRate`. What is unknown or does not fit is
refused by name before anything starts.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vapi import names

MAX_NAME = 32
"""Of a virtual cluster: its name ends every host name, 63 characters in all."""
RESOLV_CONF = "/etc/resolv.conf"
DNS_PORT = 53
MAX_RESOLVERS = 15
"""CoreDNS's plugin forward takes no more."""
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ConfigError(Exception):
    """One line for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostChoice:
    """`kind` is embedded, none, in-cluster or kubeconfig (then `path` is its file)."""

    kind: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """`parse` turns the text of a flag, variable or file into the value; raises ValueError with the reason."""

    name: str
    default: str
    parse: Callable[[str], Any]
    help: str
    metavar: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "VAPI_" + self.name.upper()

    @property
    def key(self) -> str:
        head, *tail = self.name.split("_")
        return head + "".join(part.capitalize() for part in tail)


@dataclass(frozen=True, slots=True)
class Config:
    name: str
    data_dir: Path
    store: str
    """A URL of storage.factory."""
    host: HostChoice
    host_namespace: str
    """"" until the host is known: then the namespace vapi itself runs in, or `vapi-NAME`."""
    host_rate: float
    """Requests a second to the host; 0: no limit."""
    listen: Address
    advertise: Address | None
    anonymous: str
    """What who presents nothing may ask for: health, all (as RBAC allows) or off; `auth.authenticator.Anonymous`."""
    dns: str
    """auto, coredns, embedded or none; auto: coredns where pods of a real host reach us, else none."""
    dns_image: str
    dns_listen: Address | None
    """Of the embedded server; None: port 1053 where the API server listens."""
    dns_forward: tuple[str, ...]
    """Where names outside of the cluster are looked up: /etc/resolv.conf, or ADDR:PORT of resolvers."""
    cluster_domain: str
    log_level: str


def _name(text: str) -> str:
    if problem := names.dns_label(text):
        raise ValueError(problem)
    if len(text) > MAX_NAME:
        raise ValueError(f"must be no more than {MAX_NAME} characters")
    if "-x-" in text or text.startswith("x-") or text.endswith("-x"):
        raise ValueError("must not contain -x-, which separates the parts of host names")
    return text


def _namespace(text: str) -> str:
    if text and (problem := names.dns_label(text)):
        raise ValueError(problem)
    return text


def _store(text: str) -> str:
    kind, equals, urls = text.partition("=")
    if kind in ("sqlite", "memory") and not equals:
        return kind
    if kind == "etcd" and urls:
        for url in urls.split(","):
            if not re.fullmatch(r"(https?://)?[\w.\-\[\]:]+(:\d+)?/?(\?[^,]*)?", url):
                raise ValueError(f"{url} is no etcd URL such as http://127.0.0.1:2379")
        return text
    raise ValueError("must be sqlite, memory or etcd=URL[,URL]")


def _host(text: str) -> HostChoice:
    kind, equals, path = text.partition("=")
    if kind in ("embedded", "none", "in-cluster") and not equals:
        return HostChoice(kind)
    if kind == "kubeconfig" and path:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f"{path} is not a file")
        return HostChoice(kind, file)
    raise ValueError("must be embedded, none, in-cluster or kubeconfig=PATH")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise ValueError("must be a number of requests a second, 0 for no limit") from None
    if not 0 <= rate < 1e9:
        raise ValueError("must be 0 (no limit) or more")
    return rate


def parse_address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ValueError("must be ADDR:PORT")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        if names.dns_subdomain(host):
            raise ValueError(f"{host} is neither an IP address nor a host name") from None
    return Address(host or "0.0.0.0", int(port))


def _advertise(text: str) -> Address | None:
    return parse_address(text) if text else None


def _anonymous(text: str) -> str:
    if text not in ("health", "all", "off"):
        raise ValueError("must be health, all or off")
    return text


def _dns(text: str) -> str:
    if text not in ("auto", "coredns", "embedded", "none"):
        raise ValueError("must be auto, coredns, embedded or none")
    return text


def _image(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.\-/:@]*", text):
        raise ValueError("is no image reference")
    return text


def _resolvers(text: str) -> tuple[str, ...]:
    """`/etc/resolv.conf` of whoever forwards, or addresses, port 53 where none is given."""
    if text == RESOLV_CONF:
        return (text,)
    found = tuple(_resolver(part.strip()) for part in text.split(","))
    if len(found) > MAX_RESOLVERS:
        raise ValueError(f"must be no more than {MAX_RESOLVERS} resolvers")
    return found


def _resolver(text: str) -> str:
    try:
        return str(Address(str(ipaddress.ip_address(text)), DNS_PORT))
    except ValueError:
        host, _, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f"must be {RESOLV_CONF} or ADDR[:PORT][,ADDR[:PORT]] with IP addresses") from None
        if not port.isdigit() or not 0 < int(port) <= 65_535:
            raise ValueError("must have ports from 1 to 65535") from None
        return str(Address(str(address), int(port)))


def _domain(text: str) -> str:
    if problem := names.dns_subdomain(text):
        raise ValueError(problem)
    return text


def _level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error")
    return text.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("name", "vapi", _name, "Name of the virtual cluster; ends the names of its objects on the host.", "NAME"),
    Setting("data_dir", "./vapi-data", lambda t: Path(t).expanduser(), "Keys, certificates, kubeconfig, store.", "DIR"),
    Setting("store", "sqlite", _store, "sqlite (in the data directory), memory, or etcd=URL[,URL].", "STORE"),
    Setting("host", "embedded", _host, "embedded, none, in-cluster, or kubeconfig=PATH.", "HOST"),
    Setting("host_namespace", "", _namespace, "The one namespace of the host that holds everything.", "NS"),
    Setting("host_rate", "400", _rate, "Requests a second to the host; 0 for no limit.", "N"),
    Setting("listen", "127.0.0.1:6443", parse_address, "Where the API server listens; port 0 picks one.", "ADDR:PORT"),
    Setting("advertise", "", _advertise, "Where pods of the host reach this server, if it runs outside.", "ADDR:PORT"),
    Setting("anonymous", "health", _anonymous, "Requests without credentials: health, all or off.", "WHICH"),
    Setting("dns", "auto", _dns, "DNS of the tenant: coredns, embedded (this process), none, or auto.", "WHICH"),
    Setting("dns_image", "registry.k8s.io/coredns/coredns:v1.14.7", _image, "Of the tenant's CoreDNS.", "IMAGE"),
    Setting("dns_listen", "", _advertise, "Where embedded DNS listens; port 1053 beside the API server.", "ADDR:PORT"),
    Setting("dns_forward", RESOLV_CONF, _resolvers, "Resolvers of names outside of the cluster.", "ADDR[:PORT],…"),
    Setting("cluster_domain", "cluster.local", _domain, "Domain of the tenant's Services.", "DOMAIN"),
    Setting("log_level", "info", _level, "debug, info, warning or error.", "LEVEL"),
)


def load(flags: Mapping[str, str | None], file: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Raises ConfigError naming the flag, variable or key at fault."""
    variables = os.environ if environment is None else environment
    if file is None and variables.get("VAPI_CONFIG"):
        file = Path(variables["VAPI_CONFIG"])
    keys = _read_file(file) if file is not None else {}
    values = {s.name: _value(s, flags, variables, keys, file) for s in SETTINGS}
    return Config(**values)


def _value(
    setting: Setting,
    flags: Mapping[str, str | None],
    variables: Mapping[str, str],
    keys: Mapping[str, Any],
    file: Path | None,
) -> Any:
    text, source = setting.default, f"the default of {setting.flag}"
    if keys.get(setting.key) is not None:
        text, source = str(keys[setting.key]), f"{setting.key} in {file}"
    if variables.get(setting.variable):
        text, source = variables[setting.variable], setting.variable
    flag = flags.get(setting.name)
    if flag is not None:
        text, source = flag, setting.flag
    try:
        return setting.parse(text)
    except ValueError as error:
        raise ConfigError(f"{source}: {text!r}: {error}") from None


def _read_file(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"--config: {file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--config: {file}: not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"--config: {file}: must be a map of settings")
    known = {s.key for s in SETTINGS}
    unknown = sorted(str(k) for k in content if k not in known)
    if unknown:
        raise ConfigError(f"--config: {file}: unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return content


def in_cluster_namespace() -> str:
    """Of the pod vapi runs in, or "" outside of one."""
    try:
        return IN_CLUSTER_NAMESPACE.read_text().strip()
    except OSError:
        return ""


def kubectl_command() -> str:
    """What a person here types for kubectl: that of the PATH, else the one beside our Python."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if shutil.which("kubectl") is None and beside.is_file() else "kubectl"
