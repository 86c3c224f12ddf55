"""What an etcd URL may say, and which etcd is too old. No network."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import errors
from storage.etcd_client import EtcdConfig, check_version, parse_url
from storage.etcd_feed import KeySpace, encode_value
from storage.event import Event, EventType


@pytest.mark.parametrize(
    ("url", "endpoints"),
    [
        ("etcd://a", ("http://a:2379",)),
        ("etcd://a:1,b:2", ("http://a:1", "http://b:2")),
        ("etcd://a:1,b:2/", ("http://a:1", "http://b:2")),
        ("http://a:1,http://b:2", ("http://a:1", "http://b:2")),
        ("https://a:1,b", ("https://a:1", "https://b:2379")),
        ("etcd://[::1]:1", ("http://[::1]:1",)),
        ("etcd://a?ca=/c", ("https://a:2379",)),
    ],
)
def test_the_endpoints_of_a_url(url: str, endpoints: tuple[str, ...]) -> None:
    assert parse_url(url).endpoints == endpoints


def test_the_options_of_a_url() -> None:
    config = parse_url("etcd://a?prefix=/x/y&ca=/ca&cert=/c&key=/k&user=u&password-file=/p")
    assert config == EtcdConfig(
        ("https://a:2379",), "/x/y/", Path("/ca"), Path("/c"), Path("/k"), user="u", password_file=Path("/p")
    )
    assert parse_url("etcd://a").prefix == "/vapi/"
    assert parse_url("etcd://a?prefix=x/").prefix == "x/"


@pytest.mark.parametrize(
    "url",
    [
        "etcd://",
        "etcd://a?colour=red",
        "etcd://user:s3cret@a",
        "etcd://a/path",
        "etcd://a?cert=/c",
        "etcd://a?user=u",
        "etcd://a,,b",
        "etcd://a:port",
    ],
)
def test_a_url_that_is_not_understood_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parse_url(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("version", ["3.4.31", "3.4.40", "3.5.13", "3.5.21-rc.1", "3.6.0", "3.7.0", "4.0.0"])
def test_an_etcd_whose_progress_can_be_trusted_is_taken(version: str) -> None:
    check_version("http://a", version)


@pytest.mark.parametrize("version", ["2.3.8", "3.3.27", "3.4.30", "3.5.0", "3.5.12"])
def test_an_older_etcd_is_refused_by_name(version: str) -> None:
    with pytest.raises(errors.UnsupportedStore, match=rf"http://a is etcd {version}; vapi needs 3.4.31 or 3.5.13"):
        check_version("http://a", version)


def test_events_of_etcd_become_events_of_the_log() -> None:
    keys = KeySpace("/vapi/")
    key = keys.encode("/ü")
    made = {"key": key, "create_revision": "5", "mod_revision": "5", "value": encode_value(b"1")}
    changed = {"key": key, "create_revision": "5", "mod_revision": "7", "value": encode_value(b"")}
    gone = {"key": key, "mod_revision": "9"}
    assert keys.event({"kv": made}) == Event(EventType.CREATED, "/ü", b"1", 5, 5)
    assert keys.event({"kv": changed, "prev_kv": made}) == Event(EventType.UPDATED, "/ü", b"", 7, 5, 5, b"1")
    deleted = keys.event({"type": "DELETE", "kv": gone, "prev_kv": {**changed, "value": encode_value(b"2")}})
    assert deleted == Event(EventType.DELETED, "/ü", b"2", 9, 5, 7)
    with pytest.raises(errors.Compacted):
        keys.event({"type": "DELETE", "kv": gone})
