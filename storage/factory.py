"""`open_store(url)`: the one way to a store, by the scheme of its URL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.memory import MemoryStore
from storage.store import Store


async def open_store(url: str) -> Store:
    """An opened store; the caller closes it.

    `memory://` · `sqlite:///absolute/path` or `sqlite:relative/path` ·
    `etcd://host:port[,host:port]?prefix=/vapi` (see `etcd_client.parse_url`
    for TLS and user; `http://` and `https://` are taken as etcd's too).
    Raises ValueError for another URL, StoreLocked, UnsupportedStore,
    StoreUnavailable.
    """
    scheme = url.partition(":")[0]
    opener = _OPENERS.get(scheme)
    if opener is None:
        raise ValueError(f"no store for the scheme {scheme!r}; there is {', '.join(_OPENERS)}")
    return await opener(url)


async def _open_memory(url: str) -> Store:
    return MemoryStore()


async def _open_sqlite(url: str) -> Store:
    from storage.sqlite import SQLiteStore

    parts = urlsplit(url)
    if parts.netloc or parts.query or not parts.path:
        raise ValueError(f"{url!r} is not of the form sqlite:///absolute/path or sqlite:relative/path")
    return await SQLiteStore.open(Path(unquote(parts.path)))


async def _open_etcd(url: str) -> Store:
    # Imported on demand: aiohttp's client and etcd3 cost 0.2 s of the start, and only this backend needs them.
    from storage.etcd import EtcdStore

    return await EtcdStore.open(url)


_OPENERS: dict[str, Callable[[str], Awaitable[Store]]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "etcd": _open_etcd,
    "http": _open_etcd,
    "https": _open_etcd,
}
