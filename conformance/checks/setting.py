"""What a check works with: clients of both sides, a namespace of its own, kubectl, clusters beside it, and patience."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from conformance.client import BadKubeconfig

POLL_S = 0.5
STAYS_S, SHORT_S, LONG_S = 5.0, 20.0, 120.0  # the checklist's limits; the first is for what must stay true
IMAGE = "busybox:1.37"  # has a shell; on the node of ../shared/host
CORE, APPS, NETWORKING = "/api/v1", "/apis/apps/v1", "/apis/networking.k8s.io/v1"
MERGE_PATCH = "application/merge-patch+json"

T = TypeVar("T")
Obj = dict[str, Any]


class Failed(AssertionError):
    """The requirement does not hold; the message says what was seen instead."""


class Unmet(Exception):
    """The check cannot be made here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Host:
    """The cluster below: `cluster` is the name that ends translated names there."""

    api: client.ApiClient
    namespace: str
    cluster: str

    def name(self, name: str, namespace: str) -> str:
        """Of the host object of a tenant's object whose name is short."""
        return f"{name}-x-{namespace}-x-{self.cluster}"

    def path(self, plural: str, name: str, namespace: str, *, prefix: str = CORE) -> str:
        return f"{prefix}/namespaces/{self.namespace}/{plural}/{self.name(name, namespace)}"

    def find(self, plural: str, name: str, namespace: str, *, prefix: str = CORE) -> Obj | None:
        return get(self.api, self.path(plural, name, namespace, prefix=prefix))

    def all(self, plural: str, *, prefix: str = CORE) -> list[Obj]:
        """Everything of that kind in the namespace that holds the virtual cluster."""
        found: list[Obj] = send(self.api, "GET", f"{prefix}/namespaces/{self.namespace}/{plural}", None)["items"]
        return found


class Beside(Protocol):
    """Who starts virtual clusters with certain options: `clusters.Clusters`."""

    def setting(self, variant: str, namespace: str) -> Setting:
        """With a namespace of that name in it. Raises Unmet."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """`made` are paths outside the namespace, `made_below` of the host, that are deleted afterwards."""

    api: client.ApiClient
    kubeconfig: Path
    namespace: str
    simulated: bool  # the nodes only say that they run containers
    below: Host | None = None
    starter: Beside | None = None
    made: list[str] = field(default_factory=list)
    made_below: list[str] = field(default_factory=list)
    others: list[Setting] = field(default_factory=list)  # what `beside` has given

    @property
    def host(self) -> Host:
        """Raises Unmet without --host-kubeconfig."""
        if self.below is None:
            raise Unmet("needs --host-kubeconfig")
        return self.below

    def containers(self) -> None:
        """Raises Unmet where nodes only simulate containers."""
        if self.simulated:
            raise Unmet("needs containers that run: these nodes simulate them")

    def beside(self, variant: str) -> Setting:
        """Another virtual cluster on the same host, started as `variant` says, with a namespace of our name in it.

        Raises Unmet without --start.
        """
        if self.starter is None:
            raise Unmet(f"needs --start, for a virtual cluster with {variant}")
        other = self.starter.setting(variant, self.namespace)
        self.others.append(other)
        return other

    def create(self, plural: str, obj: Obj, *, prefix: str = CORE, namespace: str = "") -> Obj:
        path = f"{prefix}/namespaces/{namespace or self.namespace}/{plural}"
        return self.send("POST", path, obj)

    def create_below(self, path: str, obj: Obj) -> Obj:
        """A cluster-scoped object of the host, which goes with this check. `path` is that of its collection."""
        made = send(self.host.api, "POST", path, obj)
        self.made_below.append(f"{path}/{made['metadata']['name']}")
        return made

    def get(self, plural: str, name: str, *, prefix: str = CORE) -> Obj | None:
        return get(self.api, f"{prefix}/namespaces/{self.namespace}/{plural}/{name}")

    def patch(self, plural: str, name: str, change: Obj, *, prefix: str = CORE) -> Obj:
        """A merge patch; `name` may end in a subresource."""
        path = f"{prefix}/namespaces/{self.namespace}/{plural}/{name}"
        return self.send("PATCH", path, change, content_type=MERGE_PATCH)

    def delete(self, plural: str, name: str, *, prefix: str = CORE) -> None:
        self.send("DELETE", f"{prefix}/namespaces/{self.namespace}/{plural}/{name}", {})

    def events(self, *, of: str, reason: str = "") -> list[Obj]:
        """Of the object of that name here, with that reason if it is given."""
        found = self.send("GET", f"{CORE}/namespaces/{self.namespace}/events")["items"]
        return [e for e in found if e["involvedObject"].get("name") == of and reason in ("", e.get("reason"))]

    def send(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Obj:
        """Raises ApiException for an answer that is no success."""
        return send(self.api, method, path, body, content_type=content_type)

    def kubectl(self, *args: str) -> str:
        """Its output. Raises Failed if it does not exit with 0."""
        return self.kubectl_in("", *args)

    def kubectl_in(self, stdin: str, *args: str) -> str:
        command = [kubectl_path(), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=LONG_S, check=False)
        if done.returncode:
            raise Failed(f"kubectl {' '.join(args)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def watched(self, path: str) -> list[Obj]:
        """The events of a watch that ends by itself (`timeoutSeconds`)."""
        raw = _raw(self.api, "GET", path, None, "application/json")
        return [json.loads(line) for line in raw.splitlines() if line.strip()]

    def sh(self, pod: str, script: str) -> str:
        """What a script says in a container of a pod. Raises Failed, and Unmet where nodes are simulated."""
        self.containers()
        return self.kubectl("exec", pod, "--", "sh", "-c", script).strip()

    def running(self, pod: Obj) -> Obj:
        """Create a pod and wait until it runs and is ready."""
        name = self.create("pods", pod)["metadata"]["name"]
        return until(lambda: self.get("pods", name), is_ready, f"pod {name} to be ready", LONG_S)


def kubectl_path() -> str:
    """Beside our Python, or the one of the PATH. Raises Unmet."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise Unmet("there is no kubectl")
    return found


def connect(kubeconfig: Path) -> client.ApiClient:
    """Raises BadKubeconfig."""
    try:
        api: client.ApiClient = config.new_client_from_config(config_file=str(kubeconfig))  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise BadKubeconfig(f"{kubeconfig}: {error}") from error
    return api


def send(api: client.ApiClient, method: str, path: str, body: Any, *, content_type: str = "application/json") -> Obj:
    """One request with the client's way to log in; the answer as it is, no models. Raises ApiException."""
    decoded: Obj = json.loads(_raw(api, method, path, body, content_type))
    return decoded


def _raw(api: client.ApiClient, method: str, path: str, body: Any, content_type: str) -> bytes:
    headers = {"Accept": "application/json", "Content-Type": content_type}
    request = api.param_serialize(method, path, header_params=headers, body=body, auth_settings=["BearerToken"])
    answer = api.call_api(*request, _request_timeout=LONG_S)
    raw: bytes = answer.read()  # type: ignore[no-untyped-call]
    if not 200 <= answer.status <= 299:
        raise ApiException(status=answer.status, reason=answer.reason, body=(raw or b"").decode(errors="replace"))
    return raw


def get(api: client.ApiClient, path: str) -> Obj | None:
    """None if there is no such object."""
    try:
        return send(api, "GET", path, None)
    except ApiException as error:
        if error.status == 404:
            return None
        raise


def until(look: Callable[[], T | None], wanted: Callable[[T], bool], what: str, limit_s: float = SHORT_S) -> T:
    """What `look` sees once it is as `wanted`. Raises Failed after `limit_s`, with what was seen last."""
    end = time.monotonic() + limit_s
    while True:
        seen = look()
        if seen is not None and wanted(seen):
            return seen
        if time.monotonic() > end:
            raise Failed(f"waited {limit_s:.0f} s for {what}; last seen: {_short(seen)}")
        time.sleep(POLL_S)


def gone(look: Callable[[], Any], what: str, limit_s: float = LONG_S) -> None:
    """Until `look` sees nothing. Raises Failed."""
    end = time.monotonic() + limit_s
    while (seen := look()) is not None:
        if time.monotonic() > end:
            raise Failed(f"{what} is still there after {limit_s:.0f} s: {_short(seen)}")
        time.sleep(POLL_S)


def stays(look: Callable[[], T], wanted: Callable[[T], bool], what: str, for_s: float = STAYS_S) -> None:
    """Raises Failed as soon as what `look` sees is not as `wanted`."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        if not wanted(seen := look()):
            raise Failed(f"{what} did not stay so; seen: {_short(seen)}")
        time.sleep(POLL_S)


def refused(act: Callable[[], Any], *, status: int, text: str) -> str:
    """The message with which a request is refused. Raises Failed if it is not, or says not `text`."""
    try:
        act()
    except ApiException as error:
        message = str(json.loads(error.body or "{}").get("message", error.body))
        if error.status != status or text not in message:
            raise Failed(f"refused with {error.status} {message!r}, not with {status} …{text}…") from None
        return message
    raise Failed(f"allowed; expected {status} …{text}…")


def expect(seen: Any, wanted: Any, what: str) -> None:
    if seen != wanted:
        raise Failed(f"{what}: expected {_short(wanted)}, got {_short(seen)}")


def is_ready(pod: Obj) -> bool:
    conditions: Iterable[Mapping[str, str]] = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def pod(name: str, *, command: str = "sleep 3600", **spec: Any) -> Obj:
    """A pod of one container `c`; `spec` is added to its spec, keys of the container stand under `container`."""
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command], **spec.pop("container", {})}
    labels = spec.pop("labels", {})
    base = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": name, "labels": labels}, "spec": base | spec}


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 1500 else text[:1500] + "…"
