"""OpenAPI: `/openapi/v3`, its documents, and `/openapi/v2` as JSON and protobuf.

Documents are made when asked for, in a thread, from the rows and the schema
definitions, and kept compressed within a bound; `forget` empties that too.
*Measured*: the index (hashes of 48 documents) 65 ms, core v1 (1.6 MB) 60 ms and 125 KB kept,
version 2 (2.3 MB) 75 ms, as protobuf 170 ms; nothing before the first question.
The hash in a document's URL is of all that it is made of, so that clients keep
it for ever. Source: apiserver kube-openapi handler and handler3; contract §2.2.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from vapi import encoding, errors
from vapi.clock import Clock
from vapi.endpoints import openapi_operations as operations
from vapi.endpoints import openapi_protobuf, openapi_v2, openapi_v3
from vapi.endpoints.discovery import Document
from vapi.endpoints.http import JSON, NO_CACHE, TEXT
from vapi.endpoints.nonresource import Redirect
from vapi.endpoints.openapi_operations import PathOperations
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.resources.resource import Catalog
from vapi.schema.definitions import PACKAGE_VERSION, Definitions

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_TYPES = {
    JSON: JSON,
    "application/*": JSON,
    "*/*": JSON,
    V2_PROTOBUF: V2_PROTOBUF,
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": V2_PROTOBUF,
}
_V3_TYPES = {accepted: given for accepted, given in _V2_TYPES.items() if given == JSON}

MAX_KEPT_BYTES = 1 << 20
"""Of compressed documents. *Measured*: all of version 3 are 0.7 MB, version 2 0.25 MB in either form."""

_PREFIX = "/openapi/v3/"
_V2 = "v2"
_NOT_KEPT = dict([NO_CACHE])
_YEAR = dt.timedelta(days=365)


class OpenApi:
    """The documents of one catalogue's built-in kinds. Made anew when the catalogue changes."""

    def __init__(self, catalog: Catalog, definitions: Definitions, clock: Clock) -> None:
        self._definitions = definitions
        self._clock = clock
        builtin = (row for row in catalog.rows if not row.custom)  # custom kinds have no definition here yet
        self._rows = {gv: tuple(rows) for gv, rows in groupby(builtin, key=lambda row: row.gvr.group_version)}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._hashes: dict[str, str] = {}
        self._building = asyncio.Lock()

    async def respond(self, path: str, query: Mapping[str, str], accept: str) -> Document | Redirect | None:
        """The answer to a GET of `/openapi/v3`, a path below it, or `/openapi/v2`; None: not found.

        `query` may hold the `hash` that the document is expected to have. Raises ApiError 406.
        """
        hashes = await self._all_hashes()
        path = path.rstrip("/")
        if path == "/openapi/v3":
            return Document(_index(hashes), TEXT, _NOT_KEPT)
        if path == "/openapi/v2":
            return await self._document(_V2, _negotiate(accept, _V2_TYPES), hashes[_V2], _NOT_KEPT)
        name = path.removeprefix(_PREFIX)
        if not path.startswith(_PREFIX) or name not in hashes or name == _V2:
            return None
        content_type = _negotiate(accept, _V3_TYPES)
        asked = query.get("hash", "")
        if asked and asked != hashes[name]:
            return Redirect(_url(name, hashes[name]))
        return await self._document(name, content_type, hashes[name], self._for_ever() if asked else _NOT_KEPT)

    def _for_ever(self) -> Mapping[str, str]:
        expires = (self._clock.now() + _YEAR).strftime("%a, %d %b %Y %H:%M:%S UTC")
        return {"Cache-Control": "public, immutable", "Expires": expires}

    def forget(self) -> None:
        """Drop the kept documents; the hashes stay."""
        self._kept.clear()

    @property
    def kept_bytes(self) -> int:
        return sum(map(len, self._kept.values()))

    async def _document(self, name: str, content_type: str, version: str, headers: Mapping[str, str]) -> Document:
        return Document(
            body=b"",
            content_type=content_type,
            headers={**headers, "Vary": "Accept, Accept-Encoding"},
            etag=f'"{version}"',
            gzipped=await self._compressed(name, content_type),
        )

    async def _compressed(self, name: str, content_type: str) -> bytes:
        key = name if content_type == JSON else f"{name} protobuf"
        async with self._building:  # two builds at once would cost twice the memory and the time of both
            body = self._kept.get(key)
            if body is None:
                body = await asyncio.to_thread(self._build, name, content_type)
                self._kept[key] = body
            self._kept.move_to_end(key)
            while self.kept_bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return body

    async def _all_hashes(self) -> dict[str, str]:
        if not self._hashes:
            async with self._building:
                if not self._hashes:
                    self._hashes = await asyncio.to_thread(self._hash_documents)
        return self._hashes

    # What follows runs in a thread: it reads the catalogue and the definitions, and changes nothing.

    def _paths(self) -> dict[str, list[PathOperations]]:
        """Name in the index → the operations of that document."""
        found = {name: [plain] for name, plain in operations.ROOT_PATHS.items()}
        for gv, rows in self._rows.items():
            prefix = "apis/" if gv.group else "api/"
            listed = operations.group_version_paths(gv, rows, self._definitions.name_of)
            found[prefix + gv.api_version] = list(listed)
            if gv.group:
                found[f"apis/{gv.group}"] = [operations.group_path(gv.group)]
        return dict(sorted(found.items()))

    def _hash_documents(self) -> dict[str, str]:
        hashes = {}
        for name, paths in self._paths().items():
            schemas = self._schemas(paths, _group_version(name), self._raw)
            content = openapi_v3.document(dict(openapi_v3.path_items(paths)), schemas)
            hashes[name] = _digest(PACKAGE_VERSION.encode() + content)
        hashes[_V2] = _digest("".join(hashes.values()).encode())
        return hashes

    def _raw(self, names: Iterable[str]) -> dict[str, Obj]:
        return {name: self._definitions.raw(name) for name in names}

    def _schemas(
        self,
        paths: list[PathOperations],
        gv: GroupVersion | None,
        read: Callable[[Iterable[str]], dict[str, Obj]],
    ) -> dict[str, Obj]:
        schemas = read(self._definitions.closure(openapi_v3.schema_names(paths)))
        for name in (operations.DELETE_OPTIONS, operations.WATCH_EVENT):
            if name in schemas and gv is not None:
                _keep_own_kinds(schemas[name], gv)
        return schemas

    def _build(self, name: str, content_type: str) -> bytes:
        if name == _V2:
            document = self._build_v2(protobuf=content_type != JSON)
        else:
            paths = self._paths()[name]
            schemas = self._schemas(paths, _group_version(name), self._definitions.described)
            document = openapi_v3.document(dict(openapi_v3.path_items(paths)), schemas)
        return gzip.compress(document, compresslevel=6, mtime=0)

    def _build_v2(self, *, protobuf: bool) -> bytes:
        paths = [listed for document in self._paths().values() for listed in document]
        names = self._definitions.closure(openapi_v3.schema_names(paths))
        described = self._definitions.described(names)
        members: dict[str, Any] = {
            **openapi_v2.HEAD,
            "paths": dict(sorted(openapi_v2.path_items(paths))),
            "definitions": {name: openapi_v2.schema(described.pop(name)) for name in sorted(names)},
            "parameters": openapi_v2.shared_parameters(),
            **openapi_v2.SECURITY,
        }
        return openapi_protobuf.document(members) if protobuf else _json_in_pieces(members)


def _json_in_pieces(members: Mapping[str, Any]) -> bytes:
    """Encoded member by member: orjson keeps the interpreter's lock for as long as one call takes."""
    encoded = [
        encoding.dumps(key)
        + b":"
        + (b"{%b}" % openapi_v3.joined(value) if key in ("paths", "definitions") else encoding.dumps(value))
        for key, value in members.items()
    ]
    return b"{%b}" % b",".join(encoded)


def _digest(content: bytes) -> str:
    return hashlib.sha512(content).hexdigest().upper()


def _url(name: str, version: str) -> str:
    return f"{_PREFIX}{name}?hash={version}"


def _index(hashes: Mapping[str, str]) -> bytes:
    paths = {name: {"serverRelativeURL": _url(name, version)} for name, version in hashes.items() if name != _V2}
    return encoding.dumps({"paths": paths})


def _group_version(name: str) -> GroupVersion | None:
    """Of a document; None for those of groups and of no group."""
    kind, _, rest = name.partition("/")
    parts = rest.split("/")
    if kind == "api" and len(parts) == 1 and rest:
        return GroupVersion("", rest)
    return GroupVersion(*parts) if kind == "apis" and len(parts) == 2 else None


def _keep_own_kinds(schema: Obj, gv: GroupVersion) -> None:
    """DeleteOptions and WatchEvent belong to every group-version; a document names core's and its own."""
    key = "x-kubernetes-group-version-kind"
    wanted = {GroupVersion("", "v1"), gv}
    schema[key] = [
        kind
        for kind in schema.get(key, ())
        if GVK(kind["group"], kind["version"], kind["kind"]).group_version in wanted
    ]


def _negotiate(accept: str, offered: Mapping[str, str]) -> str:
    """The first accepted media type that is offered. Raises ApiError 406."""
    for clause in (accept or "*/*").split(","):
        media_type = clause.partition(";")[0].strip()
        if media_type in offered:
            return offered[media_type]
    listed = ", ".join(dict.fromkeys(offered.values()))
    raise errors.not_acceptable(f"406: Not Acceptable\n\nAvailable representations: {listed}")
