"""Discovery: what is served, as the bytes of each discovery document.

Everything follows from the catalogue; a `Discovery` belongs to one catalogue
and keeps each document once it has been asked for (all of them: 60 KB). The
order of rows is the order of groups, versions and resources, and so a priority.
Source: apiserver endpoints/discovery and discovery/aggregated; golden discovery_aggregated_v2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from vapi import encoding
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.resources.resource import Catalog, Resource, Subresource

AGGREGATED_VERSIONS = ("v2", "v2beta1")
"""Of APIGroupDiscoveryList; 1.37 itself has dropped v2beta1, which older controller managers still accept."""

_JSON = "application/json"
_PLAIN_HEADERS = {"Cache-Control": "no-cache, private"}


@dataclass(frozen=True, slots=True)
class Document:
    """An answer of 200 (or 304); `etag` (quoted) is empty where 304 is never answered."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]
    etag: str = ""
    gzipped: bytes = b""
    """The body as it is kept, compressed; `body` is empty then."""


class Discovery:
    """The discovery documents of one catalogue. Runs on the loop, never awaits.

    `server_address` is the `host:port` that `/api` tells clients.
    """

    def __init__(self, catalog: Catalog, server_address: str) -> None:
        self._server_address = server_address
        self._documents: dict[tuple[str, ...], Document] = {}
        self._versions: dict[str, dict[str, tuple[Resource, ...]]] = {}
        for group, rows in groupby(catalog.rows, key=lambda row: row.gvr.group):
            versions = self._versions.setdefault(group, {})
            for version, found in groupby(rows, key=lambda row: row.gvr.version):
                versions[version] = (*versions.get(version, ()), *found)

    def aggregated(self, path: str, version: str) -> Document | None:
        """APIGroupDiscoveryList of `/api` or `/apis`, in `v2` or `v2beta1`; None: there is no such document."""
        if path not in ("/api", "/apis") or version not in AGGREGATED_VERSIONS:
            return None
        return self._kept(("aggregated", path, version))

    def legacy(self, path: str) -> Document | None:
        """`/api`, `/apis`, `/apis/<group>`, `/api/v1`, `/apis/<group>/<version>`; None: not found."""
        segments = tuple(path.strip("/").split("/"))
        match segments:
            case ("api",) | ("apis",):
                known = True
            case ("api", version):
                known = version in self._versions.get("", {})
            case ("apis", group):
                known = group != "" and group in self._versions
            case ("apis", group, version):
                known = group != "" and version in self._versions.get(group, {})
            case _:
                known = False
        return self._kept(segments) if known else None

    def _kept(self, key: tuple[str, ...]) -> Document:
        document = self._documents.get(key)
        if document is None:
            if key[0] == "aggregated":
                document = _aggregated_document(key[2], self._groups(core=key[1] == "/api"))
            else:
                document = Document(encoding.dumps(self._legacy_body(key)), _JSON, _PLAIN_HEADERS)
            self._documents[key] = document
        return document

    def _groups(self, *, core: bool) -> dict[str, dict[str, tuple[Resource, ...]]]:
        return {group: versions for group, versions in self._versions.items() if (group == "") is core}

    def _legacy_body(self, segments: Sequence[str]) -> Obj:
        match segments:
            case ("api",):
                address = {"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}
                versions = list(self._versions.get("", {}))
                return {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": [address]}
            case ("apis",):
                groups = [_group(group, versions) for group, versions in self._groups(core=False).items()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ("apis", group):
                return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, self._versions[group])}
            case ("api", version):
                return _resource_list(GroupVersion("", version), self._versions[""][version])
            case _:
                group, version = segments[1:]
                return _resource_list(GroupVersion(group, version), self._versions[group][version])


def _aggregated_document(version: str, groups: Mapping[str, Mapping[str, Sequence[Resource]]]) -> Document:
    body = encoding.dumps(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": [_group_discovery(group, versions) for group, versions in groups.items()],
        }
    )
    return Document(
        body=body,
        content_type=f"{_JSON};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList",
        headers={"Cache-Control": "public", "Vary": "Accept"},
        etag=f'"{hashlib.sha512(body).hexdigest().upper()}"',
    )


def _group_discovery(group: str, versions: Mapping[str, Sequence[Resource]]) -> Obj:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {"version": version, "resources": [_resource_discovery(row) for row in rows], "freshness": "Current"}
            for version, rows in versions.items()
        ],
    }


def _resource_discovery(row: Resource) -> Obj:
    entry: Obj = {
        "resource": row.gvr.resource,
        "responseKind": _response_kind(row.gvk, row),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": sorted(row.verbs),
        **_names(row),
    }
    if row.subresources:
        entry["subresources"] = [_subresource_discovery(sub, row) for sub in row.subresources.values()]
    return entry


def _subresource_discovery(sub: Subresource, row: Resource) -> Obj:
    entry: Obj = {
        "subresource": sub.name,
        "responseKind": _response_kind(sub.gvk or row.gvk, row),
        "verbs": list(sub.verbs),
    }
    if sub.accepted_types:
        entry["acceptedTypes"] = [_response_kind(gvk, row) for gvk in sub.accepted_types]
    return entry


def _response_kind(gvk: GVK, row: Resource) -> Obj:
    """Group and version stay empty where they are the row's own, as 1.37 answers."""
    own = gvk.group_version == row.gvr.group_version
    return {"group": "" if own else gvk.group, "version": "" if own else gvk.version, "kind": gvk.kind}


def _group(group: str, versions: Mapping[str, Any]) -> Obj:
    names = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": names, "preferredVersion": names[0]}


def _resource_list(group_version: GroupVersion, rows: Sequence[Resource]) -> Obj:
    resources = [entry for row in rows for entry in (_api_resource(row), *_api_subresources(row))]
    # The core group's list has no apiVersion; upstream made it so before v1 of it existed.
    head: Obj = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group_version.group else {})
    return {**head, "groupVersion": group_version.api_version, "resources": resources}


def _api_resource(row: Resource) -> Obj:
    entry: Obj = {
        "name": row.gvr.resource,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": sorted(row.verbs),
        **_names(row),
    }
    if row.storage_version_hash:
        entry["storageVersionHash"] = row.storage_version_hash
    return entry


def _api_subresources(row: Resource) -> list[Obj]:
    entries = []
    for sub in row.subresources.values():
        gvk = sub.gvk or row.gvk
        foreign = gvk.group_version != row.gvr.group_version
        entries.append(
            {
                "name": f"{row.gvr.resource}/{sub.name}",
                "singularName": "",
                "namespaced": row.namespaced,
                **({"group": gvk.group, "version": gvk.version} if foreign else {}),
                "kind": gvk.kind,
                "verbs": list(sub.verbs),
            }
        )
    return entries


def _names(row: Resource) -> Obj:
    names: Obj = {}
    if row.short_names:
        names["shortNames"] = list(row.short_names)
    if row.categories:
        names["categories"] = list(row.categories)
    return names
