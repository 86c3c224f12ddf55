"""What the tenant sees of a host's node, by mode: a mirror, an invention, or a Node of its own. Pure.

A mirror is the host's but for what is its own affair; an invention keeps name and readiness alone; of a virtual
node the tenant owns what it sets, over the host's values as a base. Who wins is the table in docs/nodes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vapi import encoding
from vapi.config_values import NodesMode
from vapi.control.node_fit import NO_SCHEDULE, Taint, tolerates
from vapi.gvk import Obj
from vapi.resources.strategies.mirrors import EDITABLE, MIRROR
from vapi.version import KUBERNETES_VERSION

VIRTUAL = "vapi.dev/virtual-node"
"""Label of the Nodes that are the tenant's own over one of the host's."""
BASE = "vapi.dev/host-values"
"""Annotation of such a Node, JSON: what of its labels, taints and cordon came from the host."""

INVENTED_CAPACITY: Mapping[str, str] = MappingProxyType(
    {"cpu": "16", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"}
)
"""Of invented nodes, whatever the host's have; vCluster's numbers."""

CORDON = "node.kubernetes.io/unschedulable"
"""Key of the taint of a cordoned node, which kubectl describe shows and daemons tolerate."""

_CONDITIONS = frozenset(
    f"node.kubernetes.io/{key}"
    for key in ("not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable")
)
"""Keys of the taints that say what conditions say. The host owns both: our API puts the first on every new Node."""

_NOT_SHOWN = frozenset({"images", "volumesInUse", "volumesAttached", "config"})
"""Of the status: what of other tenants' pods would show in it."""
_KEPT_LABELS = ("kubernetes.io/os", "kubernetes.io/arch")
"""Of an invented node: what manifests select by to have an image that runs at all."""


@dataclass(frozen=True, slots=True)
class NodeRules:
    """`mode` is never AUTO."""

    mode: NodesMode = NodesMode.USED
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Obj, ...] = ()
    editable: bool = False
    """Whether the host is the tenant's alone: labels, taints and cordons of its mirrors are written to the host."""

    @property
    def every(self) -> bool:
        """Whether nodes are shown that run nothing of the tenant's."""
        return self.mode in (NodesMode.ALL, NodesMode.VIRTUAL)

    @property
    def virtual(self) -> bool:
        """Whether pods are placed in the tenant."""
        return self.mode is NodesMode.VIRTUAL

    @property
    def label_selector(self) -> str:
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))

    def selects(self, host: Obj) -> bool:
        labels = host["metadata"].get("labels") or {}
        return all(labels.get(key) == value for key, value in self.selector.items())


def rules(
    mode: NodesMode, *, selector: Mapping[str, str], tolerations: tuple[Obj, ...], every_node: bool = False
) -> NodeRules:
    """`every_node`: the host is the tenant's alone, and AUTO shows all; with a selector it shows all that match."""
    if mode is NodesMode.AUTO:
        mode = NodesMode.ALL if every_node or selector else NodesMode.USED
    return NodeRules(mode, selector, tolerations, editable=every_node and mode in (NodesMode.ALL, NodesMode.USED))


def is_ours(labels: Mapping[str, str]) -> bool:
    """A Node that sync made, in whichever mode."""
    return MIRROR in labels or VIRTUAL in labels


def copy_of(host: Obj, current: Obj | None, rules: NodeRules) -> Obj:
    """The tenant's Node for a host's. `current`: as the tenant has it; both are only read."""
    return _COPIES[rules.mode](host, current, rules)


# --- mirrors --------------------------------------------------------------------------------------------


def mirrored(host: Obj, current: Obj | None, rules: NodeRules) -> Obj:
    """Same name, labels, spec and status; no annotations, they are the host's own."""
    spec: dict[str, Any] = {
        key: value for key, value in (host.get("spec") or {}).items() if key in ("podCIDR", "podCIDRs", "unschedulable")
    }
    taints = _shown_taints(host, rules)
    if taints:
        spec["taints"] = taints
    labels = {**(host["metadata"].get("labels") or {}), MIRROR: EDITABLE if rules.editable else "true"}
    return _node(host, labels, _without_base(current), spec, _shown_status(host))


def edits(current: Obj, host: Obj, rules: NodeRules) -> Obj:
    """The merge patch that gives the host's node the labels, taints and cordon of the tenant's; {} if it has them."""
    patch: Obj = {}
    mine = {k: v for k, v in (current["metadata"].get("labels") or {}).items() if k not in (MIRROR, VIRTUAL)}
    theirs = host["metadata"].get("labels") or {}
    labels = {k: v for k, v in mine.items() if theirs.get(k) != v} | {k: None for k in theirs if k not in mine}
    if labels:
        patch["metadata"] = {"labels": labels}
    spec: dict[str, Any] = {}
    cordoned = bool((current.get("spec") or {}).get("unschedulable"))
    if cordoned != bool((host.get("spec") or {}).get("unschedulable")):
        spec["unschedulable"] = cordoned or None
    have = (host.get("spec") or {}).get("taints") or []
    shown = _shown_taints(host, rules)
    kept = [t for t in have if t not in shown or t.get("key") in _CONDITIONS]
    tainted = [t for t in (current.get("spec") or {}).get("taints") or () if t.get("key") not in _CONDITIONS]
    if [*kept, *tainted] != have:
        spec["taints"] = [*kept, *tainted] or None
    if spec:
        patch["spec"] = spec
    return patch


def _shown_taints(host: Obj, rules: NodeRules) -> list[Obj]:
    """But for those that every pod of the tenant tolerates for good without saying so."""
    for_good = [t for t in rules.tolerations if "tolerationSeconds" not in t]
    return [t for t in (host.get("spec") or {}).get("taints") or () if not any(_covers(e, t) for e in for_good)]


def _covers(toleration: Obj, taint: Obj) -> bool:
    return tolerates(toleration, Taint(taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")))


def _shown_status(host: Obj) -> Obj:
    return {k: v for k, v in (host.get("status") or {}).items() if k not in _NOT_SHOWN}


def _annotations(current: Obj | None) -> dict[str, str]:
    return dict((current or {"metadata": {}})["metadata"].get("annotations") or {})


def _without_base(current: Obj | None) -> dict[str, str]:
    return {k: v for k, v in _annotations(current).items() if k != BASE}


def _node(host: Obj, labels: Mapping[str, str], annotations: Mapping[str, str], spec: Obj, status: Obj) -> Obj:
    metadata: Obj = {"name": host["metadata"]["name"], "labels": dict(labels)}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status}


# --- inventions -----------------------------------------------------------------------------------------


def invented(host: Obj, current: Obj | None, _rules: NodeRules) -> Obj:
    """The name, whether it is ready, and for which images; the rest is the same for all."""
    name = host["metadata"]["name"]
    theirs = host["metadata"].get("labels") or {}
    labels = {key: theirs[key] for key in _KEPT_LABELS if key in theirs}
    labels |= {"kubernetes.io/hostname": name, MIRROR: "true"}
    status: Obj = {
        "capacity": dict(INVENTED_CAPACITY),
        "allocatable": dict(INVENTED_CAPACITY),
        "conditions": [_readiness(host)],
        "addresses": [{"type": "Hostname", "address": name}],
        "nodeInfo": {
            **dict.fromkeys(
                ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"), ""
            ),
            "kubeletVersion": KUBERNETES_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": theirs.get("kubernetes.io/os", "linux"),
            "architecture": theirs.get("kubernetes.io/arch", "amd64"),
        },
    }
    return _node(host, labels, _without_base(current), {}, status)


def unread(name: str) -> Obj:
    """A host's node that we may not read, as far as it shows: it runs a pod, so it is ready."""
    ready = {"type": "Ready", "status": "True"}
    host = {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}, "status": {"conditions": [ready]}}
    return invented(host, None, NodeRules())


_READINESS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "True": ("KubeletReady", "kubelet is posting ready status"),
        "False": ("KubeletNotReady", "kubelet is not ready"),
        "Unknown": ("NodeStatusUnknown", "Kubelet stopped posting node status."),
    }
)


def _readiness(host: Obj) -> Obj:
    """The host's condition without its words, which tell of its network and runtime."""
    found: Obj = next((c for c in (host.get("status") or {}).get("conditions") or () if c["type"] == "Ready"), {})
    state = found.get("status", "Unknown")
    reason, message = _READINESS.get(state, _READINESS["Unknown"])
    times: Obj = {k: found[k] for k in ("lastHeartbeatTime", "lastTransitionTime") if k in found}
    return {"type": "Ready", "status": state, "reason": reason, "message": message, **times}


# --- virtual nodes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Base:
    """What came from the host, by key; a taint's key is (key, effect) in one text."""

    labels: Mapping[str, Any] = field(default_factory=dict)
    taints: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


def virtual(host: Obj, current: Obj | None, rules: NodeRules) -> Obj:
    """Labels: the tenant's over the host's. Taints and cordon: both count, for the host heeds its own in any case."""
    here: Obj = current or {"metadata": {}, "spec": {}}
    mine: Obj = here.get("spec") or {}
    labels_here = {k: v for k, v in (here["metadata"].get("labels") or {}).items() if k not in (MIRROR, VIRTUAL)}
    taints_here = _by_key(t for t in mine.get("taints") or () if not _follows(t))
    cordon_here = _cordon(mine)
    base = _base(here, _Base(labels_here, taints_here, cordon_here))
    theirs: Obj = host.get("spec") or {}
    from_host = _shown_taints(host, rules)
    taints_there = _by_key(t for t in from_host if not _follows(t))
    labels, base_labels = _merge(base.labels, host["metadata"].get("labels") or {}, labels_here, insists=False)
    taints, base_taints = _merge(base.taints, taints_there, taints_here, insists=True)
    cordon, base_cordon = _merge(base.spec, _cordon(theirs), cordon_here, insists=True)
    spec = {k: v for k, v in mine.items() if k not in ("taints", "unschedulable")}
    for key in ("podCIDR", "podCIDRs"):
        if key in theirs:
            spec.setdefault(key, theirs[key])
    conditions = (t for t in from_host if t.get("key") in _CONDITIONS)
    shown = [*taints.values(), *conditions, *(_cordon_taint(mine) if cordon else ())]
    if shown:
        spec["taints"] = shown
    annotations = _annotations(current)
    kept = {"labels": base_labels, "taints": base_taints, "spec": base_cordon}
    annotations[BASE] = encoding.dumps_sorted(kept).decode()
    return _node(host, {**labels, VIRTUAL: "true"}, annotations, {**spec, **cordon}, _shown_status(host))


def _merge(
    base: Mapping[str, Any], host: Mapping[str, Any], tenant: Mapping[str, Any], *, insists: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is shown, what of it is the host's). What the tenant has as we brought it follows the host.

    `insists`: what the host has is shown whatever the tenant did; its own comes back when the host's goes.
    """
    shown, ours = {}, {}
    for key in {**tenant, **host, **base}:
        here, there, brought = tenant.get(key), host.get(key), base.get(key)
        if here == brought:
            here = brought = there
        elif insists and there is not None:
            here, brought = there, (None if brought is None else there)
        if here is not None:
            shown[key] = here
        if brought is not None:
            ours[key] = brought
    return shown, ours


def _follows(taint: Obj) -> bool:
    """It follows from something else of the Node."""
    return taint.get("key") == CORDON or taint.get("key") in _CONDITIONS


def _by_key(taints: Iterable[Obj]) -> dict[str, Obj]:
    return {f"{taint.get('key', '')}:{taint.get('effect', '')}": taint for taint in taints}


def _cordon(spec: Obj) -> dict[str, bool]:
    return {"unschedulable": True} if spec.get("unschedulable") else {}


def _cordon_taint(spec: Obj) -> list[Obj]:
    """As it is there, with its time, or new. Source: pkg/controller/nodelifecycle, doNoScheduleTaintingPass."""
    there = [t for t in spec.get("taints") or () if t.get("key") == CORDON and t.get("effect") == NO_SCHEDULE]
    return there[:1] or [{"key": CORDON, "effect": NO_SCHEDULE}]


def _base(current: Obj, all_of_it: _Base) -> _Base:
    """Of a mirror, which this Node may have been until now, all came from the host; broken by hand: nothing did."""
    metadata = current["metadata"]
    if MIRROR in (metadata.get("labels") or {}):
        return all_of_it
    text = (metadata.get("annotations") or {}).get(BASE, "")
    try:
        found = encoding.loads(text) if text else {}
        return _Base(*(dict(found.get(key) or {}) for key in ("labels", "taints", "spec")))
    except (ValueError, AttributeError, TypeError):
        return _Base()


_COPIES: Mapping[NodesMode, Callable[[Obj, Obj | None, NodeRules], Obj]] = MappingProxyType(
    {
        NodesMode.USED: mirrored,
        NodesMode.ALL: mirrored,
        NodesMode.INVENTED: invented,
        NodesMode.VIRTUAL: virtual,
    }
)
