"""What is measured, one function each: a target in, named figures out."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from tests.bench import load
from tests.bench.target import Endpoint, Target

PODS = "/api/v1/namespaces/bench/pods"
LISTED = 5_000
WATCHERS = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """`better` is "more" or "less"; the ratio in the report is how many times better the first target is."""

    name: str
    value: float
    unit: str
    better: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: requests a scenario, connections, and where the generator runs."""

    creates: int = 5_000
    gets: int = 20_000
    patches: int = 5_000
    lists: int = 20
    fanout_events: int = 500
    connections: int = 32
    cpus: frozenset[int] = frozenset()


def pod(name: str) -> bytes:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "bench", "tier": "load"}},
            "spec": {
                "schedulerName": "nobody",
                "containers": [
                    {
                        "name": "c",
                        "image": "registry.k8s.io/pause:3.10",
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "b"}],
                        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                    }
                ],
            },
        }
    ).encode()


def _send(target: Target, plan: Plan, requests: Sequence[bytes]) -> load.Result:
    result = load.run(target.endpoint, requests, connections=plan.connections, cpus=set(plan.cpus))
    if result.errors:
        raise RuntimeError(f"{target.name}: {result.errors} of {result.requests} failed: {result.first_error}")
    return result


def create(target: Target, plan: Plan) -> list[Figure]:
    requests = [load.request(target.endpoint, "POST", PODS, pod(f"p{i:05}")) for i in range(plan.creates)]
    result = _send(target, plan, requests)
    return [
        Figure("create pods", result.per_second, "/s", "more"),
        Figure("create p99", result.quantile(0.99) * 1e3, "ms", "less"),
    ]


def get(target: Target, plan: Plan) -> list[Figure]:
    paths = [f"{PODS}/p{i % plan.creates:05}" for i in range(plan.gets)]
    result = _send(target, plan, [load.request(target.endpoint, "GET", path) for path in paths])
    return [
        Figure("get pods", result.per_second, "/s", "more"),
        Figure("get p99", result.quantile(0.99) * 1e3, "ms", "less"),
    ]


def patch(target: Target, plan: Plan) -> list[Figure]:
    requests = [
        load.request(
            target.endpoint,
            "PATCH",
            f"{PODS}/p{i % plan.creates:05}",
            json.dumps({"metadata": {"annotations": {"bench": str(i)}}}).encode(),
            "application/merge-patch+json",
        )
        for i in range(plan.patches)
    ]
    result = _send(target, plan, requests)
    return [Figure("merge patch", result.per_second, "/s", "more")]


def list_pods(target: Target, plan: Plan) -> list[Figure]:
    """One client after the other, all pods from the latest state; the first is thrown away."""
    requests = [load.request(target.endpoint, "GET", PODS) for _ in range(plan.lists + 1)]
    load.run(target.endpoint, requests[:1], connections=1, processes=1, cpus=set(plan.cpus))
    result = load.run(target.endpoint, requests[1:], connections=1, processes=1, cpus=set(plan.cpus))
    return [Figure(f"list {LISTED:,} pods", result.quantile(0.5) * 1e3, "ms", "less")]


def fanout(target: Target, plan: Plan) -> list[Figure]:
    """Events a second that reach all of `WATCHERS` watchers while one writer patches as fast as it can."""
    gc.collect()
    delivered, wall = uvloop.run(_fanout(target.endpoint, plan))
    return [Figure(f"watch fan-out to {WATCHERS}", delivered / wall, "events/s", "more")]


async def _fanout(endpoint: Endpoint, plan: Plan) -> tuple[int, float]:
    tls = load.context(endpoint)
    path = "/api/v1/namespaces/bench/configmaps"
    wanted = plan.fanout_events
    watch = load.request(endpoint, "GET", f"{path}?watch=true&timeoutSeconds=120")
    ready = asyncio.Event()
    connected = 0

    async def watcher() -> int:
        nonlocal connected
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls, limit=1 << 22)
        writer.write(watch)
        seen = 0
        started = False
        while seen < wanted:
            data = await reader.read(1 << 18)
            if not data:
                break
            if not started:
                started = True
                connected += 1
                if connected == WATCHERS:
                    ready.set()
            seen += data.count(b'"type":"ADDED"') - data.count(b"kube-root-ca.crt") if b"bench-" in data else 0
        writer.close()
        return seen

    tasks = [asyncio.create_task(watcher()) for _ in range(WATCHERS)]
    await asyncio.wait_for(ready.wait(), 60)
    await asyncio.sleep(0.5)
    requests = [load.request(endpoint, "POST", path, _configmap(f"bench-{i:05}")) for i in range(wanted)]
    began = time.perf_counter()
    pending = iter(requests)

    async def writer() -> None:
        reader, sender = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)
        for one in pending:
            sender.write(one)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        sender.close()

    await asyncio.gather(*[writer() for _ in range(8)])
    seen = await asyncio.wait_for(asyncio.gather(*tasks), 120)
    return sum(seen), time.perf_counter() - began


def _configmap(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name}, "data": {"k": "v" * 512}}).encode()


def memory(target: Target, label: str) -> list[Figure]:
    if not target.pids:
        return []
    return [Figure(f"memory {label}", target.memory_bytes() / (1 << 20), "MiB", "less")]
