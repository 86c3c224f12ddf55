"""The operations of the API, as OpenAPI speaks of them: rows in, one neutral `Operation` a method of a path out.

Both document versions are written from these (`openapi_v3`, `openapi_v2`). A
parameter is named by its key in `data/openapi_parameters.json`, which is the
name that version 2 shares it under (facts of the API, golden openapi_v2_live).
Source: apiserver endpoints/installer.go and endpoints/openapi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from vapi import encoding
from vapi.gvk import GVK, GroupVersion
from vapi.resources.resource import Resource, Subresource, Verb

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS = _META + "Status"
DELETE_OPTIONS = _META + "DeleteOptions"
PATCH = _META + "Patch"
WATCH_EVENT = _META + "WatchEvent"
TEXT = ""
"""Instead of a schema's name: plain text."""

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_OBJECT = (JSON, YAML, PROTOBUF)
_STREAMED = (*_OBJECT, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_ANY = ("*/*",)
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)

_NAMESPACE, _PRETTY, _PATH = "namespace-vgWSWtn3", "pretty-tJGM1-ng", "path-z6Ciiujn"
_LIST = (
    "continue-QfD61s0i",
    "fieldSelector-xIcQKXFG",
    "labelSelector-5Zw57w4C",
    "limit-1NfNmdNH",
    "resourceVersion-5WAnf1kx",
    "resourceVersionMatch-t8XhRHeC",
    "sendInitialEvents-rLXlEK_k",
    "shardSelector-Kgyki_3_",
    "timeoutSeconds-yvYezaOC",
)
_WATCH = (*_LIST, "allowWatchBookmarks-HC2hJt-J", "watch-XNNPZGbK")
_WRITE = ("dryRun", "fieldManager-Qy4HdaTW", "fieldValidation")
_PATCH = ("dryRun", "fieldManager-7c6nTn1T", "fieldValidation", "force-tOGGb0Yi")
_DELETE = (
    "dryRun",
    "gracePeriodSeconds--K5HaBOS",
    "ignoreStoreReadErrorWithClusterBreakingPotential-QbNkfIqj",
    "orphanDependents-uRB25kX5",
    "propagationPolicy-6jk3prlO",
)
# What tunnels and logs ask for, by resource and subresource.
_OPTIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("nodes", "proxy"): ("path-rFDtV0x9",),
    ("services", "proxy"): ("path-QCf0eosM",),
    ("pods", "proxy"): ("path-oPbzgLUj",),
    ("pods", "portforward"): ("ports-91KROJmm",),
    ("pods", "attach"): (
        "container-_Q-EJ3nR",
        "stderr-26jJhFUR",
        "stdin-sEFnN3IS",
        "stdout-005YMKE6",
        "tty-g7MlET_l",
    ),
    ("pods", "exec"): (
        "command-Py3eQybp",
        "container-i5dOmRiM",
        "stderr-W_1TNlWc",
        "stdin-PSzNhyUC",
        "stdout--EZLRwV1",
        "tty-s0flW37O",
    ),
    ("pods", "log"): (
        "container-1GeXxFDC",
        "follow-9OIXh_2R",
        "insecureSkipTLSVerifyBackend-gM00jVbe",
        "limitBytes-zwd1RXuc",
        _PRETTY,
        "previous-1jxDPu3y",
        "sinceSeconds-vE2NLdnP",
        "stream-l-48cgXv",
        "tailLines-9xQLWHMV",
        "timestamps-c17fW1w_",
    ),
}
# Upstream documents a Status for it and answers with the Namespace.
_SAYS_STATUS = frozenset({"Namespace"})
_OK, _CREATED, _ACCEPTED = "200", "201", "202"
REASONS = {_OK: "OK", _CREATED: "Created", _ACCEPTED: "Accepted"}


@dataclass(frozen=True, slots=True)
class Body:
    schema: str
    types: tuple[str, ...] = _ANY
    required: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    operation_id: str
    tag: str
    description: str
    responses: Mapping[str, str]
    """Status code → name of the schema, or TEXT."""
    produces: tuple[str, ...] = _OBJECT
    consumes: tuple[str, ...] = _ANY
    body: Body | None = None
    parameters: frozenset[str] = frozenset()
    """Keys of `parameters()`, or the name of the object's kind after `name:`."""
    action: str = ""
    gvk: GVK | None = None


PathOperations = tuple[str, tuple[Operation, ...]]


@lru_cache(maxsize=1)
def parameters() -> Mapping[str, dict[str, Any]]:
    """Every shared parameter but `name`: name, in, type, description, required."""
    loaded: dict[str, dict[str, Any]] = encoding.loads(
        (resources.files("vapi.endpoints") / "data" / "openapi_parameters.json").read_bytes()
    )
    return loaded


def parameter(key: str) -> dict[str, Any]:
    if key.startswith("name:"):
        kind = key.removeprefix("name:")
        return {
            "name": "name",
            "in": "path",
            "type": "string",
            "required": True,
            "description": f"name of the {kind}",
        }
    return parameters()[key]


def common_parameters(operations: Sequence[Operation]) -> frozenset[str]:
    """Those that every operation of a path has stand at the path."""
    return frozenset.intersection(*(operation.parameters for operation in operations))


def _camel(group: str) -> str:
    """`rbac.authorization.k8s.io` → `RbacAuthorization`; the core group → `Core`."""
    parts = group.removesuffix(".k8s.io").replace("-", "_").split(".")
    return "".join(part[:1].upper() + part[1:] for part in parts) or "Core"


def group_id(group: str) -> str:
    name = _camel(group)
    return name[:1].lower() + name[1:]


class _Names:
    """Tag, path and operation ids of one group-version."""

    def __init__(self, gv: GroupVersion) -> None:
        self.tag = f"{group_id(gv.group)}_{gv.version}"
        self.prefix = _camel(gv.group) + gv.version[:1].upper() + gv.version[1:]
        self.path = f"/apis/{gv.api_version}" if gv.group else f"/api/{gv.version}"

    def operation_id(self, verb: str, *parts: str) -> str:
        return verb + self.prefix + "".join(parts)


SchemaOf = Callable[[GVK], str]
"""Name of the schema of a kind (`Definitions.name_of`)."""


def group_version_paths(gv: GroupVersion, rows: Iterable[Resource], schema_of: SchemaOf) -> Iterator[PathOperations]:
    """Every path below one group-version with its operations."""
    names = _Names(gv)
    resource_list = _META + "APIResourceList"
    yield (
        f"{names.path}/",
        (
            Operation(
                "get",
                names.operation_id("get", "APIResources"),
                names.tag,
                "get available resources",
                {_OK: resource_list},
                consumes=_OBJECT,
            ),
        ),
    )
    for row in rows:
        yield from _row_paths(row, names, schema_of)


def _row_paths(row: Resource, names: _Names, schema_of: SchemaOf) -> Iterator[PathOperations]:
    resource = row.gvr.resource
    scope = "/namespaces/{namespace}" if row.namespaced else ""
    builder = _Builder(row, names, schema_of)
    collection = f"{names.path}{scope}/{resource}"
    operations = builder.collection()
    if operations:
        yield collection, operations
    if Verb.GET in row.verbs:
        yield f"{collection}/{{name}}", builder.single()
    for sub in row.subresources.values():
        path = f"{collection}/{{name}}/{sub.name}"
        if sub.connect:
            yield path, builder.connect(sub)
            if sub.name == "proxy":
                yield f"{path}/{{path}}", builder.connect(sub, with_path=True)
        else:
            yield path, builder.subresource(sub)
    if row.namespaced and Verb.LIST in row.verbs:
        yield f"{names.path}/{resource}", builder.everywhere()
        if Verb.WATCH in row.verbs:
            yield f"{names.path}/watch/{resource}", builder.watch("watchlist", everywhere=True)
    if Verb.WATCH in row.verbs:
        yield f"{names.path}/watch{scope}/{resource}", builder.watch("watchlist")
        yield f"{names.path}/watch{scope}/{resource}/{{name}}", builder.watch("watch")


class _Builder:
    """The operations of one row."""

    def __init__(self, row: Resource, names: _Names, schema_of: SchemaOf) -> None:
        self._row = row
        self._names = names
        self._schema_of = schema_of
        self._kind = row.kind
        self._scope = "Namespaced" if row.namespaced else ""
        self._schema = schema_of(row.gvk)
        self._base = frozenset({_PRETTY, *((_NAMESPACE,) if row.namespaced else ())})

    def _operation(self, method: str, action: str, operation_id: str, description: str, **more: Any) -> Operation:
        gvk = more.pop("gvk", self._row.gvk)
        asked = frozenset(more.pop("parameters", ())) | more.pop("base", self._base)
        return Operation(
            method,
            operation_id,
            self._names.tag,
            description,
            action=action,
            gvk=gvk,
            parameters=asked,
            **more,
        )

    def collection(self) -> tuple[Operation, ...]:
        row, kind = self._row, self._kind
        operations = []
        if Verb.LIST in row.verbs:
            operations.append(self._list("list", self._scope + kind, self._base))
        if Verb.CREATE in row.verbs:
            operations.append(
                self._operation(
                    "post",
                    "post",
                    self._names.operation_id("create", self._scope, kind),
                    f"create {_article(kind)} {kind}",
                    responses=dict.fromkeys((_OK, _CREATED, _ACCEPTED), self._schema),
                    body=Body(self._schema),
                    parameters=_WRITE,
                )
            )
        if Verb.DELETECOLLECTION in row.verbs:
            operations.append(
                self._operation(
                    "delete",
                    "deletecollection",
                    self._names.operation_id("delete", "Collection", self._scope, kind),
                    f"delete collection of {kind}",
                    responses={_OK: STATUS},
                    body=Body(DELETE_OPTIONS, required=False),
                    parameters=(*_LIST, *_DELETE),
                )
            )
        return tuple(operations)

    def everywhere(self) -> tuple[Operation, ...]:
        return (self._list("list", f"{self._kind}ForAllNamespaces", frozenset({_PRETTY})),)

    def _list(self, verb: str, name: str, base: frozenset[str]) -> Operation:
        watched = Verb.WATCH in self._row.verbs
        return self._operation(
            "get",
            "list",
            self._names.operation_id(verb, name),
            f"list {'or watch ' if watched else ''}objects of kind {self._kind}",
            responses={_OK: self._schema_of(GVK(self._row.gvr.group, self._row.gvr.version, self._row.list_kind))},
            produces=_STREAMED,
            parameters=_WATCH,
            base=base,
        )

    def watch(self, action: str, *, everywhere: bool = False) -> tuple[Operation, ...]:
        single = action == "watch"
        suffix = "" if single else "List"
        name = f"{self._kind}ListForAllNamespaces" if everywhere else f"{self._scope}{self._kind}{suffix}"
        what = f"an object of kind {self._kind}" if single else f"individual changes to a list of {self._kind}"
        how = ", filtered to a single item with the 'fieldSelector' parameter" if single else " instead"
        base = frozenset({_PRETTY}) if everywhere else self._base
        return (
            self._operation(
                "get",
                action,
                self._names.operation_id("watch", name),
                f"watch {what}. deprecated: use the 'watch' parameter with a list operation{how}.",
                responses={_OK: WATCH_EVENT},
                produces=_STREAMED,
                parameters=(*_WATCH, f"name:{self._kind}") if single else _WATCH,
                base=base,
            ),
        )

    def single(self) -> tuple[Operation, ...]:
        kind, row = self._kind, self._row
        operations = [self._read(kind, "", self._schema, row.gvk)]
        if Verb.UPDATE in row.verbs:
            operations.append(self._replace(kind, "", self._schema, row.gvk))
        if Verb.DELETE in row.verbs:
            answer = self._schema if row.delete_returns_object and kind not in _SAYS_STATUS else STATUS
            operations.append(
                self._operation(
                    "delete",
                    "delete",
                    self._names.operation_id("delete", self._scope, kind),
                    f"delete {_article(kind)} {kind}",
                    responses={_OK: answer, _ACCEPTED: answer},
                    body=Body(DELETE_OPTIONS, required=False),
                    parameters=(*_DELETE, f"name:{kind}"),
                )
            )
        if Verb.PATCH in row.verbs:
            operations.append(self._patch(kind, "", self._schema, row.gvk))
        return tuple(operations)

    def subresource(self, sub: Subresource) -> tuple[Operation, ...]:
        gvk = sub.gvk or self._row.gvk
        schema = self._schema_of(gvk)
        if sub.name == "log":
            return (self._log(),)
        makers = {Verb.GET: self._read, Verb.UPDATE: self._replace, Verb.PATCH: self._patch, Verb.CREATE: self._create}
        return tuple(maker(gvk.kind, sub.name, schema, gvk) for verb, maker in makers.items() if verb in sub.verbs)

    def _names_of(self, verb: str, sub: str) -> tuple[str, str]:
        """Operation id, and the words for what is read or written."""
        operation_id = self._names.operation_id(verb, self._scope, self._kind, sub[:1].upper() + sub[1:])
        return operation_id, f"{sub} of the specified {self._kind}" if sub else f"the specified {self._kind}"

    def _read(self, kind: str, sub: str, schema: str, gvk: GVK) -> Operation:
        operation_id, what = self._names_of("read", sub)
        return self._operation(
            "get", "get", operation_id, f"read {what}", responses={_OK: schema}, gvk=gvk, parameters=(f"name:{kind}",)
        )

    def _replace(self, kind: str, sub: str, schema: str, gvk: GVK) -> Operation:
        operation_id, what = self._names_of("replace", sub)
        return self._operation(
            "put",
            "put",
            operation_id,
            f"replace {what}",
            responses={_OK: schema, _CREATED: schema},
            body=Body(schema),
            gvk=gvk,
            parameters=(*_WRITE, f"name:{kind}"),
        )

    def _patch(self, kind: str, sub: str, schema: str, gvk: GVK) -> Operation:
        operation_id, what = self._names_of("patch", sub)
        return self._operation(
            "patch",
            "patch",
            operation_id,
            f"partially update {what}",
            responses={_OK: schema, _CREATED: schema},
            body=Body(PATCH, PATCH_TYPES),
            consumes=PATCH_TYPES,
            gvk=gvk,
            parameters=(*_PATCH, f"name:{kind}"),
        )

    def _create(self, kind: str, sub: str, schema: str, gvk: GVK) -> Operation:
        return self._operation(
            "post",
            "post",
            self._names_of("create", sub)[0],
            f"create {sub} of {_article(self._kind)} {self._kind}",
            responses=dict.fromkeys((_OK, _CREATED, _ACCEPTED), schema),
            body=Body(schema),
            gvk=gvk,
            parameters=(*_WRITE, f"name:{kind}"),
        )

    def _log(self) -> Operation:
        operation_id, what = self._names_of("read", "log")
        return self._operation(
            "get",
            "get",
            operation_id,
            f"read {what}",
            responses={_OK: TEXT},
            produces=("text/plain", *_OBJECT),
            parameters=(*_OPTIONS["pods", "log"], f"name:{self._kind}"),
        )

    def connect(self, sub: Subresource, *, with_path: bool = False) -> tuple[Operation, ...]:
        assert sub.gvk is not None
        methods = ("get", "put", "post", "delete", "options", "head", "patch")
        wanted = methods if sub.name == "proxy" else ("get", "post")
        suffix = sub.name[:1].upper() + sub.name[1:] + ("WithPath" if with_path else "")
        asked = {*_OPTIONS[self._row.gvr.resource, sub.name], f"name:{sub.gvk.kind}"} | (
            {_PATH} if with_path else set()
        )
        return tuple(
            self._operation(
                method,
                "connect",
                self._names.operation_id("connect", method.capitalize(), self._scope, self._kind, suffix),
                f"connect {method.upper()} requests to {sub.name} of {self._kind}",
                responses={_OK: TEXT},
                produces=_ANY,
                gvk=sub.gvk,
                parameters=asked,
                base=self._base - {_PRETTY},
            )
            for method in wanted
        )


def _article(kind: str) -> str:
    return "an" if kind[:1].lower() in "aeiou" else "a"


def group_path(group: str) -> PathOperations:
    """`/apis/<group>/`: the APIGroup."""
    operation_id = f"get{_camel(group)}APIGroup"
    schema = _META + "APIGroup"
    return _plain(f"/apis/{group}/", group_id(group), operation_id, "get information of a group", schema, _OBJECT)


def _plain(
    path: str, tag: str, operation_id: str, description: str, schema: str, types: tuple[str, ...]
) -> PathOperations:
    consumes = types if schema else ()
    operation = Operation("get", operation_id, tag, description, {_OK: schema}, produces=types, consumes=consumes)
    return path, (operation,)


# Documents that belong to no group, by their name in the index of version 3.
ROOT_PATHS: Mapping[str, PathOperations] = {
    ".well-known/openid-configuration": _plain(
        "/.well-known/openid-configuration/",
        "WellKnown",
        "getServiceAccountIssuerOpenIDConfiguration",
        "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
        TEXT,
        (JSON,),
    ),
    "api": _plain("/api/", "core", "getCoreAPIVersions", "get available API versions", _META + "APIVersions", _OBJECT),
    "apis": _plain("/apis/", "apis", "getAPIVersions", "get available API versions", _META + "APIGroupList", _OBJECT),
    "openid/v1/jwks": _plain(
        "/openid/v1/jwks/",
        "openid",
        "getServiceAccountIssuerOpenIDKeyset",
        "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
        TEXT,
        ("application/jwk-set+json",),
    ),
    "version": _plain(
        "/version/",
        "version",
        "getCodeVersion",
        "get the version information for this server",
        "io.k8s.apimachinery.pkg.version.Info",
        (JSON,),
    ),
}
