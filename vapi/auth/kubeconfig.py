"""Kubeconfigs: files with which kubectl and other clients reach this server."""

from __future__ import annotations

import base64
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from vapi.auth import certificates, files, pki
from vapi.auth.certificates import KeyPair
from vapi.clock import Clock
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


def for_user(directory: Path, user: str, groups: Sequence[str], *, clock: Clock) -> tuple[str, bytes]:
    """(name of a file, kubeconfig) for `user` in `groups`, signed with the keys of the data directory `directory`.

    The server is the admin kubeconfig's. The certificate is good for a year; nothing renews it.
    Raises OSError where `vapi serve` has not been.
    """
    admin = yaml.safe_load((directory / "kubeconfig").read_bytes())
    material = pki.load(directory / "pki")
    if material is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory / "pki"))
    client = certificates.new_client(material.ca, user, groups, now=clock.now())
    cluster = admin["clusters"][0]
    config = kubeconfig(
        server=cluster["cluster"]["server"],
        ca=material.ca.certificate,
        name=cluster["name"],
        user=user,
        client=client,
    )
    return re.sub(r"[^\w.-]+", "-", user) + ".kubeconfig", config


def write(path: Path, config: bytes) -> None:
    """At `path`, mode 0600, atomically; not touched if it holds just that."""
    if path.exists() and path.read_bytes() == config and path.stat().st_mode & 0o777 == files.PRIVATE:
        return
    files.write_atomic(path, config, mode=files.PRIVATE)


def _inline(data: bytes) -> str:
    return base64.b64encode(data).decode()
