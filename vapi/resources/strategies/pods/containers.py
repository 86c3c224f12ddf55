"""One container, of any of the three lists of a PodSpec. Source: pkg/apis/core/validation (1.37)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vapi.errors import (
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_found,
    field_not_supported,
    field_required,
    field_too_many,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import env, paths, resources, security

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_BIND_OPTIONS = ("noDev", "noExec", "noSUID")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_SCHEMES = ("HTTP", "HTTPS")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS = ("Restart", "RestartAllContainers")
_MAX_RESTART_RULES, _MAX_EXIT_CODES = 20, 255
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_INIT_ONLY = "may not be set for init containers without restartPolicy=Always"
_EPHEMERAL = "cannot be set for an Ephemeral Container"
# in the order of the Go struct
_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


@dataclass(frozen=True, slots=True)
class PodContext:
    """What a container's rules must know of its Pod."""

    volumes: Mapping[str, Obj]
    claims: Collection[str] = ()
    restart_policy: str = ""
    grace_period_s: int | None = None
    host_users: bool = True
    names: set[str] = field(default_factory=set)
    """Of containers already seen."""


def common(causes: Causes, path: str, container: Obj, pod: PodContext) -> None:
    name = container.get("name", "")
    if not name:
        causes.append(field_required(f"{path}.name"))
    elif problem := checks.dns_label_problem(name):
        causes.append(field_invalid(f"{path}.name", name, problem))
    if not container.get("image"):
        causes.append(field_required(f"{path}.image"))
    if container.get("terminationMessagePolicy") not in _MESSAGE_POLICIES:
        policy = container.get("terminationMessagePolicy")
        checks.required_one_of(causes, f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    if container.keys() & _SOMETIMES.keys():
        for key, check in _SOMETIMES.items():
            if key in container:
                check(causes, f"{path}.{key}", container, pod)
    if container.get("imagePullPolicy") not in _PULL_POLICIES:
        checks.required_one_of(causes, f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)
    wanted = container.get("resources")
    if wanted:
        resources.requirements(causes, f"{path}.resources", wanted, pod.claims)
    if "resizePolicy" in container:
        _resize_policy(causes, f"{path}.resizePolicy", container["resizePolicy"], pod.restart_policy)
    if "securityContext" in container:
        security.of_container(
            causes, f"{path}.securityContext", container["securityContext"], host_users=pod.host_users
        )


# --- ports ----------------------------------------------------------------------------------------


def _ports(causes: Causes, path: str, container: Obj, _pod: PodContext) -> None:
    seen: set[str] = set()
    for index, port in enumerate(container["ports"] or ()):
        here, name = f"{path}[{index}]", port.get("name", "")
        if name:
            problems = values.port_name(name)
            for problem in problems:
                causes.append(field_invalid(f"{here}.name", name, problem))
            if not problems:
                checks.unique(causes, f"{here}.name", name, seen)
        number, host = port.get("containerPort", 0), port.get("hostPort", 0)
        if not number:
            causes.append(field_required(f"{here}.containerPort"))
        else:
            checks.port(causes, f"{here}.containerPort", number)
        if host:
            checks.port(causes, f"{here}.hostPort", host)
        checks.required_one_of(causes, f"{here}.protocol", port.get("protocol"), checks.PROTOCOLS)


def host_ports(causes: Causes, path: str, containers: Sequence[Obj]) -> None:
    """Each host port once."""
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                shown = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
                checks.unique(causes, f"{path}[{index}].ports[{place}].hostPort", shown, seen)


# --- volumes --------------------------------------------------------------------------------------


def _mounts(causes: Causes, path: str, container: Obj, pod: PodContext) -> None:
    devices = {d.get("name", ""): d.get("devicePath", "") for d in container.get("volumeDevices") or ()}
    seen: set[str] = set()
    for index, mount in enumerate(container["volumeMounts"] or ()):
        here, name, target = f"{path}[{index}]", mount.get("name", ""), mount.get("mountPath", "")
        checks.required(causes, f"{here}.name", name)
        if name not in pod.volumes:
            causes.append(field_not_found(f"{here}.name", name))
        checks.required(causes, f"{here}.mountPath", target)
        if target in seen:
            causes.append(field_invalid(f"{here}.mountPath", target, "must be unique"))
        seen.add(target)
        if name in devices:
            causes.append(field_invalid(f"{here}.name", name, "must not already exist in volumeDevices"))
        if target in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            causes.append(field_invalid(f"{here}.mountPath", target, detail))
        if mount.keys() & _MOUNT_OPTIONS:
            _mount_options(causes, path, here, mount, container, pod)


_MOUNT_OPTIONS = frozenset({"subPath", "subPathExpr", "mountPropagation", "recursiveReadOnly", "bindMountOptions"})


def _mount_options(causes: Causes, path: str, here: str, mount: Obj, container: Obj, pod: PodContext) -> None:
    if mount.get("subPath"):
        paths.local_descending(causes, f"{path}.subPath", mount["subPath"])
    if mount.get("subPathExpr"):
        if mount.get("subPath"):
            detail = "subPathExpr and subPath are mutually exclusive"
            causes.append(field_invalid(f"{here}.subPathExpr", mount["subPathExpr"], detail))
        paths.local_descending(causes, f"{path}.subPathExpr", mount["subPathExpr"])
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        checks.one_of(causes, f"{path}.mountPropagation", propagation, _PROPAGATIONS)
        if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            detail = "Bidirectional mount propagation is available only to privileged containers"
            causes.append(field_forbidden(f"{path}.mountPropagation", detail))
    _recursive_read_only(causes, f"{path}.recursiveReadOnly", mount)
    options, seen = mount.get("bindMountOptions") or (), set[str]()
    for index, option in enumerate(options):
        checks.one_of(causes, f"{here}.bindMountOptions[{index}]", option, _BIND_OPTIONS)
        checks.unique(causes, f"{here}.bindMountOptions[{index}]", option, seen)
    if options and "image" in pod.volumes.get(mount.get("name", ""), {}):
        detail = "bindMountOptions may not be used with image volumes"
        causes.append(field_invalid(f"{here}.bindMountOptions", options, detail))


def _recursive_read_only(causes: Causes, path: str, mount: Obj) -> None:
    wanted = mount.get("recursiveReadOnly")
    if wanted is None or wanted == "Disabled":
        return
    if wanted not in _RECURSIVE:
        causes.append(field_not_supported(path, wanted, _RECURSIVE))
        return
    if not mount.get("readOnly"):
        causes.append(field_forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation", "None") != "None":
        detail = "may only be specified when mountPropagation is None or not specified"
        causes.append(field_forbidden(path, detail))


def _devices(causes: Causes, path: str, container: Obj, pod: PodContext) -> None:
    mounts = {m.get("name", ""): m.get("mountPath", "") for m in container.get("volumeMounts") or ()}
    names, targets = set[str](), set[str]()
    for index, device in enumerate(container["volumeDevices"] or ()):
        here, name, target = f"{path}[{index}]", device.get("name", ""), device.get("devicePath", "")
        checks.required(causes, f"{here}.name", name)
        if name in names:
            causes.append(field_invalid(f"{here}.name", name, "must be unique"))
        volume = pod.volumes.get(name)
        if volume is None:
            causes.append(field_not_found(f"{here}.name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            causes.append(field_invalid(f"{here}.name", name, detail))
        checks.required(causes, f"{here}.devicePath", target)
        if target in targets:
            causes.append(field_invalid(f"{here}.devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            causes.append(field_invalid(f"{here}.devicePath", target, "can not contain backsteps ('..')"))
        else:
            targets.add(target)
        if name in mounts:
            causes.append(field_invalid(f"{here}.name", name, "must not already exist in volumeMounts"))
        if target in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            causes.append(field_invalid(f"{here}.devicePath", target, detail))
        if name:
            names.add(name)


# --- probes and hooks -----------------------------------------------------------------------------


def lifecycle_and_probes(causes: Causes, path: str, container: Obj, pod: PodContext) -> None:
    if "lifecycle" in container:
        _lifecycle(causes, f"{path}.lifecycle", container["lifecycle"], pod)
    for name in _PROBES:
        if name in container:
            _probe(causes, f"{path}.{name}", name, container[name], pod)


def _probe(causes: Causes, path: str, name: str, probe: Obj, pod: PodContext) -> None:
    _handler(causes, path, probe, pod)
    for number in _PROBE_NUMBERS:
        checks.not_negative(causes, f"{path}.{number}", probe.get(number))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        causes.append(field_invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if name == "readinessProbe":
        if grace is not None:
            detail = "must not be set for readinessProbes"
            causes.append(field_invalid(f"{path}.terminationGracePeriodSeconds", grace, detail))
    elif probe.get("successThreshold", 0) != 1:
        causes.append(field_invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))


def _lifecycle(causes: Causes, path: str, lifecycle: Obj, pod: PodContext) -> None:
    for hook in ("postStart", "preStop"):
        if hook in lifecycle:
            _handler(causes, f"{path}.{hook}", lifecycle[hook], pod)


def _handler(causes: Causes, path: str, handler: Obj, pod: PodContext) -> None:
    kinds = [kind for kind in _HANDLERS if kind in handler]
    if not kinds:
        causes.append(field_required(path, "must specify a handler type"))
        return
    _ACTIONS[kinds[0]](causes, f"{path}.{kinds[0]}", handler[kinds[0]], pod)
    for kind in kinds[1:]:
        causes.append(field_forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))


def _exec(causes: Causes, path: str, action: Obj, _pod: PodContext) -> None:
    checks.required(causes, f"{path}.command", action.get("command"))


def _http_get(causes: Causes, path: str, action: Obj, _pod: PodContext) -> None:
    checks.required(causes, f"{path}.path", action.get("path"))
    checks.port_or_name(causes, f"{path}.port", action.get("port"))
    scheme, protocol = action.get("scheme", ""), action.get("protocol")
    checks.one_of(causes, f"{path}.scheme", scheme, _SCHEMES)
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        checks.text(causes, f"{path}.httpHeaders", name, values.header_name(name))
    if protocol is not None:
        if protocol not in ("HTTP1", "HTTP2"):
            causes.append(field_not_supported(f"{path}.protocol", protocol, ("HTTP1", "HTTP2")))
        elif protocol == "HTTP2" and scheme != "HTTP":
            causes.append(field_invalid(f"{path}.protocol", protocol, "is only supported with HTTP (H2C)"))
        elif protocol == "HTTP2" and action.get("host"):
            causes.append(field_invalid(f"{path}.host", action["host"], 'must be empty when `protocol` is "HTTP2"'))


def _tcp_socket(causes: Causes, path: str, action: Obj, _pod: PodContext) -> None:
    checks.port_or_name(causes, f"{path}.port", action.get("port"))


def _grpc(causes: Causes, path: str, action: Obj, _pod: PodContext) -> None:
    checks.port(causes, f"{path}.port", action.get("port", 0))
    checks.one_of(causes, f"{path}.mode", action.get("mode"), ("Plaintext", "TLS"))


def _sleep(causes: Causes, path: str, action: Obj, pod: PodContext) -> None:
    seconds, most = action.get("seconds", 0), pod.grace_period_s
    if most is not None and not 0 <= seconds <= most:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({most})"
        causes.append(field_invalid(path, seconds, detail))


_ACTIONS: Mapping[str, Callable[[Causes, str, Obj, PodContext], None]] = {
    "exec": _exec,
    "httpGet": _http_get,
    "tcpSocket": _tcp_socket,
    "grpc": _grpc,
    "sleep": _sleep,
}


# --- restarts and resizing ------------------------------------------------------------------------


def restart_policy(causes: Causes, path: str, container: Obj) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if not rules:
            return
        detail = "must specify restartPolicy when restart rules are used"
        causes.append(field_required(f"{path}.restartPolicy", detail))
    else:
        checks.one_of(causes, f"{path}.restartPolicy", policy, _RESTART_POLICIES)
    if len(rules) > _MAX_RESTART_RULES:
        causes.append(field_too_many(f"{path}.restartPolicyRules", len(rules), _MAX_RESTART_RULES))
    for index, rule in enumerate(rules):
        here, codes = f"{path}.restartPolicyRules[{index}]", rule.get("exitCodes")
        checks.one_of(causes, f"{here}.action", rule.get("action", ""), _RESTART_ACTIONS)
        if codes is None:
            causes.append(field_required(f"{here}.exitCodes", "must be specified"))
            continue
        checks.one_of(causes, f"{here}.exitCodes.operator", codes.get("operator", ""), ("In", "NotIn"))
        if len(codes.get("values") or ()) > _MAX_EXIT_CODES:
            causes.append(field_too_many(f"{here}.exitCodes.values", len(codes["values"]), _MAX_EXIT_CODES))


def _resize_policy(causes: Causes, path: str, policies: Sequence[Obj], pod_restart: str) -> None:
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            causes.append(field_duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        checks.required_one_of(causes, path, resource, ("cpu", "memory"))
        checks.required_one_of(causes, path, restart, ("NotRequired", "RestartContainer"))
        if pod_restart == "Never" and restart != "NotRequired":
            detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            causes.append(field_invalid(path, restart, detail))


# --- the three lists ------------------------------------------------------------------------------


def regular(causes: Causes, path: str, listed: Sequence[Obj], pod: PodContext) -> None:
    if not listed:
        causes.append(field_required(path))
        return
    ports = False
    for index, container in enumerate(listed):
        here = f"{path}[{index}]"
        common(causes, here, container, pod)
        name = container.get("name", "")
        if name in pod.names:
            causes.append(field_duplicate(f"{here}.name", name))
        pod.names.add(name)
        if container.keys() & _RARE:
            lifecycle_and_probes(causes, here, container, pod)
            restart_policy(causes, here, container)
            ports = ports or "ports" in container
    if ports:
        host_ports(causes, path, listed)


_RARE = frozenset({"lifecycle", *_PROBES, "restartPolicy", "restartPolicyRules", "ports"})


def init(causes: Causes, path: str, listed: Sequence[Obj], pod: PodContext) -> None:
    for index, container in enumerate(listed):
        here, name = f"{path}[{index}]", container.get("name", "")
        common(causes, here, container, pod)
        restart_policy(causes, here, container)
        if name in pod.names:
            causes.append(field_duplicate(f"{here}.name", name))
        elif name:
            pod.names.add(name)
        host_ports(causes, path, [container])
        if container.get("restartPolicy") == "Always":
            lifecycle_and_probes(causes, here, container, pod)
            continue
        for key in ("lifecycle", *_PROBES):
            if key in container:
                causes.append(field_forbidden(f"{here}.{key}", _INIT_ONLY))
        for place, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                detail = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                spot = f"{here}.resizePolicy[{place}].restartPolicy"
                causes.append(field_invalid(spot, policy["restartPolicy"], detail))


def ephemeral(causes: Causes, path: str, listed: Sequence[Obj], pod: PodContext) -> None:
    others = frozenset(pod.names)
    for index, container in enumerate(listed):
        here, name = f"{path}[{index}]", container.get("name", "")
        common(causes, here, container, pod)
        only_in_pods(causes, here, container)
        checks.unique(causes, f"{here}.name", name, pod.names)
        target = container.get("targetContainerName")
        if target and target not in others:
            causes.append(field_not_found(f"{here}.targetContainerName", target))
        for key in _NOT_EPHEMERAL:
            if container.get(key):
                causes.append(field_forbidden(f"{here}.{key}", _EPHEMERAL))
        for place, mount in enumerate(container.get("volumeMounts") or ()):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    causes.append(field_forbidden(f"{here}.volumeMounts[{place}].{key}", _EPHEMERAL))


def only_in_pods(causes: Causes, path: str, container: Obj) -> None:
    """What templates may still have."""
    image = container.get("image", "")
    if image.strip() != image:
        causes.append(field_invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))


def _env(causes: Causes, path: str, container: Obj, _pod: PodContext) -> None:
    env.variables(causes, path, container["env"] or ())


def _env_from(causes: Causes, path: str, container: Obj, _pod: PodContext) -> None:
    env.sources(causes, path, container["envFrom"] or ())


_SOMETIMES: Mapping[str, Callable[[Causes, str, Any, PodContext], None]] = {
    "ports": _ports,
    "env": _env,
    "envFrom": _env_from,
    "volumeMounts": _mounts,
    "volumeDevices": _devices,
}
