"""Continue tokens: there and back, and what is no token."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.errors import ApiError
from vapi.registry.continue_token import NOW, ContinueToken, decode, encode


def token_of(body: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()


@given(st.integers(1, 1 << 62) | st.just(NOW), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_is_encoded_comes_back(revision: int, name: str) -> None:
    if ".." in name.split("/") or name.startswith("/"):
        return
    token = encode(ContinueToken(revision, "/" + name))
    assert "=" not in token
    assert decode(token) == ContinueToken(revision, name)


def test_a_token_of_kube_apiserver_is_understood() -> None:
    token = token_of({"v": "meta.k8s.io/v1", "rv": 1289, "start": "/im\u0000"})
    assert decode(token) == ContinueToken(1289, "im\u0000")


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("!", "illegal base64 data at input byte 0"),
        ("eA!", "illegal base64 data at input byte 2"),
        ("eyJ2I", "illegal base64 data at input byte 4"),
        ("eA", "invalid character 'x' looking for beginning of value"),
        (token_of({"v": "v2", "rv": 1, "start": "/a"}), "server does not recognize this encoded version v2"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 0, "start": "/a"}), "incorrect encoded start resourceVersion"),
        (token_of({"v": "meta.k8s.io/v1", "rv": -2, "start": "/a"}), "incorrect encoded start resourceVersion"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 1}), "no start key"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 1, "start": "/a/../../secrets/s"}), "parent directory segments"),
        (token_of({"v": "meta.k8s.io/v1", "rv": "1", "start": "/a"}), "cannot unmarshal string"),
        (token_of([1]), "cannot unmarshal array"),
    ],
)
def test_what_is_no_token_is_a_bad_request(token: str, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(token)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")
    assert caught.value.message.startswith("invalid continue token: ")
    assert why in caught.value.message
