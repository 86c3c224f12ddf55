"""What a server says of itself; the shapes of the golden files, how each is observed and cut into what is counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conformance.client import Server
from conformance.replay import exchanges, normal

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_OWN_ADDRESS = re.compile(r'("(?:ip|addresses|kubernetes.io/peer-advertise-address)":\s*\[?\s*")(?!10\.96)[\d.]+')
_VOLATILE = {"uid", "resourceVersion", "creationTimestamp", "managedFields"}
_LEFTOVER = re.compile(r"replay-[a-z]+-[a-z0-9]{5}")  # a namespace of an earlier run that is still going away

Units = dict[str, tuple[str, Any]]
"""What is counted: index → title, and what is compared."""


@dataclass(frozen=True, slots=True)
class Served:
    prefix: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...]


def resources(server: Server) -> dict[tuple[str, str, str], Served]:
    """What the server serves: (apiVersion, kind, plural) → where."""
    rows = {}
    for root in ("/api", "/apis"):
        for group in (server.get(root, V2) or {}).get("items", ()):
            for version in group.get("versions", ()):
                name = "/".join(filter(None, (group["metadata"].get("name"), version["version"])))
                for r in version.get("resources", ()):
                    key = (name, r["responseKind"]["kind"], r["resource"])
                    namespaced = r["scope"] == "Namespaced"
                    rows[key] = Served(f"{root}/{name}", r["resource"], namespaced, tuple(r["verbs"]))
    return rows


def _observe_defaults(server: Server, golden: Any) -> Any:
    kinds = {(version, kind): row for (version, kind, _), row in resources(server).items() if "create" in row.verbs}
    out, normaliser = [], normal.Normaliser()
    for entry in golden:
        body = entry["in"]
        where = kinds.get((body["apiVersion"], body["kind"]))
        if where is None:
            out.append({"in": body, "status": "not served", "warning": None, "out": None})
            continue
        path = f"{where.prefix}/{'namespaces/default/' if where.namespaced else ''}{where.plural}?dryRun=All"
        sent = json.dumps(body)
        answer = server.send("POST", path, sent.encode(), {"Content-Type": "application/json"})
        made = normaliser.body(answer.body, sent)
        if isinstance(made, dict):
            made.get("metadata", {}).pop("managedFields", None)
        out.append({"in": body, "status": answer.status, "warning": answer.headers["Warning"], "out": made})
    return out


def _observe_discovery(server: Server, golden: Any) -> Any:
    out = {}
    for path in golden:
        answer = server.send("GET", path, headers={"Accept": V2})
        kept = ("Cache-Control", "Content-Type", "Vary")
        out[path] = {"headers": {k: v for k in kept if (v := answer.headers[k])}, "body": answer.json()}
    return out


def _observe_tables(server: Server, golden: Any) -> Any:
    out = {}
    for (version, _, _), where in resources(server).items():
        if "list" in where.verbs:
            table = server.get(f"{where.prefix}/{where.plural}?limit=1", TABLE)
            out[f"{version}/{where.plural}"] = "no answer" if table is None else table.get("columnDefinitions")
    return out


def _observe_bootstrap(server: Server, golden: Any) -> Any:
    out = {}
    for path in golden:
        answer = server.send("GET", path)
        text = re.sub(rf"(?<!\d){server.url.port or 443}(?!\d)", "6443", answer.body.decode())
        text = re.sub(r'("kubernetes.io/hostname":")[^"]+', r"\1<hostname>", text)
        text = _OWN_ADDRESS.sub(r"\g<1>10.0.0.1", text)
        made = normal.Normaliser().body(text.encode(), sent=text)  # the first Service address is no accident
        items = made.get("items", [made]) if answer.status == 200 and isinstance(made, dict) else ()
        out[path] = [_bare(x) for x in items or () if not _LEFTOVER.search(json.dumps(x))]
    return out


def _bare(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "metadata": {k: v for k, v in item["metadata"].items() if k not in _VOLATILE}}


def _observe_openapi_v2(server: Server, golden: Any) -> Any:
    return server.get("/openapi/v2") or {}


def _observe_openapi_v3(server: Server, golden: Any) -> Any:
    index = (server.get("/openapi/v3") or {}).get("paths", {})
    return {path: server.get(row["serverRelativeURL"]) or {} for path, row in sorted(index.items())}


def _units_exchanges(data: Any) -> Units:
    keys = ("status", "headers", "response", "events", "skipped")
    return {str(i): (e["title"], {k: e[k] for k in keys if k in e}) for i, e in enumerate(data)}


def _units_defaults(data: Any) -> Units:
    return {str(i): (e["in"]["kind"], {k: e[k] for k in ("status", "warning", "out")}) for i, e in enumerate(data)}


def _units_discovery(data: Any) -> Units:
    """A unit is a resource; the order of groups and of their versions is another."""
    out: Units = {}
    for path, row in data.items():
        out[path] = ("headers", row["headers"])
        groups = row["body"].get("items", ())
        names = [[g["metadata"].get("name"), *(v["version"] for v in g.get("versions", ()))] for g in groups]
        out[f"{path}:groups"] = ("order of groups and versions", names)
        for group in groups:
            for version in group.get("versions", ()):
                for r in version.get("resources", ()):
                    where = "/".join(filter(None, (group["metadata"].get("name"), version["version"], r["resource"])))
                    subresources = {s["subresource"]: s for s in r.get("subresources", ())}
                    out[where] = (r["resource"], {**r, "verbs": sorted(r["verbs"]), "subresources": subresources})
    return out


def _units_tables(data: Any) -> Units:
    return {key: ("columns", columns) for key, columns in data.items()}


def _units_bootstrap(data: Any) -> Units:
    out: Units = {}
    for path, items in data.items():
        for item in items:
            meta = item["metadata"]
            where = "/".join(filter(None, (path, meta.get("namespace") or "", meta["name"])))
            out[where] = (meta["name"], item)
    return out


def _units_openapi_v2(data: Any) -> Units:
    schemas = {f"definitions/{k}": (k, v) for k, v in data.get("definitions", {}).items()}
    return schemas | {k: (k, v) for k, v in data.get("paths", {}).items()}


def _units_openapi_v3(data: Any) -> Units:
    out: Units = {}
    for path, document in data.items():
        out[path] = ("served", True)
        out |= {f"{path}#{k}": (k, v) for k, v in document.get("components", {}).get("schemas", {}).items()}
        out |= {f"{path}#{k}": (k, v) for k, v in document.get("paths", {}).items()}
    return out


@dataclass(frozen=True, slots=True)
class Shape:
    """`observe(server, golden)` gives a recording of this server, which `units` cuts; `ignored` keys do not count."""

    observe: Callable[[Server, Any], Any]
    units: Callable[[Any], Units]
    ignored: frozenset[str] = frozenset()


_ROLES = frozenset({"renewTime", "holderIdentity", "since", "status"})
_SHAPES = {  # start of the file's name → its shape
    "defaults": Shape(_observe_defaults, _units_defaults),
    "discovery": Shape(_observe_discovery, _units_discovery),
    "table_columns": Shape(_observe_tables, _units_tables),
    "bootstrap_objects": Shape(_observe_bootstrap, _units_bootstrap, _ROLES),
    "openapi_v2": Shape(_observe_openapi_v2, _units_openapi_v2, frozenset({"description"})),
    "openapi_v3": Shape(_observe_openapi_v3, _units_openapi_v3, frozenset({"description"})),
    "": Shape(exchanges.observe, _units_exchanges),
}


def shape_of(name: str) -> Shape:
    return next(shape for start, shape in _SHAPES.items() if name.startswith(start))
