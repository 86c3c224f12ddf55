"""What of the host client can be said without a host: paths and errors."""

from __future__ import annotations

import pytest

from sync import host
from sync.translator import ENDPOINTSLICES, PODS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (host._path(PODS), "/api/v1/pods"),
        (host._path(PODS, "ns", "web", "status"), "/api/v1/namespaces/ns/pods/web/status"),
        (host._path(ENDPOINTSLICES, "ns"), "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"),
        (host._path(PODS, "ns", query={"labelSelector": "a=b"}), "/api/v1/namespaces/ns/pods?labelSelector=a%3Db"),
        (host._path(PODS, "ns", "a/b"), "/api/v1/namespaces/ns/pods/a%2Fb"),
    ],
)
def test_paths_are_those_of_the_api(path: str, expected: str) -> None:
    assert path == expected


def test_a_status_is_an_error_with_its_reason_and_message() -> None:
    error = host._error(409, {}, b'{"kind":"Status","reason":"AlreadyExists","message":"there is one"}')
    assert (error.code, error.reason, error.message, error.retry_after_s) == (409, "AlreadyExists", "there is one", 0)


@pytest.mark.parametrize(("headers", "wait_s"), [({"Retry-After": "7"}, 7), ({}, 1), ({"Retry-After": "soon"}, 1)])
def test_a_429_says_how_long_to_wait(headers: dict[str, str], wait_s: float) -> None:
    assert host._error(429, headers, b"").retry_after_s == wait_s


def test_an_answer_of_something_else_is_an_error_too() -> None:
    assert host._error(502, {}, b"<html>bad gateway</html>").message == "<html>bad gateway</html>"
    assert host._error(500, {}, b"[]").message == "[]"
    assert host._error(500, {}, b"").message == "the host answered 500"


@pytest.mark.parametrize(
    ("items", "size_bytes", "limit"),
    [
        (50, 50 * 14_000, host.PAGE_BYTES // 14_000),
        (50, 50 * 100, host.MAX_PAGE),
        (2, 2 << 20, 1),
        (0, 200, host.MAX_PAGE),
    ],
    ids=["pods", "small", "one is more than a page", "an empty page"],
)
def test_pages_are_as_long_as_one_step_of_the_loop_can_decode(items: int, size_bytes: int, limit: int) -> None:
    assert host.page_limit(items, size_bytes) == limit
