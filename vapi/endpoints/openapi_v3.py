"""OpenAPI version 3: one document a group-version, from operations and definitions. Pure; run it in a thread.

A document is encoded path by path and schema by schema, so that no single step
is long. Source: kube-openapi builder3; golden openapi_v3_live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vapi import encoding
from vapi.endpoints import openapi_operations as operations
from vapi.endpoints.openapi_operations import Operation, PathOperations
from vapi.gvk import Obj

_REFERENCE = "#/components/schemas/"
INFO = {"title": "Kubernetes", "version": "1.37"}
_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}
UNAUTHORIZED = {"401": {"description": "Unauthorized"}}


def path_items(paths: Iterable[PathOperations]) -> Iterator[tuple[str, Obj]]:
    for path, found in paths:
        common = operations.common_parameters(found)
        item: Obj = {operation.method: _operation(operation, common) for operation in found}
        if common:
            item["parameters"] = _parameters(common)
        yield path, item


def document(items: Mapping[str, Obj], schemas: Mapping[str, Obj]) -> bytes:
    """The whole document as JSON."""
    parts = [b'{"openapi":"3.0.0","info":', encoding.dumps(INFO), b',"paths":{', joined(items), b'},"components":{']
    if schemas:
        parts += [b'"schemas":{', joined(schemas), b"},"]
    parts += [b'"securitySchemes":', encoding.dumps(_SECURITY), b"}}"]
    return b"".join(parts)


def joined(entries: Mapping[str, Any]) -> bytes:
    """The members of a JSON object, encoded one by one, sorted by name."""
    return b",".join(b"%b:%b" % (encoding.dumps(name), encoding.dumps(entries[name])) for name in sorted(entries))


def schema_names(paths: Iterable[PathOperations]) -> set[str]:
    """Schemas that operations name directly."""
    found: set[str] = set()
    for _, listed in paths:
        for operation in listed:
            found.update(name for name in operation.responses.values() if name)
            if operation.body:
                found.add(operation.body.schema)
    return found


def _schema(name: str) -> Obj:
    return {"$ref": _REFERENCE + name} if name else {"type": "string"}


def _operation(operation: Operation, common: frozenset[str]) -> Obj:
    answer: Obj = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.operation_id,
    }
    own = operation.parameters - common
    if own:
        answer["parameters"] = _parameters(own)
    if operation.body:
        content = {kind: {"schema": _schema(operation.body.schema)} for kind in sorted(operation.body.types)}
        answer["requestBody"] = {"content": content} | ({"required": True} if operation.body.required else {})
    responses: Obj = {
        code: {
            "description": operations.REASONS[code],
            "content": {kind: {"schema": _schema(name)} for kind in sorted(operation.produces)},
        }
        for code, name in operation.responses.items()
    }
    answer["responses"] = responses | UNAUTHORIZED
    return answer | extensions(operation)


def extensions(operation: Operation) -> Obj:
    if not operation.action or operation.gvk is None:
        return {}
    gvk = operation.gvk
    return {
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": gvk.group, "version": gvk.version, "kind": gvk.kind},
    }


def _parameters(keys: Iterable[str]) -> list[Obj]:
    found = sorted((operations.parameter(key) for key in keys), key=lambda p: (p["name"], p["in"]))
    return [
        {key: value for key, value in parameter.items() if key != "type"}
        | {"schema": {"type": parameter["type"], "uniqueItems": True}}
        for parameter in found
    ]
