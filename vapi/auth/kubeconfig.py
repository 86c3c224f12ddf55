"""Kubeconfigs: files with which kubectl and other clients reach this server."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from vapi.auth import files
from vapi.auth.certificates import KeyPair
from vapi.gvk import Obj


def kubeconfig(
    *, server: str, ca: bytes, name: str = "vapi", user: str = "admin", client: KeyPair | None = None, token: str = ""
) -> bytes:
    """YAML with one cluster, one user (by certificate or by token) and one context, all data inline.

    `server` is a URL such as `https://127.0.0.1:6443`; cluster and context are called `name`.
    """
    credentials: Obj = {}
    if client is not None:
        credentials["client-certificate-data"] = _inline(client.certificate)
        credentials["client-key-data"] = _inline(client.key)
    if token:
        credentials["token"] = token
    context_user = f"{name}-{user}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _inline(ca)}}],
        "users": [{"name": context_user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": context_user}}],
        "current-context": name,
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def write(path: Path, config: bytes) -> None:
    """At `path`, mode 0600, atomically; not touched if it holds just that."""
    if path.exists() and path.read_bytes() == config and path.stat().st_mode & 0o777 == files.PRIVATE:
        return
    files.write_atomic(path, config, mode=files.PRIVATE)


def _inline(data: bytes) -> str:
    return base64.b64encode(data).decode()
