"""Sync: how fast what the tenant creates is on a real host, and what it costs us. The host has no nodes.

Seen with watches of the host: what counts is when its watchers hear of an object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench import load, target
from tests.bench.scenarios import Figure
from tests.bench.target import Endpoint, Target

HOST_NAMESPACE = "tenant"
PACED_PER_S = 50
PACED_S = 10.0
BURST = 1_000
CLIENTS = 32
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where, so that nobody is measured in another's shadow."""

    vapi: frozenset[int]
    host: frozenset[int]
    clients: frozenset[int]

    @staticmethod
    def of(cores: Sequence[int]) -> Cores:
        ours, rest = cores[:1], cores[1:] or cores
        return Cores(frozenset(ours), frozenset(rest[:-1] or rest), frozenset(rest[-1:]))


@dataclass
class Seen:
    """What the host's watches told: per kind and host name, when it came; gone ones are taken out."""

    at: dict[str, dict[str, float]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, kind: str, event: str, name: str) -> None:
        if event == "DELETED":
            self.at[kind].pop(name, None)
        else:
            self.at[kind].setdefault(name, time.perf_counter())
        self.changed.set()
        self.changed.clear()

    async def until(self, wanted: Callable[[], bool]) -> float:
        """When it was so. Raises TimeoutError."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while not wanted():
                    await self.changed.wait()
        except TimeoutError:
            raise TimeoutError(f"on the host: {[(kind, len(names)) for kind, names in self.at.items()]}") from None
        return time.perf_counter()


@contextlib.asynccontextmanager
async def watching(host: Endpoint, *kinds: str, namespace: str = HOST_NAMESPACE) -> AsyncIterator[Seen]:
    seen = Seen({kind: {} for kind in kinds})
    tls = load.context(host)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_watch(host, tls, namespace, kind, seen)) for kind in kinds]
        await asyncio.sleep(0.5)
        yield seen
        for task in tasks:
            task.cancel()


async def _watch(host: Endpoint, tls: ssl.SSLContext, namespace: str, kind: str, seen: Seen) -> None:
    """Again from its last revision when the host ends it, as it does with one that lags."""
    revision = ""
    while True:
        reader, writer = await asyncio.open_connection(host.host, host.port, ssl=tls, limit=1 << 22)
        path = f"/api/v1/namespaces/{namespace}/{kind}?watch=true&timeoutSeconds=3600&resourceVersion={revision}"
        request = load.request(host, "GET", path).replace(
            b"Accept: application/json", b"Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunk = await reader.readexactly(size + 2)
            *lines, rest = (rest + chunk[:-2]).split(b"\n")
            for line in lines:
                event = json.loads(line)
                metadata = event["object"]["metadata"]
                revision = metadata["resourceVersion"]
                seen.note(kind, event["type"], metadata["name"])
        print(f"the host ended the watch of {kind}", file=sys.stderr)
        writer.close()


def pod(name: str) -> bytes:
    container = {
        "name": "c",
        "image": "registry.k8s.io/pause:3.10",
        "envFrom": [{"configMapRef": {"name": name}}],
        "volumeMounts": [{"name": "s", "mountPath": "/s"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    spec = {"containers": [container], "volumes": [{"name": "s", "secret": {"secretName": name}}]}
    return _body("Pod", name, spec=spec)


def _body(kind: str, name: str, **fields: object) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}).encode()


def with_references(name: str) -> list[tuple[str, bytes]]:
    data = {"k": "v" * 100}
    return [
        ("configmaps", _body("ConfigMap", name, data=data)),
        ("secrets", _body("Secret", name, stringData=data)),
        ("pods", pod(name)),
    ]


def host_name(name: str) -> str:
    return f"{name}-x-bench-x-vapi"


# --- the three scenarios ----------------------------------------------------------------------------------


async def paced(one: Target, host: Endpoint, cores: Cores) -> list[Figure]:
    """Pods at a steady rate: from the sending of the create until the host's watchers know; and the host by itself."""
    through_us = await _paced(one.endpoint, host, HOST_NAMESPACE, host_name)
    alone = await _paced(host, host, "bench", str)
    return [
        Figure(
            f"create to {what} at {PACED_PER_S}/s, p{q}", latencies[int(len(latencies) * q / 100)] * 1e3, "ms", "less"
        )
        for what, latencies in (("host", through_us), ("watcher, the host alone,", alone))
        for q in (50, 99)
    ]


async def _paced(server: Endpoint, host: Endpoint, namespace: str, name_there: Callable[[str], str]) -> list[float]:
    """Seconds from sending to hearing of it, sorted. Created in the namespace `bench` of `server`."""
    names = [f"paced{i:04}" for i in range(int(PACED_PER_S * PACED_S))]
    sent: dict[str, float] = {}
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    tls = load.context(server)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=tls)
        while (name := await queue.get()) is not None:
            writer.write(load.request(server, "POST", "/api/v1/namespaces/bench/pods", _plain_pod(name)))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(head.decode())
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    async with watching(host, "pods", namespace=namespace) as seen, asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())
        await asyncio.sleep(0.2)
        began = time.perf_counter()
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began + number / PACED_PER_S - time.perf_counter()))
            sent[name] = time.perf_counter()
            queue.put_nowait(name)
        for _ in range(8):
            queue.put_nowait(None)
        there = seen.at["pods"]
        await seen.until(lambda: all(name_there(n) in there for n in names))
    return sorted(there[name_there(n)] - sent[n] for n in names)


def _plain_pod(name: str) -> bytes:
    return _body("Pod", name, spec={"containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}]})


async def burst(one: Target, host: Endpoint, cores: Cores) -> list[Figure]:
    """`BURST` pods, each with its own ConfigMap and Secret, as fast as clients can; then all deleted."""
    names = [f"burst{i:04}" for i in range(BURST)]
    collection = "/api/v1/namespaces/bench"
    creates = [
        load.request(one.endpoint, "POST", f"{collection}/{plural}", body)
        for name in names
        for plural, body in with_references(name)
    ]
    deletes = [
        load.request(one.endpoint, "DELETE", f"{collection}/{plural}/{name}")
        for plural in ("pods", "configmaps", "secrets")
        for name in names
    ]
    kinds = ("pods", "configmaps", "secrets")
    async with watching(host, *kinds) as seen:
        before = {kind: len(names) for kind, names in seen.at.items()}
        everything = {"pods": BURST, "configmaps": BURST, "secrets": 2 * BURST}  # each pod has a token Secret
        figures: list[Figure] = []
        for what, requests, more in (
            ("created", creates, everything),
            ("deleted", deletes, dict.fromkeys(kinds, 0)),
        ):
            cpu, began = one.cpu_s(), time.perf_counter()
            sending = asyncio.create_task(asyncio.to_thread(_send, one, requests, cores))
            arrivals = [seen.until(partial(_counts, seen, kind, before[kind] + more[kind])) for kind in kinds]
            when = dict(zip(kinds, await asyncio.gather(*arrivals), strict=True))
            await sending
            name = f"{BURST:,} pods with ConfigMap and Secret"
            figures += [
                Figure(f"{name} {what}, on the host after", max(when.values()) - began, "s", "less"),
                Figure(f"{name} {what}, the pods alone", when["pods"] - began, "s", "less"),
                Figure(f"{name} {what}, answered after", sending.result(), "s", "less"),
            ]
            await asyncio.sleep(1.0)
            figures.append(Figure(f"{name} {what}, our CPU", one.cpu_s() - cpu, "s", "less"))
    return figures


def _counts(seen: Seen, kind: str, wanted: int) -> bool:
    return len(seen.at[kind]) == wanted


def _send(one: Target, requests: Sequence[bytes], cores: Cores) -> float:
    result = load.run(one.endpoint, requests, connections=CLIENTS, processes=1, cpus=set(cores.clients))
    if result.errors:
        raise RuntimeError(f"{result.errors} of {result.requests} failed: {result.first_error}")
    return result.wall_s


# --- run ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def on_a_host(cores: Cores, *arguments: str) -> Iterator[tuple[Target, Endpoint]]:
    """Ours on a host of its own, and where the host is watched."""
    with target.upstream("host", cpus=set(cores.host)) as host, tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "host.kubeconfig"
        kubeconfig.write_text(json.dumps(host.admin.config))
        where = ("--host", f"kubeconfig={kubeconfig}", "--host-namespace", HOST_NAMESPACE, "--host-rate", "0")
        with target.ours("vapi", *where, *arguments, cpus=set(cores.vapi)) as one:
            yield one, host.endpoint


def measure(cores: Cores, *arguments: str) -> list[Figure]:
    figures: list[Figure] = []
    with on_a_host(cores, *arguments) as (one, host):
        for scenario in (paced, burst):
            figures += asyncio.run(scenario(one, host, cores))
            print(f"{scenario.__name__} done", file=sys.stderr)
        figures.append(Figure("memory after", one.memory_bytes() / (1 << 20), "MiB", "less"))
    return figures


def main() -> dict[str, list[Figure]]:
    cores = Cores.of(sorted(os.sched_getaffinity(0)))
    print(
        f"vapi on {sorted(cores.vapi)}, host on {sorted(cores.host)}, clients on {sorted(cores.clients)}",
        file=sys.stderr,
    )
    return {"vapi on a real host": measure(cores)}
