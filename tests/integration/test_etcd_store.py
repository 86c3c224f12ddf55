"""etcd keeps the contract, and what only a network can get wrong: against real members on loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from storage import errors
from storage.etcd import EtcdStore
from storage.event import Event, Progress, Revision
from storage.factory import open_store
from storage.store import Store
from tests import etcd_server
from tests.etcd_server import Member
from tests.integration.link import Link
from tests.storage.contract import Consumer, StoreContract, error_of, events_until, following

pytestmark = pytest.mark.integration

if etcd_server.find_etcd() is None:
    pytest.skip("no etcd binary: set ETCD_BIN or HOST_BIN", allow_module_level=True)

_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    """One member for the tests that do it no harm; each has a prefix of its own."""
    member = etcd_server.single(tmp_path_factory.mktemp("etcd"))
    yield member
    member.stop()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Member]:
    """A member that the test may kill."""
    member = etcd_server.single(tmp_path / "etcd")
    yield member
    member.kill()


@pytest.fixture
def url(shared_etcd: Member, request: pytest.FixtureRequest) -> str:
    return f"etcd://{shared_etcd.address}?prefix=/test{next(_numbers)}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EtcdStore]:
    store = await EtcdStore.open(url)
    yield store
    await store.close()


class TestEtcdStore(StoreContract):
    gapless = False

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        store = await open_store(url)
        yield store
        await store.close()


async def in_thread(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


async def write_until_it_lands(write: Callable[[], Awaitable[Revision]]) -> Revision:
    """As a client that gets 503 would. Not for OutcomeUnknown."""
    while True:
        try:
            return await write()
        except errors.StoreUnavailable:
            await asyncio.sleep(0.05)


# --- several replicas


async def test_what_one_replica_wrote_is_published_on_the_other_after_its_sync(store: EtcdStore, url: str) -> None:
    other = await EtcdStore.open(url)
    consumer = await following(other)
    for number in range(20):
        revision = await store.create(f"/a/{number}", b"")
        assert await other.sync() >= revision
        assert consumer.events[-1].revision == revision
    await consumer.stop()
    await other.close()


async def test_others_writes_outside_the_prefix_move_the_revision_and_no_event(store: EtcdStore, url: str) -> None:
    foreign = await EtcdStore.open(url + "-foreign")
    watch = store.watch("/", since=await store.sync())
    revision = await foreign.create("/a", b"")
    assert await store.sync() >= revision
    assert await events_until(watch, revision) == []
    watch.close()
    await foreign.close()


async def test_two_replicas_never_both_win(store: EtcdStore, url: str) -> None:
    other = await EtcdStore.open(url)
    created = await store.create("/a", b"0")
    races = [replica.update("/a", b"1", expected=created) for replica in (store, other) for _ in range(10)]
    results = await asyncio.gather(*races, return_exceptions=True)
    assert len([result for result in results if isinstance(result, int)]) == 1
    await other.close()


# --- bounds


async def test_a_value_too_large_for_etcd_is_refused_and_not_written(store: EtcdStore) -> None:
    with pytest.raises(errors.ValueTooLarge):
        await store.create("/a", bytes(2_000_000))
    assert await store.count("/") == 0


async def test_a_list_longer_than_a_page_is_of_one_revision(store: EtcdStore) -> None:
    await asyncio.gather(*(store.create(f"/a/{number:04}", bytes(10)) for number in range(1_203)))
    changing = asyncio.ensure_future(store.create("/a/9999", b""))
    page = await store.list("/a/")
    await changing
    assert len(page.items) == len([item for item in page.items if item.revision <= page.revision])
    assert len(page.items) in (1_203, 1_204)
    part = await store.list("/a/", limit=1_100, at=page.revision)
    assert part.items == page.items[:1_100]
    assert part.more


async def test_large_values_shrink_the_pages_and_lose_nothing(store: EtcdStore) -> None:
    value = bytes(1_000_000)
    revisions = [await store.create(f"/a/{number:02}", value) for number in range(12)]
    assert [item.revision for item in (await store.list("/a/")).items] == revisions
    events = await store.after("/a/", revisions[0] - 1, 100)
    assert [event.revision for event in events] == revisions


# --- the link


async def test_a_killed_etcd_loses_and_repeats_no_event(own_etcd: Member) -> None:
    store = await EtcdStore.open(f"etcd://{own_etcd.address}")
    since = await store.current_revision()
    consumer = Consumer(store.watch("/", since=since))
    for round_number in range(3):
        for number in range(30):
            await store.create(f"/{round_number}/{number}", b"")
        await in_thread(own_etcd.kill)
        await in_thread(own_etcd.start)
    last = await write_until_it_lands(lambda: store.create("/last", b""))
    await consumer.caught_up(last)
    seen = [event.revision for event in consumer.events]
    assert seen == [event.revision for event in await store.after("/", since, 1_000)]
    assert len(seen) == 91
    await consumer.stop()
    await store.close()


async def test_what_others_wrote_while_the_link_was_down_comes_once(shared_etcd: Member) -> None:
    prefix = f"?prefix=/test{next(_numbers)}"
    link = Link(shared_etcd.address)
    await link.open()
    direct = await EtcdStore.open(f"etcd://{shared_etcd.address}{prefix}")
    store = await EtcdStore.open(f"etcd://{link.address}{prefix}")
    consumer = await following(store)
    written: list[Revision] = []
    for round_number in range(5):
        link.cut()
        written += [await direct.create(f"/{round_number}/{number}", b"") for number in range(10)]
        link.cut()
        written += [await direct.create(f"/{round_number}/{number}", b"") for number in range(10, 20)]
    await consumer.caught_up(written[-1])
    assert [event.revision for event in consumer.events][1:] == written
    await consumer.stop()
    await store.close()
    await direct.close()
    await link.close()


async def test_a_feed_whose_place_was_compacted_ends_its_watches_and_goes_on(shared_etcd: Member) -> None:
    prefix = f"?prefix=/test{next(_numbers)}"
    link = Link(shared_etcd.address)
    await link.open()
    direct = await EtcdStore.open(f"etcd://{shared_etcd.address}{prefix}")
    store = await EtcdStore.open(f"etcd://{link.address}{prefix}")
    created = await store.create("/a", b"")
    watch = store.watch("/", since=created)
    ended = asyncio.ensure_future(error_of(watch))
    await store.sync()
    link.hold_answers()
    await direct.delete("/a", expected=created)
    newest = await direct.create("/b", b"")
    await direct.compact(newest)
    link.cut()
    link.release_answers()
    assert isinstance(await ended, errors.Compacted)
    assert await store.sync() >= newest
    again = await store.create("/c", b"")
    assert [event.revision for event in await events_until(store.watch("/", since=newest), again)] == [again]
    await store.close()
    await direct.close()
    await link.close()


async def test_a_write_whose_answer_is_lost_is_unknown_and_was_sent_once(shared_etcd: Member) -> None:
    prefix = f"?prefix=/test{next(_numbers)}"
    link = Link(shared_etcd.address)
    await link.open()
    store = await EtcdStore.open(f"etcd://{link.address}{prefix}")
    direct = await EtcdStore.open(f"etcd://{shared_etcd.address}{prefix}")
    created = await store.create("/a", b"1")
    link.hold_answers()
    writing = asyncio.ensure_future(store.update("/a", b"2", expected=created))
    # The server carries it out; its answer waits in the relay.
    await events_until(direct.watch("/a", since=created), created + 1)
    link.cut()
    link.release_answers()
    with pytest.raises(errors.OutcomeUnknown):
        await writing
    assert link.requests.count(b"request_put") == 1
    assert (await store.get("/a")).value == b"2"
    events = await store.after("/", created, 10)
    assert [event.value for event in events] == [b"2"]
    await store.close()
    await direct.close()
    await link.close()


async def test_without_its_event_a_write_is_acknowledged_after_three_seconds(shared_etcd: Member) -> None:
    prefix = f"?prefix=/test{next(_numbers)}"
    link = Link(shared_etcd.address)
    await link.open()
    store = await EtcdStore.open(f"etcd://{link.address}{prefix}")
    await store.create("/a", b"")
    # The feed's link says nothing any more; calls go over new connections.
    link.hold_answers()
    direct = await EtcdStore.open(f"etcd://{shared_etcd.address}{prefix}")
    store._client, link_client = direct._client, store._client
    started = asyncio.get_running_loop().time()
    revision = await store.create("/b", b"")
    assert 2.5 < asyncio.get_running_loop().time() - started < 6
    assert (await direct.get("/b")).revision == revision
    with pytest.raises(errors.FeedBehind):
        await store.sync()
    store._client = link_client
    link.release_answers()
    assert await store.sync() >= revision
    await store.close()
    await direct.close()
    await link.close()


async def test_a_store_that_nobody_answers_is_unavailable_and_nothing_was_written(own_etcd: Member) -> None:
    store = await EtcdStore.open(f"etcd://{own_etcd.address}")
    await in_thread(own_etcd.kill)
    calls = (store.create("/a", b""), store.get("/a"), store.sync(), store.compact(1))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [errors.StoreUnavailable] * 4
    await in_thread(own_etcd.start)
    assert await store.count("/") == 0
    await store.close()


async def test_an_etcd_that_is_not_there_is_named(tmp_path: Path) -> None:
    (port,) = etcd_server.free_ports(1)
    with pytest.raises(errors.StoreUnavailable, match=str(port)):
        await open_store(f"etcd://127.0.0.1:{port}")


# --- several endpoints


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[Member]]:
    members = etcd_server.cluster(tmp_path)
    yield members
    for member in members:
        member.kill()


async def test_writes_and_events_go_on_when_members_die_in_turn(members: list[Member]) -> None:
    addresses = ",".join(member.address for member in members)
    store = await EtcdStore.open(f"etcd://{addresses}")
    since = await store.current_revision()
    consumer = Consumer(store.watch("/", since=since))
    landed: dict[str, Revision] = {}
    unknown: set[str] = set()

    async def write(key: str) -> None:
        try:
            landed[key] = await write_until_it_lands(lambda: store.create(key, b""))
        except errors.OutcomeUnknown:
            unknown.add(key)

    for victim in members:
        writing = asyncio.gather(*(write(f"/{victim.address}/{number}") for number in range(50)))
        await in_thread(victim.kill)
        await writing
        await write(f"/{victim.address}/after")
        await in_thread(victim.start)
    last = await write_until_it_lands(lambda: store.create("/last", b""))
    await consumer.caught_up(last)
    seen = [(event.key, event.revision) for event in consumer.events]
    assert seen == [(event.key, event.revision) for event in await store.after("/", since, 1_000)]
    assert landed.items() <= dict(seen).items()
    assert {key for key, _ in seen} - landed.keys() - {"/last"} <= unknown
    await consumer.stop()
    await store.close()


async def test_a_member_that_hangs_is_left_for_another(members: list[Member]) -> None:
    addresses = ",".join(member.address for member in members)
    store = await EtcdStore.open(f"etcd://{addresses}")
    consumer = await following(store)
    used = next(member for member in members if store._client._gateway.endpoint.endswith(member.address))  # type: ignore[union-attr]
    used.pause()
    other = await EtcdStore.open(f"etcd://{','.join(each.address for each in members if each is not used)}")
    revision = await write_until_it_lands(lambda: other.create("/a", b""))
    async with asyncio.timeout(30):
        while True:
            try:
                assert await store.sync() >= revision
                break
            except (errors.FeedBehind, errors.StoreUnavailable):
                continue
    assert [event.key for event in consumer.events][-1] == "/a"
    used.resume()
    await consumer.stop()
    await store.close()
    await other.close()


# --- users


async def test_a_user_logs_in_and_again_when_its_token_is_gone(own_etcd: Member, tmp_path: Path) -> None:
    admin = await EtcdStore.open(f"etcd://{own_etcd.address}")
    for method, body in (
        ("/auth/user/add", {"name": "root", "password": "s3cret"}),
        ("/auth/role/add", {"name": "root"}),
        ("/auth/user/grant", {"user": "root", "role": "root"}),
        ("/auth/enable", {}),
    ):
        await admin._client.call(method, dict(body))
    await admin.close()
    await in_thread(lambda: (tmp_path / "password").write_text("s3cret\n"))
    store = await EtcdStore.open(f"etcd://{own_etcd.address}?user=root&password-file={tmp_path / 'password'}")
    consumer = await following(store)
    # A member's tokens are in its memory: after a restart it knows none.
    await in_thread(own_etcd.kill)
    await in_thread(own_etcd.start)
    revision = await write_until_it_lands(lambda: store.create("/a", b""))
    await consumer.caught_up(revision)
    assert all(isinstance(each, Event | Progress) for each in consumer.seen)
    await consumer.stop()
    await store.close()
    await in_thread(lambda: (tmp_path / "password").write_text("wrong"))
    with pytest.raises(errors.StoreUnavailable, match="user 'root'"):
        await EtcdStore.open(f"etcd://{own_etcd.address}?user=root&password-file={tmp_path / 'password'}")


# --- TLS


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """A CA and one certificate of it, for 127.0.0.1, as server and as client; (ca, cert, key)."""
    now = dt.datetime.now(dt.UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> bytes:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(minutes=5),
            not_valid_after=now + dt.timedelta(hours=1),
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {
        "ca.pem": certificate("test CA", ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=None)),
        "cert.pem": certificate("etcd", key, ca_key, purposes, address),
        "key.pem": key_pem,
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    ca, cert, key_file = (directory / name for name in files)
    return ca, cert, key_file


@pytest.fixture
def tls_etcd(tmp_path: Path) -> Iterator[Member]:
    ca, cert, key = make_certificates(tmp_path)
    member = etcd_server.single_with_tls(tmp_path / "etcd", ca=ca, cert=cert, key=key)
    yield member
    member.kill()


async def test_a_client_certificate_opens_an_etcd_with_tls(tls_etcd: Member, tmp_path: Path) -> None:
    files = f"ca={tmp_path / 'ca.pem'}&cert={tmp_path / 'cert.pem'}&key={tmp_path / 'key.pem'}"
    store = await EtcdStore.open(f"etcd://{tls_etcd.address}?{files}")
    consumer = await following(store)
    revision = await store.create("/a", b"1")
    assert consumer.events[-1].revision == revision
    await consumer.stop()
    await store.close()


async def test_an_etcd_of_an_unknown_authority_is_not_trusted(tls_etcd: Member) -> None:
    with pytest.raises(errors.StoreUnavailable, match="certificate verify failed"):
        await EtcdStore.open(f"https://{tls_etcd.address}")
