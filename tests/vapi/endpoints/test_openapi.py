"""OpenAPI: the documents are those of a real API server, and clients can keep them."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.vapi.resources.golden import golden
from vapi.endpoints import openapi, openapi_v2
from vapi.endpoints.discovery import Document
from vapi.endpoints.nonresource import Redirect
from vapi.endpoints.openapi import OpenApi
from vapi.errors import ApiError
from vapi.resources.builtin import builtin_catalog
from vapi.schema.definitions import Definitions, load_definitions

_JSON = "application/json"
_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


class _StoppedClock:
    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 21, 13, 0, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions()


@pytest.fixture
def service(definitions: Definitions) -> OpenApi:
    return OpenApi(builtin_catalog(), definitions, _StoppedClock())


async def _document(service: OpenApi, path: str, accept: str = _JSON, **query: str) -> Document:
    found = await service.respond(path, query, accept)
    assert isinstance(found, Document)
    return found


def _decoded(document: Document) -> Any:
    return json.loads(gzip.decompress(document.gzipped))


async def _index(service: OpenApi) -> dict[str, str]:
    listed = json.loads((await _document(service, "/openapi/v3")).body)["paths"]
    return {name: entry["serverRelativeURL"] for name, entry in listed.items()}


_UNORDERED = {"required", "enum", "consumes", "produces", "parameters"}


def _comparable(value: Any, key: str = "") -> Any:
    """Without descriptions, and with lists whose order says nothing in a fixed one."""
    if isinstance(value, dict):
        return {k: _comparable(v, k) for k, v in value.items() if not (k == "description" and isinstance(v, str))}
    if isinstance(value, list):
        items = [_comparable(item) for item in value]
        return sorted(items, key=json.dumps) if key in _UNORDERED else items
    return value


def _differences(expected: Mapping[str, Any], got: Mapping[str, Any]) -> Iterator[str]:
    for name in {*expected, *got}:
        if _comparable(expected.get(name)) != _comparable(got.get(name)):
            yield name


async def test_every_document_of_version_3_is_that_of_a_real_server(service: OpenApi) -> None:
    recorded = golden("openapi_v3_live_1.37.json.gz")
    index = await _index(service)
    assert set(index) == set(recorded)
    for name, document in recorded.items():
        ours = _decoded(await _document(service, f"/openapi/v3/{name}"))
        assert not list(_differences(document["paths"], ours["paths"])), name
        schemas = (document["components"].get("schemas", {}), ours["components"].get("schemas", {}))
        assert not list(_differences(*schemas)), name


async def test_version_2_is_that_of_a_real_server(service: OpenApi) -> None:
    recorded = golden("openapi_v2_live_1.37.json.gz")
    ours = _decoded(await _document(service, "/openapi/v2"))
    assert set(ours) == set(recorded)
    for part in ("paths", "definitions", "parameters"):
        assert not list(_differences(recorded[part], ours[part])), part


async def test_the_url_in_the_index_leads_to_a_document_that_is_kept_for_ever(service: OpenApi) -> None:
    path, _, version = (await _index(service))["apis/apps/v1"].partition("?hash=")
    document = await _document(service, path, hash=version)
    assert document.etag == f'"{version}"'
    assert document.headers["Cache-Control"] == "public, immutable"
    assert document.headers["Expires"] == "Sun, 21 Nov 2027 13:00:00 UTC"


async def test_without_a_hash_the_document_is_not_kept(service: OpenApi) -> None:
    document = await _document(service, "/openapi/v3/apis/apps/v1")
    assert document.headers["Cache-Control"] == "no-cache, private"


async def test_an_old_hash_is_sent_to_the_present_one(service: OpenApi) -> None:
    found = await service.respond("/openapi/v3/apis/apps/v1", {"hash": "0A"}, _JSON)
    assert found == Redirect((await _index(service))["apis/apps/v1"])


async def test_the_hashes_are_the_same_after_a_restart(service: OpenApi) -> None:
    again = OpenApi(builtin_catalog(), load_definitions(), _StoppedClock())
    assert await _index(again) == await _index(service)


@pytest.mark.parametrize("path", ["/openapi/v3/apis/nope/v1", "/openapi/v4", "/openapi", "/openapi/v3/v2"])
async def test_what_is_no_document_is_not_found(service: OpenApi, path: str) -> None:
    assert await service.respond(path, {}, _JSON) is None


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/openapi/v2", "text/html"), ("/openapi/v3/version", _PROTOBUF), ("/openapi/v3/api/v1", "application/xml")],
)
async def test_other_media_types_are_refused(service: OpenApi, path: str, accept: str) -> None:
    with pytest.raises(ApiError) as refused:
        await service.respond(path, {}, accept)
    assert refused.value.code == 406


@pytest.mark.parametrize("accept", ["", "*/*", "application/json, */*", "text/html, application/*;q=0.8"])
async def test_json_is_the_usual_answer(service: OpenApi, accept: str) -> None:
    assert (await _document(service, "/openapi/v2", accept)).content_type == _JSON


async def test_kubectl_finds_what_it_looks_for(service: OpenApi) -> None:
    """Contract §2.2: how it decides about validation on the server and about the kind of patch."""
    document = _decoded(await _document(service, "/openapi/v3/apis/apps/v1"))
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {"fieldValidation", "dryRun"} <= {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    spec = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]
    assert spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["properties"]["containers"]["description"]


async def test_documents_are_kept_compressed_and_within_a_bound(
    service: OpenApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openapi, "MAX_KEPT_BYTES", 100_000)
    for name in ("apis/apps/v1", "apis/batch/v1", "version"):
        await _document(service, f"/openapi/v3/{name}")
        assert 0 < service.kept_bytes <= 100_000
    service.forget()
    assert service.kept_bytes == 0


# --- protobuf -----------------------------------------------------------------------------------------


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """(number, bytes or int) of each field, in order."""
    found: list[tuple[int, Any]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            found.append((number, varint()))
            continue
        assert wire == 2
        length = varint()
        found.append((number, message[position : position + length]))
        position += length
    return found


def _pairs(message: bytes) -> dict[str, bytes]:
    """A message of (name, value) pairs."""
    entries = (dict(_fields(value)) for _, value in _fields(message))
    return {entry[1].decode(): entry[2] for entry in entries}


async def test_version_2_as_protobuf_holds_what_the_json_holds(service: OpenApi) -> None:
    document = await _document(service, "/openapi/v2", _PROTOBUF)
    assert document.content_type == openapi.V2_PROTOBUF
    whole = dict(_fields(gzip.decompress(document.gzipped)))
    as_json = _decoded(await _document(service, "/openapi/v2"))
    assert whole[1] == b"2.0"
    assert set(_pairs(whole[9])) == set(as_json["definitions"])
    assert {dict(_fields(path))[1].decode() for _, path in _fields(whole[8])} == set(as_json["paths"])


async def test_a_definition_in_protobuf_has_its_fields_where_gnostic_has_them(service: OpenApi) -> None:
    document = await _document(service, "/openapi/v2", _PROTOBUF)
    whole = dict(_fields(gzip.decompress(document.gzipped)))
    port = dict(_fields(_pairs(whole[9])["io.k8s.api.core.v1.ContainerPort"]))
    assert port[19] == b"containerPort"  # required
    assert dict(_fields(port[22])) == {1: b"object"}  # type
    protocol = _fields(_pairs(port[25])["protocol"])  # properties
    values = [dict(_fields(value))[2] for number, value in protocol if number == 20]  # enum, as YAML
    assert sorted(values) == [b'"SCTP"\n', b'"TCP"\n', b'"UDP"\n']
    pod = _fields(_pairs(whole[9])["io.k8s.api.core.v1.Pod"])
    extension = dict(_fields(next(value for number, value in pod if number == 31)))
    assert extension[1] == b"x-kubernetes-group-version-kind"
    assert json.loads(dict(_fields(extension[2]))[2]) == [{"group": "", "kind": "Pod", "version": "v1"}]


# --- version 2 of a schema ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("v3", "v2"),
    [
        ({"type": "string", "default": ""}, {"type": "string"}),
        ({"$ref": "#/components/schemas/a.B"}, {"$ref": "#/definitions/a.B"}),
        (
            {"description": "d", "default": {}, "allOf": [{"$ref": "#/components/schemas/a.B"}]},
            {"description": "d", "$ref": "#/definitions/a.B"},
        ),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}),
        (
            {"properties": {"default": {"type": "array", "items": {"type": "string", "default": ""}}}},
            {"properties": {"default": {"type": "array", "items": {"type": "string"}}}},
        ),
        ({"x-kubernetes-list-map-keys": ["default"]}, {"x-kubernetes-list-map-keys": ["default"]}),
    ],
)
def test_a_schema_loses_what_version_2_cannot_say(v3: dict[str, Any], v2: dict[str, Any]) -> None:
    assert openapi_v2.schema(v3) == v2
