"""RequestInfo: what a method and a path ask for, as authorization and routing see it. Pure.

`/api/v1/namespaces/N/pods/P/log` → get pods/log P in N. Every later step reads
this value instead of the path. Both the path and the query are memoised: clients
repeat few different ones. Source: apiserver endpoints/request NewRequestInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

from vapi import names, selectors
from vapi.errors import ApiError

MEMO_SIZE = 4096  # paths (and queries) kept; 300 bytes each

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """`verb` is that of authorization: list, watch and deletecollection included; "" for a method without one.

    Non-resource requests have the method in lower case as verb, and nothing but `path`.
    """

    method: str
    path: str
    """Unescaped, without the query."""
    verb: str
    resource_request: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    old_watch: bool = False
    """Of a deprecated `/watch/` path."""


@lru_cache(MEMO_SIZE)
def parse_path(method: str, raw_path: str) -> RequestInfo:
    """`raw_path` as sent, without the query; the verb does not know `?watch` yet (`with_query`)."""
    path = unquote(raw_path) if "%" in raw_path else raw_path
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return RequestInfo(method, path, method.lower())
    return _resource_info(method, path, group, version, parts)


def _resource_info(method: str, path: str, group: str, version: str, parts: list[str]) -> RequestInfo:
    verb = _VERBS.get(method, "")
    old_watch = parts[0] == "watch" and len(parts) > 1
    if old_watch:
        verb, parts = "watch", parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    resource = parts[0]
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 and not old_watch else ""
    if len(parts) > 3 and subresource != "proxy":
        # longer than any route: refused as an unknown subresource
        subresource = "/".join(parts[2:])
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    return RequestInfo(
        method=method,
        path=path,
        verb=verb,
        resource_request=True,
        group=group,
        version=version,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        old_watch=old_watch,
    )


class Query:
    """The query of one request: first values by name, and all of them where asked. Immutable."""

    __slots__ = ("_all", "first")

    def __init__(self, text: str) -> None:
        self._all: dict[str, tuple[str, ...]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            self._all[name] = (*self._all.get(name, ()), value)
        self.first: Mapping[str, str] = MappingProxyType({name: values[0] for name, values in self._all.items()})

    def get(self, name: str) -> str:
        return self.first.get(name, "")

    def all(self, name: str) -> tuple[str, ...]:
        return self._all.get(name, ())

    def flag(self, name: str) -> bool:
        """As Go's conversion of queries to bool: present and neither false nor 0."""
        value = self.first.get(name)
        return value is not None and value.lower() not in ("false", "0")


@lru_cache(MEMO_SIZE)
def parse_query(text: str) -> Query:
    return Query(text)


EMPTY_QUERY = Query("")


def with_query(info: RequestInfo, query: Query) -> RequestInfo:
    """Lists with `watch` become watches; `fieldSelector=metadata.name=x` is a name to authorization."""
    if info.verb not in ("list", "watch", "deletecollection"):
        return info
    verb = "watch" if info.verb == "list" and query.flag("watch") else info.verb
    name = info.name
    field_selector = query.get("fieldSelector")
    if field_selector and not name:
        name = _selected_name(field_selector)
    return info if (verb, name) == (info.verb, info.name) else replace(info, verb=verb, name=name)


def _selected_name(field_selector: str) -> str:
    """The name a field selector asks for; "" where it does not, or cannot be read (the handler will say so)."""
    if "metadata.name" not in field_selector:
        return ""
    allowed = _AnyLabel()
    try:
        exact = selectors.parse_field_selector(field_selector, allowed).exact("metadata.name")
    except ApiError:
        return ""
    return exact if exact and not names.path_segment(exact) else ""


class _AnyLabel(dict[str, str]):
    """Every label is its own: which ones a row knows is not known yet."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return key


_STREAMED = ("POST", "PUT", "PATCH", "DELETE")


def streams_body(method: str, target: str) -> bool:
    """Whether the body is passed on as it comes, because the request goes through a proxy."""
    return (
        method in _STREAMED
        and "/proxy" in target
        and parse_path(method, target.partition("?")[0]).subresource == ("proxy")
    )
