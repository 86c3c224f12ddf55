"""Accept and Content-Type headers of real clients, and what is made of them."""

from __future__ import annotations

import pytest

from vapi.endpoints import negotiate
from vapi.endpoints.negotiate import PLAIN_JSON, Answer, Endpoint, Shape
from vapi.errors import ApiError

KUBECTL_TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
METADATA = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
)


@pytest.mark.parametrize(
    ("accept", "endpoint", "expected"),
    [
        ("", Endpoint.OBJECTS, PLAIN_JSON),
        ("*/*", Endpoint.OBJECTS, PLAIN_JSON),
        ("application/*", Endpoint.OBJECTS, PLAIN_JSON),
        ("application/json, */*", Endpoint.OBJECTS, PLAIN_JSON),
        ("application/vnd.kubernetes.protobuf,application/json", Endpoint.OBJECTS, PLAIN_JSON),
        ("application/vnd.kubernetes.protobuf;stream=watch", Endpoint.WATCH, PLAIN_JSON),
        ("application/yaml", Endpoint.OBJECTS, Answer("application/yaml")),
        ("application/json;q=0.5,application/yaml", Endpoint.OBJECTS, Answer("application/yaml")),
        ("text/html,application/yaml;q=0.9,*/*;q=0.8", Endpoint.OBJECTS, Answer("application/yaml")),
        ("application/json;pretty=1", Endpoint.OBJECTS, Answer(pretty=True)),
        (KUBECTL_TABLE, Endpoint.LISTS, Answer(shape=Shape.TABLE)),
        (KUBECTL_TABLE, Endpoint.WATCH, Answer(shape=Shape.TABLE)),
        (KUBECTL_TABLE, Endpoint.PLAIN, PLAIN_JSON),
        (METADATA, Endpoint.WATCH, Answer(shape=Shape.PARTIAL)),
        (
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
            Endpoint.OBJECTS,
            Answer(shape=Shape.TABLE, version="v1beta1"),
        ),
        ("application/yaml,application/json", Endpoint.WATCH, PLAIN_JSON),
    ],
)
def test_the_best_of_what_is_accepted_is_answered(accept: str, endpoint: Endpoint, expected: Answer) -> None:
    assert negotiate.negotiate(accept, endpoint) == expected


def test_the_usual_answer_is_always_the_same_object() -> None:
    assert negotiate.negotiate("application/json", Endpoint.OBJECTS) is PLAIN_JSON


@pytest.mark.parametrize(
    ("accept", "endpoint", "end"),
    [
        ("application/cbor", Endpoint.OBJECTS, "application/vnd.kubernetes.protobuf"),
        ("text/plain", Endpoint.LISTS, "application/vnd.kubernetes.protobuf;stream=watch"),
        ("application/json;as=Table;v=v2;g=meta.k8s.io", Endpoint.OBJECTS, "application/vnd.kubernetes.protobuf"),
        (
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
            Endpoint.OBJECTS,
            "application/vnd.kubernetes.protobuf",
        ),
        ("application/json;stream=foo", Endpoint.OBJECTS, "application/vnd.kubernetes.protobuf"),
        ("application/yaml", Endpoint.WATCH, "application/vnd.kubernetes.protobuf;stream=watch"),
    ],
)
def test_what_is_not_offered_is_406(accept: str, endpoint: Endpoint, end: str) -> None:
    with pytest.raises(ApiError) as refused:
        negotiate.negotiate(accept, endpoint)
    assert refused.value.code == 406
    assert refused.value.message.endswith(end)


@pytest.mark.parametrize("accept", ["", "application/foo", KUBECTL_TABLE, "application/json;as=Foo"])
def test_errors_are_never_refused(accept: str) -> None:
    assert negotiate.error_answer(accept) == PLAIN_JSON


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", "v2"),
        ("application/json", None),
        ("", None),
        ("application/json,application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", None),
        (
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
            "v2beta1",
        ),
    ],
)
def test_aggregated_discovery_is_given_to_those_who_ask(accept: str, version: str | None) -> None:
    assert negotiate.aggregated_discovery(accept) == version


def test_types_of_bodies() -> None:
    assert negotiate.body_type(None) == "application/json"
    assert negotiate.body_type("Application/JSON; charset=utf-8") == "application/json"
    assert negotiate.patch_type("application/merge-patch+json;x=y") == "application/merge-patch+json"


@pytest.mark.parametrize(
    ("pretty", "agent", "expected"),
    [(None, "kubectl/1", False), (None, "curl/8", True), ("true", "kubectl/1", True), ("0", "Mozilla/5.0", False)],
)
def test_people_get_lines(pretty: str | None, agent: str, expected: bool) -> None:
    assert negotiate.wants_pretty(pretty, agent, PLAIN_JSON) is expected
