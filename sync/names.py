"""Names: how an object of the tenant is called on the host, and never two alike.

`name-x-namespace-x-NAME`, as users of vCluster know it. Two forms are cut to 52
characters, `-` and 10 hex digits of a SHA-256: what is longer than 63
characters, and what could be read in two ways (`a-x-b` in `c`, `a` in `b-x-c`).
All functions are pure. Source: sync-behaviour §2.1, design §6.
"""

from __future__ import annotations

import hashlib

MAX_LENGTH = 63
"""Of a DNS label: Services, label values and hostnames allow no more."""
CUT_LENGTH = 52
HASH_LENGTH = 10

CLUSTER_PREFIX = "vapi"
NAMESPACE_LABEL_DOMAIN = "ns.vapi.dev/"

_SEPARATOR = "-x-"


def host_name(name: str, namespace: str, cluster: str, limit: int = MAX_LENGTH) -> str:
    """The host name of a namespaced object; `cluster` (NAME) holds no `-x-`. At most `limit` characters.

    Injective over (name, namespace, cluster), but for a collision of 40 bits of SHA-256.
    """
    joined = f"{name}-x-{namespace}-x-{cluster}"
    if _ambiguous(name, namespace):
        return _cut(joined, f"{name}/{namespace}/{cluster}", limit)
    return joined if len(joined) <= limit else _cut(joined, joined, limit)


def host_cluster_name(name: str, host_namespace: str, cluster: str) -> str:
    """The host name of a cluster-scoped object that goes to the host."""
    joined = f"{CLUSTER_PREFIX}-{name}-x-{host_namespace}-x-{cluster}"
    if _ambiguous(name, host_namespace):
        return _cut(joined, f"{CLUSTER_PREFIX}/{name}/{host_namespace}/{cluster}")
    return joined if len(joined) <= MAX_LENGTH else _cut(joined, joined)


def cluster_marker(host_namespace: str, cluster: str) -> str:
    """The value of the marker label of cluster-scoped objects: NAME alone may stand in two namespaces."""
    joined = f"{host_namespace}-x-{cluster}"
    return joined if len(joined) <= MAX_LENGTH else _cut(joined, joined)


def derived_name(name: str, namespace: str, cluster: str, purpose: str) -> str:
    """The host name of something we make for a tenant's object (`purpose`: "token").

    Always cut, with the purpose in the hash: a tenant's own object called
    `<name>-<purpose>` must not meet it.
    """
    joined = f"{name}-{purpose}-x-{namespace}-x-{cluster}"
    return _cut(joined, f"{purpose}/{name}/{namespace}/{cluster}")


def anchor_name(cluster: str) -> str:
    """The ConfigMap that owns all host objects of a virtual cluster."""
    return f"{CLUSTER_PREFIX}-{cluster}"


def namespace_label(key: str) -> str:
    """The label that carries the label `key` of a tenant Namespace on its pods."""
    return NAMESPACE_LABEL_DOMAIN + hashlib.sha256(key.encode()).hexdigest()[:HASH_LENGTH]


def _ambiguous(name: str, namespace: str) -> bool:
    """Whether the joined form could be split elsewhere; `a-x` in `b` and `a` in `x-b` are one as well."""
    return _SEPARATOR in f"{name}-" or _SEPARATOR in f"-{namespace}-"


def _cut(joined: str, hashed: str, limit: int = MAX_LENGTH) -> str:
    """52 characters of `joined`, less a dot at the cut (`.-` is no DNS name), and the hash of `hashed`."""
    digest = hashlib.sha256(hashed.encode()).hexdigest()[:HASH_LENGTH]
    return f"{joined[: limit - MAX_LENGTH + CUT_LENGTH].rstrip('.')}-{digest}"
