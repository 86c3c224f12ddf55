"""What the composition root works out before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.memory import MemoryStore
from vapi.config import Config, ConfigError, load
from vapi.main import host_namespace, store_id, store_url


def configured(**flags: str) -> Config:
    return load(flags, None, {})


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("memory", "memory://"),
        ("sqlite", "sqlite:///data/state.db"),
        ("etcd=http://a:1", "http://a:1?prefix=/vapi/team"),
        ("etcd=http://a:1,http://b:2/", "http://a:1,b:2?prefix=/vapi/team"),
        ("etcd=https://a:1", "https://a:1?prefix=/vapi/team"),
        ("etcd=http://a:1?ca=/x", "http://a:1?ca=/x&prefix=/vapi/team"),
        ("etcd=http://a:1?prefix=/mine", "http://a:1?prefix=/mine"),
    ],
)
def test_a_store_is_opened_by_its_url_and_shared_ones_under_our_name(store: str, url: str) -> None:
    assert store_url(configured(store=store, name="team", data_dir="/data")) == url


def test_the_namespace_on_the_host_is_the_given_one_or_named_after_us() -> None:
    assert host_namespace(configured(name="team", host_namespace="given")) == "given"
    assert host_namespace(configured(name="team")) == "vapi-team"


def test_in_a_cluster_it_is_the_namespace_of_our_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "namespace"
    monkeypatch.setattr("vapi.config.IN_CLUSTER_NAMESPACE", file)
    with pytest.raises(ConfigError, match="this is no pod of a cluster"):
        host_namespace(configured(host="in-cluster"))
    file.write_text("team-a\n")
    assert host_namespace(configured(host="in-cluster")) == "team-a"


async def test_a_store_keeps_the_identity_it_was_given_first() -> None:
    store, other = MemoryStore(), MemoryStore()
    first = await store_id(store)
    assert await store_id(store) == first
    assert await store_id(other) != first
    await store.close()
    await other.close()
