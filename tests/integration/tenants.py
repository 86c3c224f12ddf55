"""Virtual clusters on a real host for the integration tier: one call brings one up, and takes it all away again."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync import names
from tests.etcd_server import free_ports
from tests.host_cluster import AGNHOST, HostCluster
from tests.vapi_process import KubectlError, Vapi, serving


@dataclass(frozen=True, slots=True)
class Tenant:
    """A virtual cluster and the namespace of the host that holds it."""

    name: str
    vapi: Vapi
    host: HostCluster
    namespace: str

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.vapi.kubectl(*arguments, **options)

    def get(self, kind: str, name: str, namespace: str = "default") -> Any:
        """Raises KubectlError."""
        return self.vapi.json("-n", namespace, "get", kind, name)

    def find(self, kind: str, name: str, namespace: str = "default") -> Any:
        """None if there is none."""
        return _or_none(lambda: self.get(kind, name, namespace))

    def listed(self, kind: str, *arguments: str) -> list[Any]:
        found: list[Any] = self.vapi.json("get", kind, *arguments)["items"]
        return found

    def host_kubectl(self, *arguments: str, **options: Any) -> str:
        return self.host.kubectl("-n", self.namespace, *arguments, **options)

    def host_name(self, name: str, namespace: str = "default") -> str:
        return names.host_name(name, namespace, self.name)

    def twin(self, kind: str, name: str, namespace: str = "default") -> Any:
        """The host object; None if there is none."""
        return _or_none(lambda: self.host.json("-n", self.namespace, "get", kind, self.host_name(name, namespace)))

    def twins(self, kind: str) -> list[Any]:
        """What the host has of ours."""
        found: list[Any] = self.host.json("-n", self.namespace, "get", kind, "-l", f"vapi.dev/managed-by={self.name}")[
            "items"
        ]
        return found


def _or_none(get: Any) -> Any:
    try:
        return get()
    except KubectlError as error:
        if "NotFound" in error.stderr:
            return None
        raise


def containers(pods: list[Any]) -> dict[str, list[tuple[str, int]]]:
    """Pod → (container id, restarts): what changes if anything of it starts anew."""
    return {
        p["metadata"]["name"]: [(c["containerID"], c["restartCount"]) for c in p["status"]["containerStatuses"]]
        for p in pods
    }


@contextlib.contextmanager
def tenant(
    host: HostCluster,
    directory: Path,
    *,
    name: str = "a",
    advertise: str = "",
    arguments: tuple[str, ...] = (),
) -> Iterator[Tenant]:
    """Until the block ends; then its namespace of the host is deleted. `advertise`: our address for the host's pods."""
    namespace = f"vapi-{name}-{secrets.token_hex(3)}"
    (port,) = free_ports(1)
    where = (
        "--name", name, "--host", f"kubeconfig={host.kubeconfig}", "--host-namespace", namespace,
        "--listen", f"{'0.0.0.0' if advertise else '127.0.0.1'}:{port}",
        *(("--advertise", f"{advertise}:{port}") if advertise else ()),
    )  # fmt: skip
    try:
        with serving(directory / name, *where, *arguments, port=port) as vapi:
            yield Tenant(name, vapi, host, namespace)
    finally:
        with contextlib.suppress(KubectlError):
            host.kubectl("delete", "namespace", namespace, "--wait=false")


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """One that starts at once and ends at once; it waits unless told otherwise."""
    container = {"name": "main", "image": AGNHOST, "command": list(command) or ["/agnhost", "pause"]}
    container.update(spec.pop("container", {}))
    labels = spec.pop("labels", {"app": name})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def shell(script: str) -> tuple[str, str, str]:
    return "sh", "-c", script


def deployment(name: str, replicas: int, image: str = AGNHOST, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": image, **container}
    if image == AGNHOST and "command" not in main and "args" not in main:
        main["args"] = ["pause"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [main]},
            },
        },
    }


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
