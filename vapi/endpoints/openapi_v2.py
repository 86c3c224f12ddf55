"""OpenAPI version 2 ("swagger"): one document of everything, for clients that know no version 3.

Pure; run it in a thread. Schemas are those of version 3 without what version 2
cannot say. Source: kube-openapi builder and schemaconv; golden openapi_v2_live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vapi.endpoints import openapi_operations as operations
from vapi.endpoints.openapi_operations import Operation, PathOperations
from vapi.endpoints.openapi_v3 import INFO, UNAUTHORIZED, extensions
from vapi.gvk import Obj

_V3_REFERENCE = "#/components/schemas/"
_REFERENCE = "#/definitions/"

# Bodies that are shared by name, as parameters are.
_SHARED_BODIES = {operations.DELETE_OPTIONS: "body-2Y1dVQaQ", operations.PATCH: "body-78PwaGsr"}
# Parameters that are written out although they are shared: their names are no keys of `parameters`.
_WRITTEN_OUT = frozenset({"dryRun", "fieldValidation"})

SECURITY: Obj = {
    "securityDefinitions": {
        "BearerToken": {
            "description": "Bearer Token authentication",
            "type": "apiKey",
            "name": "authorization",
            "in": "header",
        }
    },
    "security": [{"BearerToken": []}],
}
HEAD: Obj = {"swagger": "2.0", "info": INFO}


def path_items(paths: Iterable[PathOperations]) -> Iterator[tuple[str, Obj]]:
    for path, found in paths:
        common = operations.common_parameters(found)
        item: Obj = {operation.method: _operation(operation, common) for operation in found}
        if common:
            item["parameters"] = [_parameter(key) for key in sorted(common, key=_order)]
        yield path, item


def shared_parameters() -> Obj:
    """Of the whole document, by the names that path items refer to."""
    shared = {
        key: _written_out(parameter) for key, parameter in operations.parameters().items() if key not in _WRITTEN_OUT
    }
    for schema, key in _SHARED_BODIES.items():
        shared[key] = _body(schema, required=schema == operations.PATCH)
    return shared


def schema(v3: Any) -> Any:
    """A version 3 schema in version 2: no defaults, no oneOf, a lone reference in allOf stands by itself."""
    if isinstance(v3, list):
        return [schema(item) for item in v3]
    if not isinstance(v3, dict):
        return v3
    answer: Obj = {}
    for key, value in v3.items():
        if key == "properties":
            answer[key] = {name: schema(child) for name, child in value.items()}
        elif key == "oneOf":
            answer["type"] = "string"  # Quantity and IntOrString
        elif key == "allOf" and len(value) == 1:
            answer.update(schema(value[0]))
        elif key == "$ref":
            answer[key] = _REFERENCE + value.removeprefix(_V3_REFERENCE)
        elif key != "default":
            answer[key] = schema(value) if isinstance(value, dict | list) and not key.startswith("x-") else value
    return answer


def _operation(operation: Operation, common: frozenset[str]) -> Obj:
    answer: Obj = {
        "description": operation.description,
        **({"consumes": list(operation.consumes)} if operation.consumes else {}),
        "produces": list(operation.produces),
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.operation_id,
    }
    own = [_parameter(key) for key in sorted(operation.parameters - common, key=_order)]
    if operation.body:
        shared = _SHARED_BODIES.get(operation.body.schema)
        body = _body(operation.body.schema, required=operation.body.required)
        own.insert(0, {"$ref": f"#/parameters/{shared}"} if shared else body)
    if own:
        answer["parameters"] = own
    responses: Obj = {
        code: {
            "description": operations.REASONS[code],
            "schema": {"$ref": _REFERENCE + name} if name else {"type": "string"},
        }
        for code, name in operation.responses.items()
    }
    answer["responses"] = responses | UNAUTHORIZED
    return answer | extensions(operation)


def _order(key: str) -> str:
    return str(operations.parameter(key)["name"])


def _parameter(key: str) -> Obj:
    if key.startswith("name:") or key in _WRITTEN_OUT:
        return _written_out(operations.parameter(key))
    return {"$ref": f"#/parameters/{key}"}


def _written_out(parameter: Obj) -> Obj:
    return {"uniqueItems": True, **parameter}


def _body(name: str, *, required: bool) -> Obj:
    body: Obj = {"name": "body", "in": "body", "schema": {"$ref": _REFERENCE + name}}
    return body | {"required": True} if required else body
