"""Drill: what tenants and vandals do to a virtual cluster, at random from a seed, with kill -9 of vapi in between.

Every step may fail, as it may for anybody: what must hold in the end is in `drill_checks`, and asks nobody what was
done. A foreign object (made by the host's people on a name that a twin needs) is noted, to be found untouched.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sync import names
from tests.integration.api import Api, Obj
from tests.integration.drill_kinds import EVERY_SPOIL, KINDS, NAKED, REVISION, Kind
from tests.integration.tenants import Tenant
from tests.vapi_process import KubectlError, Refused

NAMESPACES = ("default", "other")
MARK = "drill/foreign"
AWAY_S = 0.3
"""A server that is being killed is asked again after this, so that not all steps fall into the gap."""
PROPAGATIONS = ("Background", "Background", "Background", "Foreground", "Orphan")


@dataclass(slots=True)
class Foreign:
    """What somebody at the host has made."""

    path: str
    uid: str
    data: object


@dataclass
class Drill:
    """`host_way`: the plurals whose pods the host's controllers make."""

    tenant: Tenant
    host: Api
    seed: int
    host_way: frozenset[str] = frozenset()
    foreigners: bool = True
    foreign: list[Foreign] = field(default_factory=list)
    passwords: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    """What was done, for whoever reads a failure."""
    _revision: int = 0
    random: random.Random = field(init=False)
    virtual: Api = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.virtual = Api(self.tenant.vapi.kubeconfig, port=self.tenant.vapi.port)

    # --- doing --------------------------------------------------------------------------------------------

    def run(self, steps: int, *, pause_s: float = 0.0, vandals: bool = True) -> None:
        """One after the other; a server that is being killed refuses some."""
        waiting = threading.Event()
        for _ in range(steps):
            tables: Mapping[str, tuple[int, Callable[[Drill], str]]] = {**TENANTS, **(VANDALS if vandals else {})}
            (what,) = self.random.choices(list(tables), [weight for weight, _ in tables.values()])
            try:
                told = tables[what][1](self)
            except (Refused, KubectlError, OSError) as error:
                told = f"failed: {str(error)[:60]}"
                if isinstance(error, OSError):
                    waiting.wait(AWAY_S)
            self.done.append(f"{what} {told}")
            if pause_s:
                waiting.wait(pause_s)

    def close(self) -> None:
        self.host.close()
        self.virtual.close()

    def pick(self) -> tuple[Kind, str, str]:
        kind = self.random.choice(list(KINDS.values()))
        return kind, self.random.choice(NAMESPACES), self.random.choice(kind.names)

    def next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def twin_path(self, kind: Kind, namespace: str, name: str) -> str:
        limit = {"cronjobs": 52, "statefulsets": 52}.get(kind.plural, names.MAX_LENGTH)
        twin = names.host_name(name, namespace, self.tenant.name, limit)
        return f"{kind.collection(self.tenant.namespace)}/{twin}"

    def seed_objects(self) -> None:
        """One of each, so that a short drill has something to act on."""
        put_namespace(self)
        for namespace in NAMESPACES:
            for kind in KINDS.values():
                for name in kind.names:
                    with contextlib.suppress(Refused):
                        self.virtual.call("POST", kind.collection(namespace), kind.make(name, self.next_revision()))

    def remove_foreigners(self) -> None:
        for each in self.foreign:
            with contextlib.suppress(Refused):
                self.host.call("DELETE", each.path, {"gracePeriodSeconds": 0})


# --- tenants ------------------------------------------------------------------------------------------------


def put(d: Drill) -> str:
    """Made, or changed if it is there."""
    kind, namespace, name = d.pick()
    try:
        d.virtual.call("POST", kind.collection(namespace), kind.make(name, d.next_revision()))
    except Refused as error:
        if error.code != 409:
            raise
        return change_of(d, kind, namespace, name)
    return f"{kind.plural} {namespace}/{name}"


def change(d: Drill) -> str:
    return change_of(d, *d.pick())


def change_of(d: Drill, kind: Kind, namespace: str, name: str) -> str:
    d.virtual.merge(f"{kind.collection(namespace)}/{name}", kind.change(name, d.next_revision()))
    return f"{kind.plural} {namespace}/{name} changed"


def delete(d: Drill) -> str:
    kind, namespace, name = d.pick()
    how = d.random.choice(PROPAGATIONS) if kind.workload else "Background"
    d.virtual.call("DELETE", f"{kind.collection(namespace)}/{name}", {"propagationPolicy": how})
    return f"{how} {kind.plural} {namespace}/{name}"


def replace(d: Drill) -> str:
    """Deleted and made again at once: the name with another uid."""
    kind, namespace, name = d.pick()
    path = kind.collection(namespace)
    d.virtual.call("DELETE", f"{path}/{name}", {"propagationPolicy": "Background"})
    with contextlib.suppress(Refused):
        d.virtual.call("POST", path, kind.make(name, d.next_revision()))
    return f"{kind.plural} {namespace}/{name}"


def scale(d: Drill) -> str:
    kind = KINDS[d.random.choice(("deployments", "statefulsets"))]
    namespace, name = d.random.choice(NAMESPACES), d.random.choice(kind.names)
    replicas = d.random.choice((0, 1, 2, 3))
    d.virtual.merge(f"{kind.collection(namespace)}/{name}/scale", {"spec": {"replicas": replicas}})
    return f"{kind.plural} {namespace}/{name} to {replicas}"


def roll(d: Drill) -> str:
    kind = KINDS[d.random.choice(("deployments", "statefulsets", "daemonsets"))]
    namespace, name = d.random.choice(NAMESPACES), d.random.choice(kind.names)
    labels = {REVISION: str(d.next_revision())}
    d.virtual.merge(f"{kind.collection(namespace)}/{name}", {"spec": {"template": {"metadata": {"labels": labels}}}})
    return f"{kind.plural} {namespace}/{name}"


def undo(d: Drill) -> str:
    """As kubectl does it."""
    kind = d.random.choice(("deployment", "statefulset", "daemonset"))
    namespace, name = d.random.choice(NAMESPACES), d.random.choice(KINDS[f"{kind}s"].names)
    d.tenant.kubectl("-n", namespace, "rollout", "undo", f"{kind}/{name}")
    return f"{kind} {namespace}/{name}"


def end_pod(d: Drill) -> str:
    pods = d.virtual.items(f"/api/v1/namespaces/{d.random.choice(NAMESPACES)}/pods")
    if not pods:
        return "none"
    pod = d.random.choice(pods)["metadata"]
    options: Obj = {"gracePeriodSeconds": d.random.choice((0, 1, 3)), "preconditions": {"uid": pod["uid"]}}
    d.virtual.call("DELETE", f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}", options)
    return f"{pod['namespace']}/{pod['name']}"


def put_namespace(d: Drill) -> str:
    labels = {"team": f"t{d.next_revision()}"}
    with contextlib.suppress(Refused):
        d.virtual.call("POST", "/api/v1/namespaces", {"metadata": {"name": "other", "labels": labels}})
        return "other"
    d.virtual.merge("/api/v1/namespaces/other", {"metadata": {"labels": labels}})
    return "other labelled"


def end_namespace(d: Drill) -> str:
    d.virtual.call("DELETE", "/api/v1/namespaces/other")
    return "other"


TENANTS: Mapping[str, tuple[int, Callable[[Drill], str]]] = MappingProxyType(
    {
        "put": (16, put),
        "change": (12, change),
        "delete": (5, delete),
        "replace": (5, replace),
        "scale": (6, scale),
        "roll": (4, roll),
        "undo": (1, undo),
        "end pod": (4, end_pod),
        "put namespace": (4, put_namespace),
        "end namespace": (1, end_namespace),
    }
)

# --- vandals ------------------------------------------------------------------------------------------------


def pick_there(d: Drill, plural: str = "") -> tuple[Kind, str] | None:
    """Any object of the host namespace that nobody at the host has made, and its path."""
    kind = KINDS[plural] if plural else d.random.choice(list(KINDS.values()))
    found = [o for o in d.host.items(kind.collection(d.tenant.namespace)) if not marked(o) and not kept(d, o)]
    if not found:
        return None
    name = d.random.choice(sorted(o["metadata"]["name"] for o in found))
    return kind, f"{kind.collection(d.tenant.namespace)}/{name}"


def kept(d: Drill, obj: Obj) -> bool:
    """The anchor, what belongs to the virtual cluster as a whole, and the host's own."""
    metadata = obj["metadata"]
    ours = (f"vapi-{d.tenant.name}", d.tenant.name, "kube-root-ca.crt")
    return metadata["name"] in ours or (metadata.get("annotations") or {}).get("vapi.dev/object-kind", "").endswith(
        "Token"
    )


def spoil_twin(d: Drill) -> str:
    found = pick_there(d)
    if found is None:
        return "none"
    kind, path = found
    spoil = d.random.choice(kind.spoils + EVERY_SPOIL)
    if spoil is NAKED and kind.plural == "persistentvolumeclaims":
        return "none"  # nothing owns it: before it is bound nothing is left to tell whose it is
    d.host.merge(path, spoil)
    return f"{kind.plural} {path.rpartition('/')[2]} {spoil}"


def delete_twin(d: Drill) -> str:
    found = pick_there(d)
    if found is None or found[0].plural == "persistentvolumeclaims":
        return "none"
    kind, path = found
    how = d.random.choice(PROPAGATIONS) if kind.workload else "Background"
    d.host.call("DELETE", path, {"propagationPolicy": how})
    return f"{how} {kind.plural} {path.rpartition('/')[2]}"


def delete_any_pod(d: Drill) -> str:
    """Evicted, drained, preempted: whatever it is, it is gone."""
    found = pick_there(d, "pods")
    if found is None:
        return "none"
    d.host.call("DELETE", found[1], {"gracePeriodSeconds": d.random.choice((0, 1, 3))})
    return found[1].rpartition("/")[2]


def put_foreign(d: Drill) -> str:
    """On the name of something that the tenant has, or will have."""
    if not d.foreigners:
        return "none"
    kind = KINDS[d.random.choice(FOREIGN)]
    namespace, name = d.random.choice(NAMESPACES), d.random.choice(kind.names)
    path = d.twin_path(kind, namespace, name)
    body = kind.make(path.rpartition("/")[2], d.next_revision())
    body["metadata"]["labels"] = {MARK: "yes"}
    made = d.host.call("POST", kind.collection(d.tenant.namespace), body)
    d.foreign.append(Foreign(path, made["metadata"]["uid"], essence(made)))
    return f"{kind.plural} {namespace}/{name}"


FOREIGN = ("configmaps", "secrets", "services", "ingresses", "networkpolicies", "poddisruptionbudgets", "pods")


def essence(obj: Obj) -> object:
    """What nobody but a person changes."""
    metadata = obj["metadata"]
    spec = obj.get("spec")
    if obj.get("kind") == "Pod":
        spec = obj["spec"]["containers"]
    return metadata.get("labels"), metadata.get("annotations"), metadata.get("ownerReferences"), obj.get("data"), spec


def marked(obj: Obj) -> bool:
    return MARK in (obj["metadata"].get("labels") or {})


VANDALS: Mapping[str, tuple[int, Callable[[Drill], str]]] = MappingProxyType(
    {
        "spoil twin": (14, spoil_twin),
        "delete twin": (7, delete_twin),
        "delete any pod": (3, delete_any_pod),
        "put foreign": (1, put_foreign),
    }
)
