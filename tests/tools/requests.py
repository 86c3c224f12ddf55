"""Random requests: of every row, its subresources and paths beside them, with damaged bodies, options and patches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from tests.tools import noise
from tests.tools.samples import sample
from vapi.gvk import Obj
from vapi.resources.resource import Resource

NAMES = ("o1", "o2", "o3")
NAMESPACES = ("default", "default", "default", "fuzz", "none")
PATCHES = {
    "application/json-patch+json": noise.json_patch,
    "application/merge-patch+json": noise.merge_patch,
    "application/strategic-merge-patch+json": noise.strategic_patch,
    "application/apply-patch+yaml": noise.merge_patch,
}
ACCEPTS = (
    "application/json", "", "*/*", "application/yaml", "text/html", "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
    ";;;", "\udcff", "application/json;q=0", "application/cbor, application/json", "a/b;as=Table",
)  # fmt: skip
CONTENT_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain", ";", "")
SELECTORS = (
    "a=b", "a", "!a", "a!=b", "a in (b,c)", "a notin ()", "a>1", "a<x", "=", "a=b,", ",", "a in (", "é=1", "a==b,c",
    "metadata.name=o1", "metadata.namespace!=x", "status.phase=Running", "spec.nodeName=", "x.y=z", "a\\,b=c", "\x00",
    "type=Opaque", "involvedObject.name=x", "a/b/c=d", "x" * 70 + "=1",
)  # fmt: skip
QUERIES = {
    "limit": ("1", "2", "0", "-1", "x", "99999999999999999999", "1.5"),
    "continue": ("x", "", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0", "bnVsbA", "W10", "eyJydiI6IngifQ"),
    "resourceVersion": ("", "0", "1", "5", "x", "-1", "1e3", "99999999999999999999", "٣"),  # none to wait for
    "resourceVersionMatch": ("Exact", "NotOlderThan", "", "x"),
    "labelSelector": SELECTORS,
    "fieldSelector": SELECTORS,
    "dryRun": ("All", "", "x"),
    "fieldManager": ("m", "", "x" * 129, "a\tb", "é"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x", ""),
    "force": ("true", "false", "x"),
    "pretty": ("true", "false", "x"),
    "includeObject": ("None", "Metadata", "Object", "x"),
    "propagationPolicy": ("Foreground", "Background", "Orphan", "x", ""),
    "gracePeriodSeconds": ("0", "1", "-1", "x", "99999999999999999999"),
    "orphanDependents": ("true", "false", "x"),
    "timeoutSeconds": ("1", "x", "-1"),
    "watch": ("true", "1", "0", "false", "x"),
    "allowWatchBookmarks": ("true", "x"),
    "sendInitialEvents": ("true", "false", "x"),
    "timeout": ("1s", "x", "-1s"),
    "\x00": ("\ud800",),
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get", "FOO", "")
WEIRD_SEGMENTS = (
    "..", ".", "%2F", "%00", "%FF", "", "watch", "namespaces", "pods", "status", "scale", "x" * 300, "é", "%ED%A0%80",
    "v1", "apis", "api", "~", "proxy", "log",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as plain values. `target` has its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.headers} {self.body[:3000]!r}"


@dataclass(frozen=True, slots=True)
class Style:
    """How far from sense: the share of odd paths, changes of an object, and how often headers and queries are odd."""

    weird: float
    damage: tuple[int, ...]
    odd: float


WILD = Style(weird=0.06, damage=(0, 0, 1, 1, 2, 4), odd=1.0)
MILD = Style(weird=0.0, damage=(0, 0, 0, 1, 1, 1), odd=0.2)
"""What two servers can be compared by: one thing at a time."""


class Requests:
    """An endless source. `remember` objects that came back, so that later requests change them."""

    def __init__(self, random: Random, rows: Sequence[Resource], style: Style = WILD) -> None:
        self.random = random
        self._rows = rows
        self._style = style
        self._seen: dict[str, Obj] = {}

    def remember(self, path: str, obj: Obj) -> None:
        self._seen[path] = obj

    def forget(self, path: str) -> None:
        self._seen.pop(path, None)

    def next(self) -> Sent:
        random = self.random
        kind = random.random()
        row = random.choice(self._rows)
        if kind < self._style.weird:
            return self._weird()
        if kind < 0.30:
            return self._create(row)
        if kind < 0.42:
            return self._update(row)
        if kind < 0.70:
            return self._patch(row)
        if kind < 0.80:
            return self._read(row)
        if kind < 0.90:
            return self._delete(row)
        return self._subresource(row)

    # --- parts ----------------------------------------------------------------------------------------

    def _collection(self, row: Resource) -> str:
        gvr = row.gvr
        base = f"/apis/{gvr.group}/{gvr.version}" if gvr.group else f"/api/{gvr.version}"
        if row.namespaced:
            base += f"/namespaces/{self.random.choice(NAMESPACES)}"
        return f"{base}/{gvr.resource}"

    def _object(self, row: Resource) -> tuple[str, Obj]:
        """A path and what is there, as far as known."""
        name = self.random.choice(NAMES)
        fresh = self._sample(row, name)
        path = f"{self._collection(row)}/{quote(str(fresh['metadata'].get('name') or name))}"
        return path, self._seen.get(path, fresh)

    def _sample(self, row: Resource, name: str) -> Obj:
        try:
            return sample(row.gvr, name)
        except KeyError:
            return {"apiVersion": row.gvk.api_version, "kind": row.kind, "metadata": {"name": name}, "spec": {}}

    def _query(self, *names: str) -> str:
        random = self.random
        pairs = [(name, random.choice(QUERIES[name])) for name in names if random.random() < 0.3 * self._style.odd]
        if random.random() < 0.1 * self._style.odd:
            name = random.choice(list(QUERIES))
            pairs.append((name, random.choice(QUERIES[name])))
        if not pairs:
            return ""
        return "?" + urlencode(pairs, errors="surrogatepass")

    def _headers(self, content_type: str = "") -> dict[str, str]:
        random = self.random
        headers = {"Accept": random.choice(ACCEPTS) if random.random() < 0.2 * self._style.odd else "application/json"}
        if content_type:
            odd = random.random() < 0.05 * self._style.odd
            headers["Content-Type"] = random.choice(CONTENT_TYPES) if odd else content_type
        if random.random() < 0.05 * self._style.odd:
            headers["User-Agent"] = random.choice(("", "/", "kubectl/1", "x" * 200, "é\u2028", "curl/7", "\udcff"))
        if random.random() < 0.02 * self._style.odd:
            headers["Accept-Encoding"] = random.choice(("gzip", "gzip;q=0", "br", ";;"))
        if random.random() < 0.02 * self._style.odd:
            headers[random.choice(("Impersonate-User", "Impersonate-Group", "Impersonate-Extra-a%zz"))] = random.choice(
                ("alice", "", "system:serviceaccount:a:b", "é", "\udcff")
            )
        return headers

    def _body(self, obj: Any) -> bytes:
        random = self.random
        if random.random() < 0.02 * self._style.odd:
            obj = noise.damaged(random, obj, 1)
            places = noise.paths(obj)
            if places:
                path = random.choice(places)
                parent = obj
                for key in path[:-1]:
                    parent = parent[key]
                parent[path[-1]] = noise.deep(random)
        if self._style.weird:
            return noise.text(random, obj)
        return json.dumps(obj).encode()

    # --- requests -------------------------------------------------------------------------------------

    def _create(self, row: Resource) -> Sent:
        random = self.random
        obj = noise.damaged(random, self._sample(row, random.choice(NAMES)), random.choice(self._style.damage))
        target = self._collection(row) + self._query("dryRun", "fieldManager", "fieldValidation")
        return Sent("POST", target, self._headers("application/json"), self._body(obj))

    def _update(self, row: Resource) -> Sent:
        random = self.random
        path, obj = self._object(row)
        changed = noise.damaged(random, obj, random.choice(self._style.damage))
        if random.random() < 0.5 and isinstance(changed, dict) and isinstance(changed.get("metadata"), dict):
            changed["metadata"].pop("resourceVersion", None)
        target = path + self._query("dryRun", "fieldManager", "fieldValidation")
        return Sent("PUT", target, self._headers("application/json"), self._body(changed))

    def _patch(self, row: Resource, suffix: str = "") -> Sent:
        random = self.random
        path, obj = self._object(row)
        media = random.choice(list(PATCHES))
        patch = PATCHES[media](random, obj)
        query = self._query("dryRun", "fieldValidation", "force")
        if media == "application/apply-patch+yaml":
            query += ("&" if query else "?") + "fieldManager=" + random.choice(("m1", "m2"))
            if isinstance(patch, dict) and random.random() < 0.9:
                patch |= {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", "")}
                if isinstance(patch.get("metadata"), dict) and random.random() < 0.95:
                    patch["metadata"].pop("managedFields", None)
                    patch["metadata"].pop("resourceVersion", None)
        return Sent("PATCH", path + suffix + query, self._headers(media), self._body(patch))

    def _read(self, row: Resource) -> Sent:
        random = self.random
        path = self._object(row)[0] if random.random() < 0.4 else self._collection(row)
        if random.random() < 0.1:
            path = path.replace("/namespaces/default", "", 1)
        query = self._query(
            "limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector", "watch",
            "allowWatchBookmarks", "sendInitialEvents", "includeObject", "pretty",
        )  # fmt: skip
        return Sent("GET", path, self._headers(), b"") if not query else Sent("GET", path + query, self._headers(), b"")

    def _delete(self, row: Resource) -> Sent:
        random = self.random
        path = self._object(row)[0] if random.random() < 0.7 else self._collection(row)
        query = self._query("dryRun", "propagationPolicy", "gracePeriodSeconds", "orphanDependents", "labelSelector")
        body = b""
        if random.random() < 0.4:
            options = {
                "kind": "DeleteOptions",
                "apiVersion": "v1",
                "propagationPolicy": random.choice(("Foreground", "Background", "Orphan")),
                "gracePeriodSeconds": random.choice((0, 1, -1, 2**40)),
                "preconditions": {"uid": "x", "resourceVersion": "1"},
            }
            body = self._body(noise.damaged(random, noise.part(random, options), random.choice((0, 1))))
        return Sent("DELETE", path + query, self._headers("application/json" if body else ""), body)

    def _subresource(self, row: Resource) -> Sent:
        random = self.random
        names = [name for name, sub in row.subresources.items() if not sub.connect and name != "log"]
        if not names:
            return self._create(row)
        name = random.choice(names)
        if random.random() < 0.4:
            return self._patch(row, f"/{name}")
        path, obj = self._object(row)
        method = random.choice(("GET", "PUT", "PUT", "POST", "DELETE"))
        body = _CALL_BODIES.get(name, obj)
        if name == "status" and isinstance(obj, dict):
            body = {**obj, "status": noise.value(random)} if random.random() < 0.5 else obj
        data = (
            self._body(noise.damaged(random, body, random.choice((0, 1, 1, 2)))) if method in ("PUT", "POST") else b""
        )
        target = f"{path}/{name}{self._query('dryRun', 'fieldManager', 'fieldValidation')}"
        return Sent(method, target, self._headers("application/json" if data else ""), data)

    def _weird(self) -> Sent:
        random = self.random
        segments = [random.choice(WEIRD_SEGMENTS) for _ in range(random.randrange(1, 9))]
        if random.random() < 0.6:
            segments = self._collection(random.choice(self._rows)).strip("/").split("/")
            for _ in range(random.choice((1, 2))):
                at = random.randrange(len(segments) + 1)
                segments[at:at] = [random.choice(WEIRD_SEGMENTS)]
        body = random.choice((b"", b"{}", b"null", b"[]", b'"x"', b"1", b"\x00", b"{", b"k8s\x00", b"k8s\x00\xff\xff"))
        raw_query = random.choice(
            ("", "?", "?&&&", "?a=%", "?=&=", "?watch", "?%00=%ff", "?watch=true&timeoutSeconds=0")
        )
        target = "/" + "/".join(segments) + raw_query
        return Sent(random.choice(METHODS), target, self._headers(random.choice(CONTENT_TYPES)), body)


_CALL_BODIES: dict[str, Obj] = {
    "scale": {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "o1"}, "spec": {"replicas": 1}},
    "eviction": {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "o1"}, "deleteOptions": {}},
    "binding": {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "o1"},
        "target": {"kind": "Node", "name": "n"},
    },
    "token": {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}},
}


def is_status(body: bytes) -> bool:
    """Whether it is a Status as every client expects one of a failure."""
    try:
        status = json.loads(body)
    except ValueError:
        return False
    return (
        isinstance(status, dict)
        and status.get("kind") == "Status"
        and status.get("apiVersion") == "v1"
        and status.get("status") == "Failure"
        and isinstance(status.get("message"), str)
        and isinstance(status.get("code"), int)
        and isinstance(status.get("metadata"), dict)
    )
