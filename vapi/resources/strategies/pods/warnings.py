"""What is accepted of a PodSpec, with a warning. Source: pkg/api/pod/warnings.go (1.37).

Not said: overlapping paths of projected volumes, odd spellings of addresses, deprecated terms of affinities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from vapi import encoding
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.schema import podspec, quantity

_NODE_LABELS: Mapping[str, str] = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_ANNOTATIONS: Mapping[str, str] = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES: Mapping[str, str] = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_MORE_NODE_LABELS: Mapping[str, str] = {
    **_NODE_LABELS,
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_NO_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_LISTS = ("initContainers", "containers", "ephemeralContainers")
_WHOLE_BYTES = ("memory", "ephemeral-storage")


def of_pod(obj: Obj, old: Obj | None) -> Sequence[str]:
    """On create alone: nobody reads what a controller is told at each update."""
    if old is not None:
        return ()
    metadata, found = obj["metadata"], []
    if problem := checks.dns_label_problem(metadata.get("name", "")):
        found.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            f"a DNS label is recommended: [{problem}]"
        )
    spec = obj.get("spec") or {}
    text = podspec.stand_in(spec) if not metadata.get("annotations") else b""
    if not text or not _is_quiet(text):
        found.extend(of_spec("", metadata, spec))
    return found


@lru_cache(maxsize=podspec.MOST)
def _is_quiet(text: bytes) -> bool:
    """Whether a spec without annotations has no warnings."""
    return not of_spec("", {}, encoding.loads(text))


def of_template(obj: Obj, old: Obj | None) -> Sequence[str]:
    """Of a workload at `spec.template`, when its spec is new."""
    spec = obj.get("spec") or {}
    if old is not None and spec == old.get("spec"):
        return ()
    template = spec.get("template") or {}
    return of_spec("spec.template.", template.get("metadata") or {}, template.get("spec") or {})


def of_template_object(obj: Obj, old: Obj | None) -> Sequence[str]:
    """Of the kind PodTemplate."""
    template = obj.get("template") or {}
    if old is not None and template == old.get("template"):
        return ()
    return of_spec("template.", template.get("metadata") or {}, template.get("spec") or {})


def of_named_template(obj: Obj, old: Obj | None) -> Sequence[str]:
    """Of a workload whose own name is part of its pods' hostnames."""
    return [*hostname(obj, old), *of_template(obj, old)]


def hostname(obj: Obj, old: Obj | None) -> Sequence[str]:
    problem = checks.dns_label_problem(obj["metadata"].get("name", "")) if old is None else ""
    if not problem:
        return ()
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        f"a DNS label is recommended: [{problem}]"
    ]


def of_spec(prefix: str, metadata: Obj, spec: Obj) -> Sequence[str]:
    """`prefix`: the path of the template with a dot, "" for a Pod."""
    annotations = metadata.get("annotations") or {}
    if (
        not annotations
        and not spec.keys() & _SPECIAL
        and not any(c.keys() & _SPECIAL for c in spec.get("containers", ()))
    ):
        return ()
    here = f"{prefix}spec"
    found = [*_placing(here, spec)]
    found += [
        f"{prefix}metadata.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations
    ]
    for index, volume in enumerate(spec.get("volumes") or ()):
        for kind, text in _VOLUMES.items():
            if kind in volume:
                shown = "storageOS" if kind == "storageos" else kind
                found.append(f"{here}.volumes[{index}].{shown}: {text}")
    found += _repeated(here, spec)
    found += _fractions(f"{here}.overhead", spec.get("overhead") or {})
    if _SECCOMP_POD in annotations and "seccompProfile" not in (spec.get("securityContext") or {}):
        found.append(f"{prefix}metadata.annotations[{_SECCOMP_POD}]: {_NO_SECCOMP}")
    for path, container in _containers(here, spec):
        key = _SECCOMP_CONTAINER + container.get("name", "")
        if key in annotations and "seccompProfile" not in (container.get("securityContext") or {}):
            found.append(f"{prefix}metadata.annotations[{key}]: {_NO_SECCOMP}")
        for kind in ("limits", "requests"):
            found += _fractions(f"{path}.resources.{kind}", (container.get("resources") or {}).get(kind) or {})
        found += _hidden(f"{path}.env", container.get("env") or ())
    found += _ports(here, spec)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0:
        found.append(
            f"{here}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    return found


_SPECIAL = frozenset(
    {
        "nodeSelector",
        "topologySpreadConstraints",
        "volumes",
        "hostAliases",
        "imagePullSecrets",
        "overhead",
        "env",
        "ports",
        "initContainers",
        "resources",
    }
)


def _containers(path: str, spec: Obj) -> Iterator[tuple[str, Obj]]:
    for kind in _LISTS:
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{path}.{kind}[{index}]", container


def _placing(path: str, spec: Obj) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in _NODE_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_NODE_LABELS[key]}"
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here, key = f"{path}.topologySpreadConstraints[{index}]", constraint.get("topologyKey", "")
        if key in _NODE_LABELS:
            yield f"{here}.topologyKey: {key} is {_NODE_LABELS[key]}"
        if "labelSelector" not in constraint:
            yield f"{here}.labelSelector: a null labelSelector results in matching no pod"


def _repeated(path: str, spec: Obj) -> Iterator[str]:
    for field, key in (("hostAliases", "ip"), ("imagePullSecrets", "name")):
        seen: set[str] = set()
        for index, item in enumerate(spec.get(field) or ()):
            value = item.get(key, "")
            if value in seen:
                yield f'{path}.{field}[{index}].{key}: duplicate {key} "{value}"'
            seen.add(value)
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'


def _fractions(path: str, amounts: Obj) -> Iterator[str]:
    for name in _WHOLE_BYTES:
        value = amounts.get(name)
        if value is not None and checks.nanos(value) % quantity.NANO:
            yield f'{path}[{name}]: fractional byte value "{value}" is invalid, must be an integer'


def _hidden(path: str, variables: Sequence[Obj]) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, value = variable.get("name", ""), variable.get("value", "")
        reference = f"$({name})"
        if name in seen and ("valueFrom" in variable or value == reference or reference not in value):
            yield f'{path}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _ports(path: str, spec: Obj) -> Iterator[str]:
    known: dict[str, list[tuple[str, Obj]]] = {}
    names: dict[str, str] = {}
    named = []
    for container_path, container in _containers(path, spec):
        for index, port in enumerate(container.get("ports") or ()):
            here = f"{container_path}.ports[{index}]"
            others = known.setdefault(f"{port.get('containerPort', 0)}/{port.get('protocol', '')}", [])
            for other_path, other in others:
                if problem := _overlap(port, other):
                    yield f"{here}: {problem} port definition with {other_path}"
            others.append((here, port))
            name = port.get("name")
            if name and name in names:
                first = names[name]
                named.append(
                    f'{here}: duplicate port name "{name}" with {first}, '
                    f"services and probes that select ports by name will use {first}"
                )
            elif name:
                names[name] = here
    yield from named


def _overlap(port: Obj, other: Obj) -> str:
    one, two = (port.get("hostPort", 0), port.get("hostIP", "")), (other.get("hostPort", 0), other.get("hostIP", ""))
    if one == two:
        return "duplicate"
    if not one[0] or not two[0]:
        return "overlapping"
    return "dangerously ambiguous" if one[0] == two[0] and bool(one[1]) != bool(two[1]) else ""


def of_node_label(key: str) -> str:
    """ "" for a label of Nodes that is not deprecated."""
    return _MORE_NODE_LABELS.get(key, "")
