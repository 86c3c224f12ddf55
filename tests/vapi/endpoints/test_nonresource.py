"""Health, version, metrics and the documents, through dispatch."""

from __future__ import annotations

import pytest

from tests.vapi.endpoints.servers import CONFIGMAPS, api, configmap
from vapi.endpoints.nonresource import Check, Health, health_response
from vapi.endpoints.request import parse_query

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping", "/livez/"])
async def test_health_is_ok_for_everybody(path: str) -> None:
    async with api() as server:
        answer = await server.get(path)
        assert (answer.status, answer.body) == (200, b"ok")
        assert answer.response.content_type == "text/plain; charset=utf-8"


async def test_health_lists_its_checks_when_asked() -> None:
    async with api() as server:
        answer = await server.get("/readyz?verbose&exclude=ping")
        assert answer.body == b"[+]ping excluded: ok\n[+]shutdown ok\nreadyz check passed\n"


def test_a_check_that_fails_is_named_but_not_explained() -> None:
    health = Health([Check("ping", lambda: ""), Check("store", lambda: "disk full", live=False)])
    answer = health_response(health, "/readyz", parse_query(""))
    assert answer is not None
    assert answer.status == 500
    assert answer.body == b"[+]ping ok\n[-]store failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n"
    one = health_response(health, "/readyz/store", parse_query(""))
    assert one is not None
    assert (one.status, one.body) == (500, b"internal server error: disk full\n")
    alive = health_response(health, "/livez", parse_query(""))
    assert alive is not None
    assert alive.status == 200


async def test_a_stopping_server_is_alive_but_not_ready() -> None:
    async with api() as server:
        server.dispatcher.health.stopping = True
        assert (await server.get("/readyz")).status == 500
        assert (await server.get("/livez")).status == 200


async def test_the_version_is_that_of_the_api() -> None:
    async with api() as server:
        version = (await server.get("/version/")).json
        assert (version["major"], version["minor"], version["minCompatibilityMinor"]) == ("1", "37", "36")
        assert version["gitVersion"].startswith("v1.37.")


async def test_metrics_count_requests_by_verb_resource_and_code() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("a"))
        await server.get(f"{CONFIGMAPS}/nope")
        text = (await server.get("/metrics")).body.decode()
        created = (
            'apiserver_request_total{code="201",group="",resource="configmaps",subresource="",verb="CREATE",'
            'version="v1"} 1.0'
        )
        assert created in text
        assert 'code="404",group="",resource="unknown"' in text
        assert "apiserver_request_duration_seconds_bucket" in text


async def test_discovery_is_aggregated_or_plain_and_known_by_its_etag() -> None:
    async with api() as server:
        answer = await server.get("/apis", accept=f"{AGGREGATED},application/json")
        assert answer.response.content_type == AGGREGATED
        assert answer.headers("Vary") == ["Accept"]
        (etag,) = answer.headers("ETag")
        again = await server.get("/apis", accept=AGGREGATED, headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")
        assert (await server.get("/apis")).json["kind"] == "APIGroupList"
        assert (await server.get("/api/v1")).json["kind"] == "APIResourceList"
        assert (await server.get("/apis/apps")).json["kind"] == "APIGroup"


async def test_the_issuer_says_how_to_verify_its_tokens() -> None:
    async with api() as server:
        assert (await server.get("/.well-known/openid-configuration")).json == {"issuer": "https://issuer"}
        keys = await server.get("/openid/v1/jwks", accept="*/*")
        assert keys.response.content_type == "application/jwk-set+json"
        assert keys.json["keys"]
        refused = await server.get("/openid/v1/jwks")
        assert refused.status == 406
        assert refused.message == "406: Not Acceptable\n\nAvailable representations: application/jwk-set+json"


async def test_the_root_lists_paths() -> None:
    async with api() as server:
        paths = (await server.get("/")).json["paths"]
        assert {"/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v3", "/version"} <= set(paths)
