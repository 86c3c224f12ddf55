"""Authentication: what was presented → who it is."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.vapi.auth.shelf import Shelf, service_account
from tests.vapi.control.clock import FakeClock
from vapi.auth import certificates, jwt_keys
from vapi.auth.authenticator import Anonymous, Authenticator, bearer, is_health_path
from vapi.auth.tokens import BoundObject, TokenSigner, TokenVerifier
from vapi.authorizer import ANONYMOUS, User
from vapi.errors import ApiError

CLOCK = FakeClock()
CA = certificates.new_ca("ca", now=CLOCK.now())
KEYS = jwt_keys.from_pem((certificates.key_pem(certificates.new_key()),))
SHELF = Shelf(service_account())
STATIC = {"secret": User("carol", "c", ("devs",))}


def authenticator(clock: FakeClock = CLOCK, anonymous: Anonymous = Anonymous.HEALTH) -> Authenticator:
    return Authenticator(TokenVerifier(KEYS, SHELF, clock), clock, static=STATIC, anonymous=anonymous)


def certificate(user: str, *groups: str, uid: str = "") -> bytes:
    pair = certificates.new_client(CA, user, groups, uid=uid, now=CLOCK.now())
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def service_account_token() -> str:
    account = BoundObject("default", "default-uid")
    signer = TokenSigner(KEYS, CLOCK)
    return signer.bound(namespace="ns", account=account, audiences=(signer.issuer,), lifetime_s=600)


def refused(who: Authenticator, authorization: str | None, der: bytes | None = None, path: str = "") -> bool:
    with pytest.raises(ApiError) as caught:
        who.authenticate(authorization, der, path)
    return (caught.value.code, caught.value.message) == (401, "Unauthorized")


def test_a_certificate_is_its_subject() -> None:
    user = authenticator().authenticate(None, certificate("alice", "devs", "ops", uid="u"))
    assert (user.name, user.uid, user.groups) == ("alice", "u", ("devs", "ops", "system:authenticated"))


def test_a_certificate_wins_over_a_token() -> None:
    assert authenticator().authenticate("Bearer secret", certificate("alice")).name == "alice"


def test_an_expired_certificate_is_nobody_on_a_connection_that_outlived_it() -> None:
    clock = FakeClock()
    who, der = authenticator(clock), certificate("alice")
    assert who.authenticate(None, der).name == "alice"
    clock.advance(certificates.LEAF_LIFE.total_seconds() + 1)
    assert refused(who, None, der)


def test_a_certificate_that_does_not_count_is_not_nobody() -> None:
    assert refused(authenticator(anonymous=Anonymous.ALL), None, _nameless(), "/healthz")


def test_a_static_token_is_its_user() -> None:
    user = authenticator().authenticate("Bearer secret", None)
    assert (user.name, user.groups) == ("carol", ("devs", "system:authenticated"))


def test_a_service_account_token_is_its_account() -> None:
    user = authenticator().authenticate(f"bearer {service_account_token()}", None)
    assert user.name == "system:serviceaccount:ns:default"


@pytest.mark.parametrize("mode", Anonymous)
def test_a_bad_token_is_refused_even_where_nothing_would_do(mode: Anonymous) -> None:
    assert refused(authenticator(anonymous=mode), "Bearer not-a-token", None, "/healthz")


@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearer ", "secret"])
def test_other_headers_present_nothing(authorization: str | None) -> None:
    assert refused(authenticator(), authorization, None, "/api")
    assert authenticator(anonymous=Anonymous.ALL).authenticate(authorization, None, "/api") is ANONYMOUS


@pytest.mark.parametrize(
    ("mode", "path", "allowed"),
    [
        (Anonymous.OFF, "/healthz", False),
        (Anonymous.HEALTH, "/healthz", True),
        (Anonymous.HEALTH, "/api/v1/pods", False),
        (Anonymous.ALL, "/api/v1/pods", True),
    ],
)
def test_who_presents_nothing_gets_as_far_as_the_mode_says(mode: Anonymous, path: str, allowed: bool) -> None:
    who = authenticator(anonymous=mode)
    if allowed:
        assert who.authenticate(None, None, path) is ANONYMOUS
    else:
        assert refused(who, None, None, path)


@pytest.mark.parametrize(
    ("path", "health"),
    [
        ("/version", True),
        ("/version/", True),
        ("/livez", True),
        ("/readyz/ping", True),
        ("/versions", False),
        ("/healthzz", False),
        ("/api", False),
        ("/", False),
        ("", False),
    ],
)
def test_health_paths_are_known(path: str, health: bool) -> None:
    assert is_health_path(path) is health


def test_the_scheme_of_a_token_has_no_case() -> None:
    assert bearer("bEaReR  x ") == "x"


def test_a_subject_without_a_common_name_is_nobody() -> None:
    assert refused(authenticator(), None, _nameless())


def _nameless() -> bytes:
    from cryptography.hazmat.primitives import hashes

    key = certificates.new_key()
    empty = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(empty).issuer_name(empty).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(CLOCK.now()).not_valid_after(CLOCK.now() + certificates.CA_LIFE)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
