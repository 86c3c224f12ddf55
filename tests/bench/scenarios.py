"""What is measured, one function each: a target in, named figures out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import load
from tests.bench.target import Target

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
    fanout_events: int = 2_000
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
    """Events a second that reach all of `WATCHERS` watchers together, while writers create as fast as they can."""
    path = "/api/v1/namespaces/bench/configmaps"
    version = target.admin.call("GET", path)["metadata"]["resourceVersion"]
    watch = load.request(target.endpoint, "GET", f"{path}?watch=true&resourceVersion={version}&timeoutSeconds=120")
    writes = [
        load.request(target.endpoint, "POST", path, _configmap(f"bench-{i:05}")) for i in range(plan.fanout_events)
    ]
    wall = load.fan_out(
        target.endpoint, watch, writes, watchers=WATCHERS, marker=b'"type":"ADDED"', cpus=set(plan.cpus)
    )
    return [Figure(f"watch fan-out to {WATCHERS}", WATCHERS * plan.fanout_events / wall, "events/s", "more")]


def _configmap(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name}, "data": {"k": "v" * 512}}).encode()


def memory(target: Target, label: str) -> list[Figure]:
    if not target.pids:
        return []
    return [Figure(f"memory {label}", target.memory_bytes() / (1 << 20), "MiB", "less")]
