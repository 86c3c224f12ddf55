"""Configuration: flags over VAPI_… variables over the YAML file over defaults; the only reader of the environment.

Every setting is a row of `SETTINGS`: `sync.nodes.selector` is the flag `--sync-nodes-selector`, the variable
`VAPI_SYNC_NODES_SELECTOR`, the attribute `sync_nodes_selector` and, in the file, `sync: {nodes: {selector: …}}`; what
`parse` of a row takes is always text, for which maps and lists of the file are written as JSON. What is unknown or
does not fit is refused by name before anything starts.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from vapi import encoding, names
from vapi.config_values import (
    WORKLOADS,
    NodesMode,
    Way,
    boolean,
    labels,
    one_of,
    patterns,
    services_in,
    services_out,
    tolerations,
)
from vapi.gvk import Obj

MAX_NAME = 32
"""Of a virtual cluster: its name ends every host name, 63 characters in all."""
RESOLV_CONF = "/etc/resolv.conf"
DNS_PORT = 53
MAX_SIMULATED_NODES = 250
"""As many addresses and pod networks are theirs."""
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
    def attribute(self) -> str:
        """Of Config."""
        return self.name.replace(".", "_")

    @property
    def flag(self) -> str:
        return "--" + self.attribute.replace("_", "-")

    @property
    def variable(self) -> str:
        return "VAPI_" + self.attribute.upper()

    @property
    def key(self) -> str:
        """In the file: `sync.fromHost.labels` for `sync: {fromHost: {labels: …}}`."""
        return ".".join(map(_camel, self.name.split(".")))


def _camel(name: str) -> str:
    head, *tail = name.split("_")
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
    simulated_nodes: int
    """Of the embedded host."""
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
    controllers_external: bool
    """A kube-controller-manager of somebody else's runs the controllers that it knows; ours of these do not start."""
    workloads_deployments: Way
    workloads_replicasets: Way
    workloads_replicationcontrollers: Way
    workloads_statefulsets: Way
    workloads_daemonsets: Way
    workloads_jobs: Way
    workloads_cronjobs: Way
    sync_nodes_mode: NodesMode
    sync_nodes_selector: Mapping[str, str]
    """Only nodes with these labels are seen, and run pods."""
    sync_nodes_tolerations: tuple[Obj, ...]
    """Of every pod, whatever the tenant writes."""
    sync_from_host_labels: tuple[str, ...]
    sync_from_host_annotations: tuple[str, ...]
    """Patterns of keys that the host owns: they travel to the tenant, its own of that name do not leave."""
    service_mapping_from_host: tuple[tuple[str, str], ...]
    """(`namespace/name` of a host's Service, `namespace/name` that it has in the tenant)."""
    service_mapping_to_host: tuple[tuple[str, str], ...]
    """(`namespace/name` of a tenant's Service, name that it has in the host namespace)."""
    sync_from_host_storage_classes_enabled: bool
    sync_from_host_storage_classes_selector: Mapping[str, str]
    sync_from_host_ingress_classes_enabled: bool
    sync_from_host_ingress_classes_selector: Mapping[str, str]
    sync_from_host_runtime_classes_enabled: bool
    sync_from_host_runtime_classes_selector: Mapping[str, str]
    sync_from_host_priority_classes_enabled: bool
    sync_from_host_priority_classes_selector: Mapping[str, str]
    sync_to_host_priority_classes_enabled: bool
    sync_to_host_ingresses_enabled: bool
    sync_to_host_ingresses_secret_annotations: tuple[str, ...]
    sync_to_host_ingresses_service_annotations: tuple[str, ...]
    """Keys whose value is `name` or `namespace/name`, besides those that we know."""
    sync_to_host_network_policies_enabled: bool
    sync_to_host_pod_disruption_budgets_enabled: bool
    sync_to_host_persistent_volume_claims_enabled: bool

    @property
    def not_sent(self) -> frozenset[str]:
        """Resources whose switch `sync.toHost.….enabled` is off."""
        return frozenset(name.replace("_", "") for name in TO_HOST if not getattr(self, f"sync_to_host_{name}_enabled"))

    def classes(self, kind: str) -> tuple[bool, Mapping[str, str]]:
        """(enabled, selector) of one of FROM_HOST."""
        return getattr(self, f"sync_from_host_{kind}_enabled"), getattr(self, f"sync_from_host_{kind}_selector")

    def way(self, kind: str) -> Way:
        """Of a kind of workload, by its resource: `daemonsets`."""
        found: Way = getattr(self, f"workloads_{kind}")
        return found

    @property
    def host_workloads(self) -> tuple[str, ...]:
        """The kinds of workload, by their resource, that the host's own controllers run. Raises ConfigError.

        With auto these are DaemonSets, as the host's controller puts a pod on each of its nodes; not if nodes are the
        tenant's own, or if somebody's kube-controller-manager would make the pods a second time.
        """
        real = self.host.kind in ("kubeconfig", "in-cluster")
        virtual_nodes = self.sync_nodes_mode is NodesMode.VIRTUAL
        found = []
        for kind in sorted(set(WORKLOADS.values())):
            way = self.way(kind)
            if way is Way.HOST and virtual_nodes:
                raise ConfigError(f"workloads.{kind}: host: with sync.nodes.mode virtual every kind must be virtual")
            if way is Way.HOST and not real:
                raise ConfigError(f"workloads.{kind}: host: needs a host with controllers, not --host {self.host.kind}")
            by_default = kind == "daemonsets" and real and not virtual_nodes and not self.controllers_external
            if way is Way.HOST or (way is Way.AUTO and by_default):
                found.append(kind)
        return tuple(found)


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


def _nodes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SIMULATED_NODES:
        raise ValueError(f"must be a number from 1 to {MAX_SIMULATED_NODES}")
    return int(text)


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


def _classes(kind: str, default: str) -> tuple[Setting, Setting]:
    words = kind.replace("_", " ")
    name = f"sync.from_host.{kind}"
    return (
        Setting(f"{name}.enabled", default, boolean, f"Whether the tenant sees the host's {words}.", "BOOL"),
        Setting(f"{name}.selector", "", labels, f"Only {words} with these labels.", "K=V,…"),
    )


def _to_host(kind: str, default: str) -> Setting:
    words = kind.replace("_", " ")
    return Setting(f"sync.to_host.{kind}.enabled", default, boolean, f"Whether {words} reach the host.", "BOOL")


FROM_HOST: Mapping[str, str] = MappingProxyType(
    {"storage_classes": "true", "ingress_classes": "true", "runtime_classes": "true", "priority_classes": "false"}
)
"""Kinds of classes → whether the tenant sees the host's, where nothing is said."""

TO_HOST: Mapping[str, str] = MappingProxyType(
    {
        "priority_classes": "false",
        "ingresses": "true",
        "network_policies": "true",
        "pod_disruption_budgets": "true",
        "persistent_volume_claims": "true",
    }
)
"""Kinds that may be kept from the host → whether they go there if nothing is said."""

SETTINGS: tuple[Setting, ...] = (
    Setting("name", "vapi", _name, "Name of the virtual cluster; ends the names of its objects on the host.", "NAME"),
    Setting("data_dir", "./vapi-data", lambda t: Path(t).expanduser(), "Keys, certificates, kubeconfig, store.", "DIR"),
    Setting("store", "sqlite", _store, "sqlite (in the data directory), memory, or etcd=URL[,URL].", "STORE"),
    Setting("host", "embedded", _host, "embedded, none, in-cluster, or kubeconfig=PATH.", "HOST"),
    Setting("host_namespace", "", _namespace, "The one namespace of the host that holds everything.", "NS"),
    Setting("host_rate", "400", _rate, "Requests a second to the host; 0 for no limit.", "N"),
    Setting("simulated_nodes", "3", _nodes, "Nodes of the embedded host, 1 to 250; those it has already stay.", "N"),
    Setting("listen", "127.0.0.1:6443", parse_address, "Where the API server listens; port 0 picks one.", "ADDR:PORT"),
    Setting("advertise", "", _advertise, "Where pods of the host reach this server, if it runs outside.", "ADDR:PORT"),
    Setting("anonymous", "health", _anonymous, "Requests without credentials: health, all or off.", "WHICH"),
    Setting("dns", "auto", _dns, "DNS of the tenant: coredns, embedded (this process), none, or auto.", "WHICH"),
    Setting("dns_image", "registry.k8s.io/coredns/coredns:v1.14.7", _image, "Of the tenant's CoreDNS.", "IMAGE"),
    Setting("dns_listen", "", _advertise, "Where embedded DNS listens; port 1053 beside the API server.", "ADDR:PORT"),
    Setting("dns_forward", RESOLV_CONF, _resolvers, "Resolvers of names outside of the cluster.", "ADDR[:PORT],…"),
    Setting("cluster_domain", "cluster.local", _domain, "Domain of the tenant's Services.", "DOMAIN"),
    Setting("log_level", "info", _level, "debug, info, warning or error.", "LEVEL"),
    Setting("controllers.external", "false", boolean, "A kube-controller-manager beside us does its work.", "BOOL"),
    *(
        Setting(
            f"workloads.{kind}", "auto", one_of(Way), f"Who makes the pods of {kind}: host, virtual or auto.", "WAY"
        )
        for kind in sorted(set(WORKLOADS.values()))
    ),
    Setting("sync.nodes.mode", "auto", one_of(NodesMode), "Nodes: used, all, invented, virtual or auto.", "MODE"),
    Setting("sync.nodes.selector", "", labels, "Only nodes with these labels are seen, and run pods.", "K=V,…"),
    Setting("sync.nodes.tolerations", "", tolerations, "Of every pod, whatever the tenant writes.", "K=V:EFFECT,…"),
    Setting("sync.from_host.labels", "", patterns, "Label keys that the host owns.", "PATTERN,…"),
    Setting("sync.from_host.annotations", "", patterns, "Annotation keys that the host owns.", "PATTERN,…"),
    Setting("service_mapping.from_host", "", services_in, "Host's Services in the tenant.", "NS/NAME=NS/NAME,…"),
    Setting("service_mapping.to_host", "", services_out, "Tenant's Services by a name on the host.", "NS/NAME=NAME,…"),
    *(setting for kind, default in FROM_HOST.items() for setting in _classes(kind, default)),
    *(_to_host(kind, default) for kind, default in TO_HOST.items()),
    *(
        Setting(
            f"sync.to_host.ingresses.{kind}_annotations",
            "",
            patterns,
            f"Annotations of Ingresses that hold the name of a {word}.",
            "KEY,…",
        )
        for kind, word in (("secret", "Secret"), ("service", "Service"))
    ),
)
_IN_GROUPS = MappingProxyType({"dnsImage": "dns.image", "dnsListen": "dns.listen", "dnsForward": "dns.forward"})
"""Key in the file → how it may be written there, too."""


def load(flags: Mapping[str, str | None], file: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """`flags` by Setting.attribute. Raises ConfigError naming the flag, variable or key at fault."""
    variables = os.environ if environment is None else environment
    if file is None and variables.get("VAPI_CONFIG"):
        file = Path(variables["VAPI_CONFIG"])
    keys = _read_file(file) if file is not None else {}
    config = Config(**{s.attribute: _value(s, flags, variables, keys, file) for s in SETTINGS})
    _check(config)
    return config


def _check(config: Config) -> None:
    """What fits by itself, but not together. Raises ConfigError."""
    if config.sync_to_host_priority_classes_enabled and config.sync_from_host_priority_classes_enabled:
        raise ConfigError(
            "sync.toHost.priorityClasses.enabled and sync.fromHost.priorityClasses.enabled: only one of them can be "
            "true, or what comes from the host would go back there"
        )
    if config.host.kind == "none":
        for key, given in (
            ("serviceMapping.fromHost", config.service_mapping_from_host),
            ("serviceMapping.toHost", config.service_mapping_to_host),
            ("sync.nodes.mode: virtual", config.sync_nodes_mode is NodesMode.VIRTUAL),
        ):
            if given:
                raise ConfigError(f"{key}: needs a host, and --host none has none")
    _ = config.host_workloads


def _value(
    setting: Setting,
    flags: Mapping[str, str | None],
    variables: Mapping[str, str],
    keys: Mapping[str, str],
    file: Path | None,
) -> Any:
    text, source = setting.default, f"the default of {setting.flag}"
    if keys.get(setting.key) is not None:
        text, source = keys[setting.key], f"{setting.key} in {file}"
    if variables.get(setting.variable):
        text, source = variables[setting.variable], setting.variable
    flag = flags.get(setting.attribute)
    if flag is not None:
        text, source = flag, setting.flag
    try:
        return setting.parse(text)
    except ValueError as error:
        raise ConfigError(f"{source}: {text!r}: {error}") from None


def _read_file(file: Path) -> Mapping[str, str]:
    """Key → text."""
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
    keys: dict[str, str] = {}
    unknown = []
    for written, value in _leaves(content, known):
        key = written if written in known else _respelled(written)
        if written == "dns.embedded" and isinstance(value, bool):
            key, value = "dns", "embedded" if value else None
        if key not in known:
            unknown.append(written)
        elif value is not None:
            if key in keys:
                raise ConfigError(f"--config: {file}: {written}: {key} is set twice")
            keys[key] = _as_text(value)
    if unknown:
        raise ConfigError(
            f"--config: {file}: unknown setting {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
        )
    return keys


def _leaves(content: Mapping[Any, Any], known: Set[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of all settings, maps above them opened; a key may be written with dots, too."""
    for key, value in content.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and (path not in known or path == "dns"):
            yield from _leaves(value, known, f"{path}.")
        elif value is not None or path in known:
            yield path, value


def _respelled(key: str) -> str:
    """The key as SETTINGS has it, for those that may be written otherwise; else as it is."""
    group, _, kind = key.rpartition(".")
    if group == "workloads":
        return f"workloads.{WORKLOADS.get(kind.lower(), kind)}"
    return next((known for known, other in _IN_GROUPS.items() if other == key), key)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return encoding.dumps(value).decode()
    return str(value)


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
