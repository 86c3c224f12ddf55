"""Defaults of pods and of everything with a pod template: PodSpec, containers, probes, volumes.

On the hot path. *Measured*: 3 µs for a one-container Pod.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vapi.gvk import Obj
from vapi.schema.defaulting.storage import VOLUME_DEFAULTS, claim_spec
from vapi.schema.defaulting.values import child, fill, round_requirements, round_resources

GRACE_PERIOD_S = 30
FILE_MODE = 0o644
TOKEN_LIFE_S = 3600

_POD_SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": GRACE_PERIOD_S,
    "schedulerName": "default-scheduler",
}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_HTTP_GET = {"path": "/", "scheme": "HTTP"}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"  # host
    r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*"  # path
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def pod(obj: Obj) -> None:
    spec_of_pod(child(obj, "spec"))
    beside_spec(obj)


def spec_of_pod(spec: Obj) -> None:
    """Of a Pod, not of a template."""
    pod_spec(spec)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            _requests_from_limits(container["resources"])
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    if "hostPort" not in port and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    if "enableServiceLinks" not in spec:
        spec["enableServiceLinks"] = True


def beside_spec(obj: Obj) -> None:
    """The rest of a Pod."""
    if "status" in obj:
        _pod_status(obj["status"])
    else:
        obj["status"] = {}


def _requests_from_limits(resources: Obj) -> None:
    limits = resources.get("limits")
    if limits:
        requests = resources.setdefault("requests", {})
        for name, value in limits.items():
            requests.setdefault(name, value)


def _pod_status(status: Obj) -> None:
    """One address in two fields; the older one wins."""
    ip, ips = status.get("podIP"), status.get("podIPs")
    if ip and (not ips or ips[0].get("ip") != ip):
        status["podIPs"] = [{"ip": ip}]
    elif ips and not ip and ips[0].get("ip"):
        status["podIP"] = ips[0]["ip"]
    for name in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for container in status.get(name) or ():
            round_resources(container.get("allocatedResources"))
            round_requirements(container.get("resources"))


def template(obj: Obj) -> None:
    """A PodTemplateSpec."""
    pod_spec(child(obj, "spec"))


def pod_spec(spec: Obj) -> None:
    fill(spec, _POD_SPEC)
    if "securityContext" not in spec:
        spec["securityContext"] = {}
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    else:
        spec.pop("serviceAccount", None)
    for name in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(name) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    round_resources(spec.get("overhead"))
    round_requirements(spec.get("resources"))


def _container(container: Obj) -> None:
    fill(container, _CONTAINER)
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    if "resources" in container:
        round_requirements(container["resources"])
    else:
        container["resources"] = {}
    for port in container.get("ports") or ():
        if "protocol" not in port:
            port["protocol"] = "TCP"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        if source and "fieldRef" in source:
            source["fieldRef"].setdefault("apiVersion", "v1")
    for name in _PROBES:
        if name in container:
            _probe(container[name])
    if "lifecycle" in container:
        for hook in container["lifecycle"].values():
            if isinstance(hook, dict):
                _handler(hook)


@lru_cache(maxsize=4096)
def pull_policy(image: str) -> str:
    """Always for the tag latest, given or implied; a text that is no image reference counts as any other tag."""
    found = _REFERENCE.fullmatch(image)
    latest = found is not None and (found["tag"] or ("" if found["digest"] else "latest")) == "latest"
    return "Always" if latest else "IfNotPresent"


def _probe(probe: Obj) -> None:
    fill(probe, _PROBE)
    _handler(probe)


def _handler(handler: Obj) -> None:
    if "httpGet" in handler:
        fill(handler["httpGet"], _HTTP_GET)
    if "grpc" in handler:
        handler["grpc"].setdefault("service", "")


# --- volumes -------------------------------------------------------------------------------------


def _volume(volume: Obj) -> None:
    if (len(volume) == 1 and "name" in volume) or not volume:
        volume["emptyDir"] = {}
        return
    for name, source in volume.items():
        handle = _VOLUMES.get(name)
        if handle is not None and isinstance(source, dict):
            handle(source)


def _with_mode(source: Obj) -> None:
    source.setdefault("defaultMode", FILE_MODE)


def _downward(source: Obj) -> None:
    _with_mode(source)
    _downward_items(source)


def _downward_items(source: Obj) -> None:
    for item in source.get("items") or ():
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def _projected(source: Obj) -> None:
    _with_mode(source)
    for projection in source.get("sources") or ():
        if "serviceAccountToken" in projection:
            projection["serviceAccountToken"].setdefault("expirationSeconds", TOKEN_LIFE_S)
        if "downwardAPI" in projection:
            _downward_items(projection["downwardAPI"])


def _image(source: Obj) -> None:
    source.setdefault("pullPolicy", pull_policy(source.get("reference", "")))


def _ephemeral(source: Obj) -> None:
    claim = source.get("volumeClaimTemplate")
    if claim is not None:
        claim_spec(child(claim, "spec"))


_VOLUMES: dict[str, Callable[[Any], None]] = {
    **VOLUME_DEFAULTS,
    "secret": _with_mode,
    "configMap": _with_mode,
    "downwardAPI": _downward,
    "projected": _projected,
    "image": _image,
    "ephemeral": _ephemeral,
}
