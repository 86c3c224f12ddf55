"""A kind is a row: everything the generic machinery must know of it, as data.

Routes, discovery, OpenAPI, RBAC names, Table columns and the contract tests
follow from these rows; adding a kind adds one (and, if its rules are special, a
strategy of pure hooks). `StoredKind` is what lies in the store; several rows may
be served from one (events in two groups, autoscaling v1 and v2), each with a pure conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from vapi import encoding
from vapi.gvk import GVK, GVR, Obj
from vapi.resources.strategy import Strategy


class Verb(StrEnum):
    CREATE = "create"
    DELETE = "delete"
    DELETECOLLECTION = "deletecollection"
    GET = "get"
    LIST = "list"
    PATCH = "patch"
    UPDATE = "update"
    WATCH = "watch"


class Propagation(StrEnum):
    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


FieldGetter = Callable[[Obj], str]
"""The value of a field selector's label in the *stored* object; "" when unset."""


@dataclass(frozen=True)
class StoredKind:
    """What is in the store under `/registry/<group>/<plural>/`, always in this version."""

    gvk: GVK
    plural: str
    namespaced: bool
    fields: Mapping[str, FieldGetter] = field(default_factory=dict)
    """Indexed fields beyond metadata.name and metadata.namespace, over all rows of this kind."""

    @cached_property
    def prefix(self) -> str:
        """Of the keys. Ends in `/`."""
        return f"/registry/{self.gvk.group or 'core'}/{self.plural}/"

    @cached_property
    def value_prefix(self) -> bytes:
        return encoding.stored_prefix(self.gvk.api_version, self.gvk.kind)

    def key(self, namespace: str, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"


@dataclass(frozen=True, slots=True)
class Subresource:
    """`verbs` and the kind it speaks (Scale, Eviction, …); None: the parent's own."""

    name: str
    verbs: tuple[Verb, ...]
    gvk: GVK | None = None
    accepted_types: tuple[GVK, ...] = ()
    """Of discovery's acceptedTypes, where a body may be of several kinds."""
    connect: bool = False
    """A tunnel (exec, proxy, …): every verb of HTTP leads to the host, none to the store."""


@dataclass(frozen=True)
class Resource:
    """One row: a resource as served in one group and version."""

    gvr: GVR
    kind: str
    singular: str
    namespaced: bool
    verbs: frozenset[Verb]
    stored: StoredKind | None
    """None: a review kind, which is answered and never stored."""
    strategy: Strategy
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    field_labels: Mapping[str, str] = field(default_factory=dict)
    """Field selector label as this row spells it → label in `stored.fields`."""
    to_stored: Callable[[Obj], Obj] | None = None
    from_stored: Callable[[Obj], Obj] | None = None
    """Pure conversions, where this row's version is not the stored one. They may share parts with their input."""
    has_generation: bool = False
    update_creates: bool = False
    """PUT of a missing object creates it (Services, Leases, RBAC, …; contract §3.4)."""
    update_needs_version: bool = False
    """PUT without resourceVersion is refused (contract §3.4)."""
    delete_returns_object: bool = False
    default_propagation: Propagation = Propagation.BACKGROUND
    graceful: bool = False
    """Deletion has a grace period (Pods)."""
    ttl_s: int = 0
    """Seconds after the last write at which the expiry controller deletes it; 0: never."""
    storage_version_hash: str = ""
    custom: bool = False
    """Of a CRD: list items carry apiVersion and kind, no strategic merge, no protobuf."""

    @cached_property
    def gvk(self) -> GVK:
        return GVK(self.gvr.group, self.gvr.version, self.kind)

    @cached_property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    @cached_property
    def converts(self) -> bool:
        return self.from_stored is not None

    @cached_property
    def prefix_bytes(self) -> bytes:
        """What a stored value of the stored kind begins with."""
        return self.stored.value_prefix if self.stored else b""

    @cached_property
    def single_head(self) -> bytes:
        return encoding.single_head(self.prefix_bytes)


class Catalog:
    """All rows of one API server, immutable; a change (a CRD) makes a new one. Order of rows = discovery order."""

    def __init__(self, rows: tuple[Resource, ...]) -> None:
        self.rows = rows
        self._by_gvr = {row.gvr: row for row in rows}
        self._by_gvk = {row.gvk: row for row in reversed(rows)}
        self._by_group_resource: dict[tuple[str, str], Resource] = {}
        for row in rows:
            self._by_group_resource.setdefault((row.gvr.group, row.gvr.resource), row)
        self.group_versions = frozenset(row.gvr.group_version for row in rows)
        self.groups = frozenset(row.gvr.group for row in rows)

    def find(self, group: str, version: str, resource: str) -> Resource | None:
        return self._by_gvr.get(GVR(group, version, resource))

    def preferred(self, group: str, resource: str) -> Resource | None:
        """The row of the group's preferred version that serves it."""
        return self._by_group_resource.get((group, resource))

    def by_gvk(self, gvk: GVK) -> Resource | None:
        return self._by_gvk.get(gvk)

    def of(self, gvr: GVR) -> Resource:
        """Raises KeyError."""
        return self._by_gvr[gvr]

    def row(self, group: str, version: str, resource: str) -> Resource:
        """For code that names a built-in kind; raises KeyError."""
        return self._by_gvr[GVR(group, version, resource)]

    def stored_kinds(self) -> tuple[StoredKind, ...]:
        return tuple({row.stored.prefix: row.stored for row in self.rows if row.stored}.values())
