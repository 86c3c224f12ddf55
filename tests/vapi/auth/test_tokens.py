"""Tokens: signed once, checked each time against the clock and what they are bound to."""

from __future__ import annotations

import base64

import pytest

from tests.vapi.auth.shelf import Shelf, pod, service_account
from tests.vapi.control.clock import FakeClock
from vapi import encoding
from vapi.auth import certificates, jwt_keys
from vapi.auth.token_requests import TokenRequests
from vapi.auth.tokens import (
    DEFAULT_ISSUER,
    PODS,
    SERVICE_ACCOUNTS,
    BoundObject,
    TokenRejected,
    TokenSigner,
    TokenVerifier,
    static_tokens,
)
from vapi.errors import ApiError
from vapi.gvk import Obj

KEYS = jwt_keys.from_pem((certificates.key_pem(certificates.new_key()),))
SECRET: Obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}}
NODE: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}


class Desk:
    """What a server has: an account, something to bind to, a signer and a verifier."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shelf = Shelf(service_account(), pod(nodeName="n1"), SECRET, NODE)
        self.signer = TokenSigner(KEYS, self.clock, new_id=lambda: "id-1")
        self.requests = TokenRequests(self.shelf, self.signer, self.clock)
        self.verifier = TokenVerifier(KEYS, self.shelf, self.clock)

    def token(self, bound: Obj | None = None, **fields: object) -> str:
        account = self.requests.account("ns", "default")
        return self.requests.issue(account, bound=bound, **fields).token  # type: ignore[arg-type]

    def refusal(self, token: str, *audiences: str) -> str:
        with pytest.raises(TokenRejected) as caught:
            self.verifier.verify(token, audiences)
        return str(caught.value)


def payload(token: str) -> Obj:
    claims: Obj = encoding.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def test_a_token_is_its_service_account() -> None:
    desk = Desk()
    accepted = desk.verifier.verify(desk.token())
    assert accepted.user.name == "system:serviceaccount:ns:default"
    assert accepted.user.uid == "default-uid"
    assert accepted.user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert accepted.user.extra == {"authentication.kubernetes.io/credential-id": ("JTI=id-1",)}
    assert accepted.audiences == (DEFAULT_ISSUER,)


def test_a_pod_token_names_the_pod_and_its_node() -> None:
    desk = Desk()
    token = desk.token({"kind": "Pod", "apiVersion": "v1", "name": "p"})
    assert payload(token)["kubernetes.io"] == {
        "namespace": "ns",
        "serviceaccount": {"name": "default", "uid": "default-uid"},
        "pod": {"name": "p", "uid": "p-uid"},
        "node": {"name": "n1", "uid": "n1-uid"},
    }
    extra = desk.verifier.verify(token).user.extra
    assert extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert extra["authentication.kubernetes.io/node-uid"] == ("n1-uid",)


def test_a_token_made_before_its_pod_was_placed_tells_the_node_afterwards() -> None:
    desk = Desk()
    desk.shelf.put(pod())
    token = desk.token({"kind": "Pod", "apiVersion": "v1", "name": "p"})
    assert "authentication.kubernetes.io/node-name" not in desk.verifier.verify(token).user.extra
    desk.shelf.put(pod(nodeName="n1"))
    extra = desk.verifier.verify(token).user.extra
    assert extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert extra["authentication.kubernetes.io/node-uid"] == ("n1-uid",)


def test_a_projected_token_lives_for_a_year_and_warns_after_its_hour() -> None:
    desk = Desk()
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    issued = desk.requests.issue(desk.requests.account("ns", "default"), expiration_s=3607, bound=bound)
    claims = payload(issued.token)
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607
    assert (issued.expires - desk.clock.now()).total_seconds() == 3607


def test_a_token_whose_file_is_renewed_is_not_extended() -> None:
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    claims = payload(Desk().token(bound, expiration_s=3607, extend=False))
    assert claims["exp"] - claims["iat"] == 3607
    assert "warnafter" not in claims["kubernetes.io"]


def test_a_token_for_another_audience_is_not_extended() -> None:
    desk = Desk()
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    claims = payload(desk.token(bound, expiration_s=3607, audiences=("vault",)))
    assert claims["exp"] - claims["iat"] == 3607
    assert claims["aud"] == ["vault"]


@pytest.mark.parametrize(("seconds", "accepted"), [(3600, True), (3660, True), (3661, False)])
def test_a_token_ends_a_minute_after_its_time(seconds: int, accepted: bool) -> None:
    desk = Desk()
    token = desk.token()
    desk.verifier.verify(token)
    desk.clock.advance(seconds)
    if accepted:
        desk.verifier.verify(token)
    else:
        assert desk.refusal(token) == "service account token has expired"


def test_a_token_ends_with_its_account() -> None:
    desk = Desk()
    token = desk.token()
    desk.verifier.verify(token)
    desk.shelf.drop(SERVICE_ACCOUNTS, "ns", "default")
    assert desk.refusal(token) == 'serviceaccounts "default" not found'


def test_a_token_does_not_fit_an_account_of_the_same_name() -> None:
    desk = Desk()
    token = desk.token()
    again = service_account()
    again["metadata"]["uid"] = "other"
    desk.shelf.put(again)
    assert desk.refusal(token) == "service account UID (other) does not match claim (default-uid)"


def test_a_bound_token_ends_with_its_pod() -> None:
    desk = Desk()
    token = desk.token({"kind": "Pod", "apiVersion": "v1", "name": "p"})
    desk.verifier.verify(token)
    desk.shelf.drop(PODS, "ns", "p")
    assert desk.refusal(token) == "service account token has been invalidated"


@pytest.mark.parametrize(("since_s", "accepted"), [(59, True), (61, False)])
def test_a_token_of_a_terminating_pod_ends_a_minute_after_its_deletion(since_s: int, accepted: bool) -> None:
    desk = Desk()
    token = desk.token({"kind": "Pod", "apiVersion": "v1", "name": "p"})
    going = pod(nodeName="n1")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    desk.shelf.put(going)
    desk.clock.advance(since_s)
    if accepted:
        desk.verifier.verify(token)
    else:
        assert desk.refusal(token) == "service account token has been invalidated"


@pytest.mark.parametrize("kind", ["Secret", "Node"])
def test_a_token_may_be_bound_to_a_secret_or_a_node(kind: str) -> None:
    desk = Desk()
    name = {"Secret": "s", "Node": "n1"}[kind]
    token = desk.token({"kind": kind, "apiVersion": "v1", "name": name})
    desk.verifier.verify(token)
    other = {"Secret": SECRET, "Node": NODE}[kind]
    desk.shelf.put({**other, "metadata": {**other["metadata"], "uid": "new"}})
    title = kind.lower()
    assert desk.refusal(token) == (f"{title} UID (new) does not match service account {title} ref claim ({name}-uid)")


def test_a_token_for_others_is_refused_here() -> None:
    desk = Desk()
    token = desk.token(audiences=("vault", "consul"))
    assert desk.refusal(token) == (
        f'token audiences ["vault" "consul"] is invalid for the target audiences ["{DEFAULT_ISSUER}"]'
    )
    assert desk.verifier.verify(token, ("consul", "x")).audiences == ("consul",)


@pytest.mark.parametrize("text", ["", "bad", "a.b.c", "a.b", "ey.ey.ey", "x" * 20_000, "é.é.é"])
def test_what_is_no_token_is_refused_without_a_reason(text: str) -> None:
    assert Desk().refusal(text) == ""


def test_a_token_of_another_issuer_is_not_ours() -> None:
    desk = Desk()
    other = TokenSigner(KEYS, desk.clock, issuer="https://elsewhere")
    token = other.bound(
        namespace="ns", account=BoundObject("default", "default-uid"), audiences=(DEFAULT_ISSUER,), lifetime_s=600
    )
    assert desk.refusal(token) == ""


def test_a_token_signed_with_another_key_is_refused() -> None:
    desk = Desk()
    theirs = jwt_keys.from_pem((certificates.key_pem(certificates.new_key()),))
    token = TokenSigner(theirs, desk.clock).bound(
        namespace="ns", account=BoundObject("default", "default-uid"), audiences=(DEFAULT_ISSUER,), lifetime_s=600
    )
    assert desk.refusal(token) == "invalid signature, no keys found"


def test_a_changed_payload_is_refused() -> None:
    desk = Desk()
    head, body, signature = desk.token().split(".")
    claims = {**payload(f"{head}.{body}.{signature}"), "sub": "system:serviceaccount:ns:admin"}
    forged = base64.urlsafe_b64encode(encoding.dumps(claims)).rstrip(b"=").decode()
    assert "cryptographic" in desk.refusal(f"{head}.{forged}.{signature}")


def test_an_unsigned_token_is_refused() -> None:
    desk = Desk()
    _, body, _ = desk.token().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    assert desk.refusal(f"{head}.{body}.") != ""


def test_an_older_key_still_verifies() -> None:
    old, new = (certificates.key_pem(certificates.new_key()) for _ in range(2))
    desk = Desk()
    token = TokenSigner(jwt_keys.from_pem((old,)), desk.clock).bound(
        namespace="ns", account=BoundObject("default", "default-uid"), audiences=(DEFAULT_ISSUER,), lifetime_s=600
    )
    TokenVerifier(jwt_keys.from_pem((new, old)), desk.shelf, desk.clock).verify(token)


def test_a_legacy_token_lives_as_long_as_its_secret_holds_it() -> None:
    desk = Desk()
    token = desk.signer.legacy(namespace="ns", account=BoundObject("default", "default-uid"), secret="s")
    assert desk.refusal(token) == "Token has been invalidated"
    desk.shelf.put({**SECRET, "data": {"token": base64.b64encode(token.encode()).decode()}})
    desk.clock.advance(10 * 365 * 24 * 3600)
    assert desk.verifier.verify(token).user.name == "system:serviceaccount:ns:default"


@pytest.mark.parametrize(
    ("bound", "code", "message"),
    [
        ({"kind": "Pod", "apiVersion": "v1", "name": "zz"}, 404, 'pods "zz" not found'),
        (
            {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"},
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            {"kind": "Pod", "apiVersion": "v1", "name": "other"},
            400,
            'cannot bind token for serviceaccount "default" to pod running with different serviceaccount name.',
        ),
        (
            {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "other"},
            409,
            'Operation cannot be fulfilled on Secret "s": the UID in the bound object reference (other) does not match '
            "the UID in record. The object might have been deleted and then recreated",
        ),
    ],
)
def test_a_token_is_bound_only_to_what_fits(bound: Obj, code: int, message: str) -> None:
    desk = Desk()
    desk.shelf.put(pod("other", serviceAccountName="somebody"))
    with pytest.raises(ApiError) as caught:
        desk.token(bound)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_the_published_keys_are_those_that_sign() -> None:
    (key,) = KEYS.jwks()["keys"]
    assert key["kid"] == KEYS.signing_id
    assert (key["kty"], key["alg"], key["crv"], key["use"]) == ("EC", "ES256", "P-256", "sig")
    assert jwt_keys.openid_configuration("i", "u")["id_token_signing_alg_values_supported"] == ["ES256"]


def test_a_token_file_names_users_and_groups() -> None:
    users = static_tokens('t1,alice,u1,"devs, ops"\n\n# nobody\nt2,bob,u2\n')
    assert (users["t1"].name, users["t1"].uid, users["t1"].groups) == ("alice", "u1", ("devs", "ops"))
    assert users["t2"].groups == ()
    with pytest.raises(ValueError, match="line 1"):
        static_tokens("token,only")
