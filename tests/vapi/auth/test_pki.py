"""Keys and certificates: strict clients accept them, files survive restarts, leaves are renewed in time."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from storage.memory import MemoryStore
from tests.vapi.auth.shelf import Shelf
from tests.vapi.control.clock import FakeClock
from vapi.auth import certificates, kubeconfig, pki
from vapi.auth.authenticator import Authenticator
from vapi.auth.jwt_keys import from_pem
from vapi.auth.tokens import TokenVerifier
from vapi.clock import SystemClock

NAMES = pki.serving_names(service_ip="10.96.0.1", others=("vapi.example",))


class TodaysClock(FakeClock):
    """Begins now, because OpenSSL has a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._start = dt.datetime.now(dt.UTC)


def made(directory: Path, clock: FakeClock) -> pki.Pki:
    keys = pki.Pki(directory, pki.load_or_create(directory, name="test", clock=clock), clock)
    keys.ensure_serving(NAMES)
    return keys


def strict_client(keys: pki.Pki, directory: Path, *, user: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=keys.ca_certificate.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if user:
        pair = keys.client(user, ("devs", "ops"), uid=f"{user}-uid")
        path = directory / "client.pem"
        path.write_bytes(pair.certificate + pair.key)
        context.load_cert_chain(path)
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """Both sides in memory; answers the server's. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = {here, there}
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return here
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize(
    "name", ["kubernetes.default.svc", "localhost", "127.0.0.1", "::1", "10.96.0.1", "vapi.example"]
)
def test_a_strict_client_trusts_the_server_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    keys = made(tmp_path, TodaysClock())
    shake_hands(keys.server_context(), strict_client(keys, tmp_path), name)


def test_a_client_that_asks_for_another_name_is_refused(tmp_path: Path) -> None:
    keys = made(tmp_path, TodaysClock())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(keys.server_context(), strict_client(keys, tmp_path), "elsewhere.example")


def test_a_client_certificate_is_its_user(tmp_path: Path) -> None:
    keys = made(tmp_path, TodaysClock())
    connection = shake_hands(keys.server_context(), strict_client(keys, tmp_path, user="alice"), "localhost")
    tokens = TokenVerifier(from_pem(keys.material.token_keys), Shelf(), SystemClock())
    user = Authenticator(tokens, SystemClock()).authenticate(None, connection.getpeercert(binary_form=True))
    assert (user.name, user.uid, user.groups) == ("alice", "alice-uid", ("devs", "ops", "system:authenticated"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


def test_a_client_certificate_of_another_ca_is_refused(tmp_path: Path) -> None:
    ours, theirs = made(tmp_path / "a", TodaysClock()), made(tmp_path / "b", TodaysClock())
    client = strict_client(ours, tmp_path)
    pair = theirs.client("mallory", ("system:masters",))
    (tmp_path / "client.pem").write_bytes(pair.certificate + pair.key)
    client.load_cert_chain(tmp_path / "client.pem")
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # so that the refusal comes within the handshake
    with pytest.raises(ssl.SSLError):
        shake_hands(ours.server_context(), client, "localhost")


def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    keys = made(tmp_path, FakeClock())
    keys.ensure_admin()
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("*.key")}
    names = ("ca", "sa", "front-proxy-ca", "apiserver", "admin")
    assert modes == {f"{name}.key": "0o600" for name in names}


def test_a_restart_finds_the_same_keys(tmp_path: Path) -> None:
    clock = FakeClock()
    first = made(tmp_path, clock)
    second = pki.Pki(tmp_path, pki.load_or_create(tmp_path, clock=clock), clock)
    assert second.material == first.material
    assert not second.ensure_serving(NAMES)


def test_other_names_make_another_serving_certificate(tmp_path: Path) -> None:
    keys = made(tmp_path, FakeClock())
    assert keys.ensure_serving((*NAMES, "10.0.0.9"))
    assert certificates.serves(keys.serving_paths[0].read_bytes(), (*NAMES, "10.0.0.9"))
    assert not keys.ensure_serving((*NAMES, "10.0.0.9"))


@pytest.mark.parametrize(("days", "renewed"), [(250, False), (260, True), (400, True)])
def test_leaves_are_renewed_when_less_than_a_third_of_their_life_is_left(
    tmp_path: Path, days: int, renewed: bool
) -> None:
    clock = FakeClock()
    keys = made(tmp_path, clock)
    keys.ensure_admin()
    clock.advance(days * 24 * 3600)
    assert keys.ensure_serving(NAMES) is renewed
    assert keys.ensure_admin()[1] is renewed


def test_a_certificate_without_its_key_is_made_anew(tmp_path: Path) -> None:
    keys = made(tmp_path, FakeClock())
    keys.serving_paths[1].write_bytes(certificates.key_pem(certificates.new_key()))
    assert keys.ensure_serving(NAMES)


def test_a_new_ca_makes_new_leaves(tmp_path: Path) -> None:
    clock = FakeClock()
    keys = made(tmp_path, clock)
    other = pki.Pki(tmp_path, pki.generate("other", clock), clock)
    assert other.ensure_serving(NAMES)
    assert not certificates.signed_by(other.serving_paths[0].read_bytes(), keys.ca_certificate)


def test_the_swapped_certificate_serves_new_handshakes(tmp_path: Path) -> None:
    keys = made(tmp_path, TodaysClock())
    context = keys.server_context()
    keys.ensure_serving(("new.example",))
    keys.reload(context)
    shake_hands(context, strict_client(keys, tmp_path), "new.example")


def test_a_directory_of_before_there_was_a_front_proxy_keeps_its_ca_and_gets_one(tmp_path: Path) -> None:
    clock = FakeClock()
    older = replace(pki.generate("test", clock), front_proxy=None)
    pki.save(tmp_path, older)
    found = pki.load_or_create(tmp_path, clock=clock)
    assert replace(found, front_proxy=None) == older
    assert found.front_proxy is not None
    assert pki.load_or_create(tmp_path, clock=clock) == found


async def test_a_shared_store_of_before_there_was_a_front_proxy_gets_one_for_all(tmp_path: Path) -> None:
    store, clock = MemoryStore(), FakeClock()
    older = replace(pki.generate("test", clock), front_proxy=None)
    await store.create(pki.STORE_KEY, pki.encode(older))
    first = await pki.load_or_create_in_store(store, tmp_path / "a", clock=clock)
    second = await pki.load_or_create_in_store(store, tmp_path / "b", clock=clock)
    assert first == second == replace(older, front_proxy=first.front_proxy)
    assert first.front_proxy is not None
    await store.close()


async def test_all_replicas_get_the_material_of_the_first(tmp_path: Path) -> None:
    store, clock = MemoryStore(), FakeClock()
    first = await pki.load_or_create_in_store(store, tmp_path / "a", clock=clock)
    second = await pki.load_or_create_in_store(store, tmp_path / "b", clock=clock)
    assert first == second == pki.load(tmp_path / "b")
    await store.close()


async def test_a_cluster_that_moves_to_a_shared_store_keeps_its_ca(tmp_path: Path) -> None:
    store, clock = MemoryStore(), FakeClock()
    local = pki.load_or_create(tmp_path, clock=clock)
    assert await pki.load_or_create_in_store(store, tmp_path, clock=clock) == local
    await store.close()


async def test_the_shared_store_wins_over_a_directory_with_other_keys(tmp_path: Path) -> None:
    store, clock = MemoryStore(), FakeClock()
    shared = await pki.load_or_create_in_store(store, tmp_path / "a", clock=clock)
    pki.load_or_create(tmp_path / "b", clock=clock)
    assert await pki.load_or_create_in_store(store, tmp_path / "b", clock=clock) == shared
    assert pki.load(tmp_path / "b") == shared
    await store.close()


def test_a_leaf_never_outlives_its_ca() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ca = certificates.new_ca("ca", now=now)
    late = now + certificates.CA_LIFE - dt.timedelta(days=10)
    leaf = x509.load_pem_x509_certificate(certificates.new_client(ca, "u", now=late).certificate)
    assert leaf.not_valid_after_utc == now + certificates.CA_LIFE


def test_the_kubeconfig_is_private_and_complete(tmp_path: Path) -> None:
    keys = made(tmp_path, FakeClock())
    admin, _ = keys.ensure_admin()
    path = tmp_path / "kubeconfig"
    config = kubeconfig.kubeconfig(server="https://127.0.0.1:6443", ca=keys.ca_certificate, name="demo", client=admin)
    kubeconfig.write(path, config)
    loaded = yaml.safe_load(path.read_bytes())
    assert path.stat().st_mode & 0o777 == 0o600
    assert loaded["current-context"] == "demo"
    assert loaded["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(loaded["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_an_unchanged_kubeconfig_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    kubeconfig.write(path, b"a")
    written = path.stat().st_ino
    kubeconfig.write(path, b"a")
    assert path.stat().st_ino == written
    kubeconfig.write(path, b"b")
    assert path.read_bytes() == b"b"
    assert [p.name for p in tmp_path.iterdir()] == ["kubeconfig"]
