"""Translator: one row a kind: what of it goes to the host, what comes back, and what it needs there first.

A row holds pure functions of dicts; the engine (`syncer`) is the only code that
acts on them. `Context` is all that a translation may know besides its object.
Objects given to a row are shared and never edited; answers may share parts with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sync import metadata as md
from sync import names
from vapi.gvk import GVK, GVR, Obj

PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
ENDPOINTSLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
CONFIGMAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
NAMESPACES = GVR("", "v1", "namespaces")
NODES = GVR("", "v1", "nodes")
EVENTS = GVR("", "v1", "events")
CLAIMS = GVR("", "v1", "persistentvolumeclaims")
VOLUMES = GVR("", "v1", "persistentvolumes")
STORAGECLASSES = GVR("storage.k8s.io", "v1", "storageclasses")
ATTRIBUTESCLASSES = GVR("storage.k8s.io", "v1", "volumeattributesclasses")
INGRESSCLASSES = GVR("networking.k8s.io", "v1", "ingressclasses")
RUNTIMECLASSES = GVR("node.k8s.io", "v1", "runtimeclasses")
PRIORITYCLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
LEASES = GVR("coordination.k8s.io", "v1", "leases")


class Untranslatable(Exception):
    """The object asks for what cannot be had on a shared host; the message is for the tenant."""


class Withheld(Untranslatable):
    """The operator's settings keep it from the host: a twin that it has is deleted; the message goes out as it is."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A virtual object that another one names."""

    resource: GVR
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ServiceLink:
    """A Service with an address of its own, as the service variables of pods show it."""

    name: str
    ip: str
    ports: tuple[tuple[str, int, str], ...]
    """(name, port, protocol)."""


def _no_class(_name: str) -> str:
    return ""


def _no_endpoints() -> Collection[tuple[str, int]]:
    return ()


def _any_class(_resource: GVR, _name: str) -> str:
    return ""


def _no_default() -> str:
    return ""


def _is_mirror(_resource: GVR, _name: str) -> bool:
    return False


def _no_labels(_namespace: str) -> Mapping[str, str]:
    return {}


def _no_services(_namespace: str) -> Collection[ServiceLink]:
    return ()


def _no_namespaces() -> Iterable[tuple[str, Mapping[str, str]]]:
    return ()


def _no_service(_namespace: str, _name: str) -> Obj | None:
    return None


def _no_uid(_namespace: str, _name: str) -> str:
    return ""


def _stays(_namespace: str) -> bool:
    return False


def _referenced(_ref: Ref) -> bool:
    return True


def _node_name(virtual: Obj) -> str:
    return str(virtual["spec"].get("nodeName") or "")


@dataclass(frozen=True, slots=True)
class Context:
    """The virtual cluster as translations see it. The callables read caches and never await."""

    cluster: str
    """NAME."""
    host_namespace: str
    """HOSTNS."""
    anchor_uid: str = ""
    cluster_domain: str = "cluster.local"
    api_server_ip: str = ""
    """Where the host's pods reach our API server; "" while unknown: they get no KUBERNETES_* variables."""
    api_server_port: int = 443
    dns_ip: str | None = None
    """Of the tenant's DNS; "" while it is to come: its pods wait; None: there is none, and pods keep the host's."""
    service_account: str = "default"
    """The ServiceAccount of host pods, which has no rights there."""
    from_host: md.KeyPatterns = field(default_factory=md.KeyPatterns)
    namespace_labels: Callable[[str], Mapping[str, str]] = _no_labels
    namespaces: Callable[[], Iterable[tuple[str, Mapping[str, str]]]] = _no_namespaces
    """(name, labels) of every tenant Namespace."""
    service_links: Callable[[str], Collection[ServiceLink]] = _no_services
    service: Callable[[str, str], Obj | None] = _no_service
    """A tenant Service (shared), or None."""
    host_pod_uid: Callable[[str, str], str] = _no_uid
    """(tenant namespace, tenant pod) → uid of its twin, or ""."""
    terminating: Callable[[str], bool] = _stays
    """Whether a tenant Namespace is going: nothing may come into it any more."""
    account: Callable[[str, str], Obj | None] = _no_service
    """A tenant's ServiceAccount (namespace, name), private, or None."""
    mapped: Collection[tuple[str, str]] = ()
    """(namespace, name) of the tenant's Services that stand for Services of the host, if they have its label."""
    referenced: Callable[[Ref], bool] = _referenced
    """Whether something on the host, or on its way there, refers to it."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Enforced on every pod, whatever the tenant writes, as are `tolerations`."""
    tolerations: tuple[Obj, ...] = ()
    virtual_nodes: bool = False
    """Pods are placed in the tenant: they go out with their node, and without what led there."""
    chosen_node: Callable[[Obj], str] = _node_name
    """Where a tenant's Pod is, or is to be; "": nobody has placed it."""

    dns_endpoints: Callable[[], Collection[tuple[str, int]]] = _no_endpoints
    """(address, port) of the tenant's DNS where it is no pod of the host."""
    store_id: str = ""
    """Of the tenant's data: twins that outlive the anchor carry it, so that no other tenant of this name takes them."""
    withheld_class: Callable[[GVR, str], str] = _any_class
    """Why what names this class of the host does not go out (the rest of a sentence); "" if it does.

    Raises Retry while it is not known yet what the host has.
    """
    default_storage_class: Callable[[], str] = _no_default
    """Of the host, for claims that name none; "" if the tenant sees none."""
    is_mirror: Callable[[GVR, str], bool] = _is_mirror
    """Whether the tenant's cluster-scoped object of that name is a mirror of the host's."""
    priority_class: Callable[[str], str] = _no_class
    """The host's name of a PriorityClass; "" if the host has none for it: the pod goes out without."""

    def host_name(self, name: str, namespace: str) -> str:
        return names.host_name(name, namespace, self.cluster)

    def twin_name(self, row: Translator, name: str, namespace: str) -> str:
        """The same for any kind, cluster-scoped ones too."""
        if row.cluster_scoped:
            return names.host_cluster_name(name, self.host_namespace, self.cluster)
        return names.host_name(name, namespace, self.cluster, row.name_limit)

    def twin_namespace(self, row: Translator) -> str:
        return "" if row.cluster_scoped else self.host_namespace

    def marker(self, row: Translator) -> str:
        """The value of the label by which its twins are ours."""
        return names.cluster_marker(self.host_namespace, self.cluster) if row.cluster_scoped else self.cluster

    def own_labels(self, namespace: str) -> dict[str, str]:
        """The two labels of everything of `namespace`."""
        return {md.MANAGED_BY: self.cluster, md.NAMESPACE: namespace}

    def selector_labels(self, match_labels: Mapping[str, str] | None, namespace: str) -> dict[str, str]:
        """matchLabels (or a Service's selector) that meet only objects of `namespace`."""
        mine = {k: v for k, v in (match_labels or {}).items() if not md.reserved(k)}
        return mine | self.own_labels(namespace)

    def host_metadata(self, virtual: Obj, gvk: GVK, *, controller: bool = False) -> Obj:
        """Name, labels, annotations and owner of the twin; the tenant's keys first, so that ours win."""
        metadata = virtual["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace", "")
        labels = md.tenant_labels(virtual, self.from_host) | self.own_labels(namespace)
        annotations = md.tenant_annotations(virtual, self.from_host)
        annotations[md.OBJECT_NAME] = name
        annotations[md.OBJECT_NAMESPACE] = namespace
        annotations[md.OBJECT_UID] = metadata.get("uid", "")
        annotations[md.OBJECT_KIND] = md.kind_text(gvk)
        twin: Obj = {
            "name": self.host_name(name, namespace),
            "namespace": self.host_namespace,
            "labels": labels,
            "annotations": annotations,
        }
        if self.anchor_uid:
            anchor = names.anchor_name(self.cluster)
            twin["ownerReferences"] = [
                md.owner_reference(anchor=anchor, anchor_uid=self.anchor_uid, controller=controller)
            ]
        return twin

    def host_cluster_metadata(self, virtual: Obj, gvk: GVK) -> Obj:
        """The same of a cluster-scoped kind: nothing namespaced can own its twin."""
        metadata = virtual["metadata"]
        labels = md.tenant_labels(virtual, self.from_host)
        labels[md.MANAGED_BY] = names.cluster_marker(self.host_namespace, self.cluster)
        annotations = md.tenant_annotations(virtual, self.from_host)
        annotations[md.OBJECT_NAME] = metadata["name"]
        annotations[md.OBJECT_UID] = metadata.get("uid", "")
        annotations[md.OBJECT_KIND] = md.kind_text(gvk)
        return {
            "name": names.host_cluster_name(metadata["name"], self.host_namespace, self.cluster),
            "labels": labels,
            "annotations": annotations,
        }


class WhenLost(StrEnum):
    RECREATE = "recreate"
    END = "end"  # the virtual object ends too


class Direction(StrEnum):
    TO_HOST = "to host"
    FROM_HOST = "from host"


@dataclass(frozen=True, slots=True)
class Write:
    """One strategic merge patch of the twin. `optional`: a refusal is told in an event and does not stop the others."""

    patch: Obj
    subresource: str = ""
    optional: bool = False


def no_references(_virtual: Obj) -> Iterable[Ref]:
    return ()


def always(_virtual: Obj, _context: Context) -> bool:
    return True


def no_status(_virtual: Obj, _host: Obj) -> Obj | None:
    return None


def as_desired(desired: Obj) -> Obj:
    return desired


def running(_virtual: Obj) -> bool:
    return False


def settled(_desired: Obj, _answer: Obj) -> Write | None:
    return None


def no_retreat(_desired: Obj) -> Obj | None:
    return None


def never(_desired: Obj, _host: Obj) -> bool:
    return False


def admitted(_virtual: Obj, _context: Context) -> None:
    return None


def replaceable(_virtual: Obj) -> Obj | None:
    return None


def nothing_more(_virtual: Obj, _host: Obj) -> Obj:
    return {}


@dataclass(frozen=True, slots=True)
class Translator:
    """A row. Only `gvk`, `resource` and `to_host` are needed; the rest has the defaults of a plain object."""

    resource: GVR
    gvk: GVK
    to_host: Callable[[Obj, Context], Obj]
    """Virtual → desired host object. Raises Untranslatable."""
    references: Callable[[Obj], Iterable[Ref]] = no_references
    """What must exist on the host first."""
    wanted: Callable[[Obj, Context], bool] = always
    admit: Callable[[Obj, Context], None] = admitted
    """Before it is made on the host: raises Untranslatable or Withheld. A twin that is there already stays."""
    creation: Callable[[Obj], Obj] = as_desired
    """The desired object as it can be created (some fields only exist later)."""
    status: Callable[[Obj, Obj], Obj | None] = no_status
    """(virtual, host) → the status that the virtual object should have; None: nothing comes back."""
    brought_back: Callable[[Obj, Obj], Obj] = nothing_more
    """(virtual, host) → a merge patch of what else the host owns in the virtual object; {} if all fits."""
    lost_status: Callable[[Obj], Obj | None] = replaceable
    """The status of a virtual object that can not be made again once its twin is gone; None: it is made again."""
    update: Callable[[Obj, Obj], Iterable[Write]] | None = None
    """(desired, host) → patches; None: the whole object, by server-side apply."""
    settle: Callable[[Obj, Obj], Write | None] = settled
    """(desired, answer): what to note on a twin that the host wants otherwise, so that it is asked for once only."""
    replace: Callable[[Obj, Obj], bool] = never
    """(desired, host): no update leads there (an immutable field): delete and create again."""
    retreat: Callable[[Obj], Obj | None] = no_retreat
    """desired → what else may be asked for where the host refuses that; None: nothing. What it gives then becomes
    the tenant's (`VirtualCluster.renumber`)."""
    when_lost: WhenLost = WhenLost.RECREATE
    forwards_deletion: bool = False
    """Deletion goes out at once, with its grace (Pods); else the twin stays until the virtual object is gone."""
    ended: Callable[[Obj], bool] = running
    """What it was for is done (a finished Job): its twin is not made again."""
    pod_template: Callable[[Obj], Obj] | None = None
    """Of a workload: the template of the pods that the host's controller makes."""
    name_limit: int = names.MAX_LENGTH
    """Of the twin's name; less where the host's controllers append to it."""
    keeps_body: bool = False
    """The host's body is needed at each event (a status comes back)."""
    priority: int = 3
    """Of its writes: 0 deletes and tokens, 1 Services and references, 2 pods, 3 the rest."""
    direction: Direction = Direction.TO_HOST
    cluster_scoped: bool = False
    anchored: bool = True
    """The anchor owns its twins; else they stay when the virtual cluster is removed, and carry `Context.store_id`."""
    exact: tuple[str, ...] = ()
    """Paths of the host object in which nobody else may add anything: what is there beyond the desired is removed."""

    @property
    def kind_text(self) -> str:
        return md.kind_text(self.gvk)

    @property
    def marks(self) -> bool:
        return self.when_lost is WhenLost.END
