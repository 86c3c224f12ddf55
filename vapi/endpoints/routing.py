"""Routing: which row and subresource a request is for, and whether its method is one of theirs. Pure, tables first.

404 comes in two forms, as from go-restful and from Go's mux: JSON where the
group is known, plain text where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from vapi import errors
from vapi.endpoints.request import RequestInfo
from vapi.gvk import GVK
from vapi.resources.resource import Catalog, Resource, Subresource, Verb

_ON_COLLECTION = {
    "list": Verb.LIST,
    "watch": Verb.WATCH,
    "create": Verb.CREATE,
    "deletecollection": Verb.DELETECOLLECTION,
}
_ON_OBJECT = {"get": Verb.GET, "update": Verb.UPDATE, "patch": Verb.PATCH, "delete": Verb.DELETE}
_ON_SUBRESOURCE = {**_ON_OBJECT, "create": Verb.CREATE}
_NOT_ROUTED = frozenset(("HEAD", "OPTIONS"))

TUNNELS = frozenset(("exec", "attach", "portforward"))
"""Subresources of pods that need the right to `create`, whatever the method (design §6, Tunnels)."""

DEPRECATED = {
    ("", "v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ("", "v1", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
}
"""Warnings of every request for a resource. Source: the API lifecycle tags of k8s.io/api."""


ALSO_ACCEPTED = {("", "pods", "eviction"): (GVK("policy", "v1beta1", "Eviction"),)}
"""Kinds of bodies that discovery does not name, but old clients send (contract §3.11)."""


class UnknownPath(Exception):
    """No API at all: answered as plain text."""


@dataclass(frozen=True, slots=True)
class Route:
    """`verb` is what the handler does; `subresource` None: the object itself."""

    row: Resource
    verb: Verb
    subresource: Subresource | None = None

    @property
    def body_gvk(self) -> GVK:
        """What a body is expected to be."""
        return (self.subresource.gvk if self.subresource else None) or self.row.gvk

    @property
    def accepted_gvks(self) -> tuple[GVK, ...]:
        """What it may be instead."""
        if self.subresource is None:
            return ()
        gvr = self.row.gvr
        return self.subresource.accepted_types or ALSO_ACCEPTED.get(
            (gvr.group, gvr.resource, self.subresource.name), ()
        )

    @property
    def is_tunnel(self) -> bool:
        sub = self.subresource
        return sub is not None and (sub.connect or (sub.name == "log" and self.row.gvr.group == ""))


def authorized_verb(info: RequestInfo) -> str:
    """The verb that is asked of RBAC."""
    if info.subresource in TUNNELS and info.resource == "pods" and info.group == "":
        return "create"
    return info.verb


def find_route(catalog: Catalog, info: RequestInfo) -> Route:
    """Raises ApiError 404 or 405, UnknownPath."""
    row = catalog.find(info.group, info.version, info.resource)
    if row is None:
        if any(known.gvr.group == info.group and not known.custom for known in catalog.rows):
            raise errors.unknown_resource()
        raise UnknownPath
    _check_scope(row, info)
    if info.subresource:
        return _subresource_route(row, info)
    if info.method in _NOT_ROUTED:
        raise errors.method_not_allowed()
    named = bool(info.name) and not _names_a_selection(info)
    verb = (_ON_OBJECT if named and info.verb != "watch" else _ON_COLLECTION).get(info.verb)
    if verb is None or verb not in row.verbs:
        raise errors.method_not_allowed()
    return Route(row, verb)


def _names_a_selection(info: RequestInfo) -> bool:
    """The name came from a field selector, not from the path."""
    return info.verb in ("list", "deletecollection")


def _check_scope(row: Resource, info: RequestInfo) -> None:
    if not row.namespaced:
        if info.namespace and info.resource != "namespaces":
            raise errors.unknown_resource()
    elif not info.namespace:
        if info.subresource or (info.name and info.verb not in ("list", "watch", "deletecollection")):
            raise errors.unknown_resource()
        if info.verb not in ("list", "watch"):
            raise errors.method_not_allowed()


def _subresource_route(row: Resource, info: RequestInfo) -> Route:
    subresource = row.subresources.get(info.subresource)
    if subresource is None or not info.name:
        raise errors.unknown_resource()
    if subresource.connect:
        verb = _ON_SUBRESOURCE.get(info.verb, Verb.GET)
        if verb not in subresource.verbs or (info.method in _NOT_ROUTED and subresource.name != "proxy"):
            raise errors.method_not_allowed()
        return Route(row, verb, subresource)
    found = _ON_SUBRESOURCE.get(info.verb)
    if found is None or found not in subresource.verbs or info.method in _NOT_ROUTED:
        raise errors.method_not_allowed()
    return Route(row, found, subresource)
