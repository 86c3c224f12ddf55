"""1,000 Deployments of three on 50 nodes: how long until all are Available, and what it costs whom.

Measured from the first create to the watch event with which the last Deployment is Available; the generator and the
watch are the same for all, over HTTP. Ours is one process with the embedded host's simulated nodes, or the API server
and controllers alone with the real kube-scheduler; the other side is kube-apiserver on etcd with
kube-controller-manager and kube-scheduler, whose client rates are lifted (theirs of 20 and 50 a second would be what
is measured). Nodes that are not simulated by us are fake_kubelet's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import fake_kubelet, load, target
from tests.bench.scenarios import Figure
from tests.bench.target import Target

DEPLOYMENTS = 1_000
REPLICAS = 3
NODES = 50
CONNECTIONS = 32
LIMIT_S = 600.0
SETTLE_S = 3.0
"""After the last is Available: what still goes on (events, endpoints) is part of the CPU."""
RATES = ("--kube-api-qps=5000", "--kube-api-burst=10000")
COLLECTION = "/apis/apps/v1/namespaces/bench/deployments"

Groups = Mapping[str, tuple[int, ...]]
"""What is counted together → its processes."""


@dataclass(frozen=True, slots=True)
class Cores:
    servers: frozenset[int]
    clients: frozenset[int]

    @staticmethod
    def here() -> Cores:
        """All but one for the servers; the generator and the fake kubelets share the last."""
        cores = sorted(os.sched_getaffinity(0))
        return Cores(frozenset(cores[:-1] or cores), frozenset(cores[-1:]))


def deployment(name: str) -> bytes:
    container = {
        "name": "c",
        "image": "registry.k8s.io/pause:3.10",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    labels = {"app": name}
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return json.dumps(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    ).encode()


# --- what runs ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def embedded(cores: Cores) -> Iterator[tuple[Target, Groups]]:
    """Ours, everything in one process: API server, controllers, scheduler, syncer, a host with simulated kubelets."""
    arguments = ("--simulated-nodes", str(NODES))
    with target.ours("vapi, embedded host", *arguments, cpus=set(cores.servers)) as one:
        _until(lambda: len(one.admin.call("GET", "/api/v1/nodes")["items"]) == NODES)
        yield one, {"control plane": one.pids}


@contextlib.contextmanager
def ours_and_scheduler(cores: Cores) -> Iterator[tuple[Target, Groups]]:
    """Our API server and controllers, the real scheduler, fake kubelets."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(target.ours("vapi, kube-scheduler", "--host", "none", cpus=set(cores.servers)))
        config = _kubeconfig(stack.enter_context(target.folder()), one)
        scheduler = stack.enter_context(component("kube-scheduler", config, cores))
        yield one, _with_kubelets(stack, one, cores, {"api": one.pids, "scheduler": (scheduler,)})


@contextlib.contextmanager
def upstream(cores: Cores) -> Iterator[tuple[Target, Groups]]:
    """kube-apiserver, etcd, kube-controller-manager, kube-scheduler, fake kubelets."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(target.upstream("kube-apiserver + etcd", "--api-only", cpus=set(cores.servers)))
        folder = stack.enter_context(target.folder())
        config = _kubeconfig(folder, one)
        manager = component("kube-controller-manager", config, cores, "--leader-elect=false")
        groups = {
            "api": one.pids,
            "controllers": (stack.enter_context(manager),),
            "scheduler": (stack.enter_context(component("kube-scheduler", config, cores, "--leader-elect=false")),),
        }
        yield one, _with_kubelets(stack, one, cores, groups)


def _with_kubelets(stack: contextlib.ExitStack, one: Target, cores: Cores, groups: Groups) -> Groups:
    fake_kubelet.add_nodes(one, NODES)
    kubelets = stack.enter_context(fake_kubelet.running(one.endpoint, NODES, cores.clients))
    one.admin.await_account()
    return {**groups, "kubelets": (kubelets,)}


def _kubeconfig(folder: Path, one: Target) -> Path:
    """The admin's: who they are is not what is measured."""
    path = folder / "kubeconfig"
    path.write_text(json.dumps(one.admin.config))
    return path


@contextlib.contextmanager
def component(name: str, kubeconfig: Path, cores: Cores, *arguments: str) -> Iterator[int]:
    """The pid of a kube-controller-manager or kube-scheduler whose client is not slowed down."""
    port = target.free_port()
    command = [
        str(target.HOST_BIN / name), f"--kubeconfig={kubeconfig}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", "--authorization-always-allow-paths=/*", *RATES, *arguments,
    ]  # fmt: skip
    with (kubeconfig.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cores.servers)
        )
    try:
        time.sleep(5.0)  # its informers fill
        if process.poll() is not None:
            raise RuntimeError(f"{name}: {(kubeconfig.parent / f'{name}.log').read_text()[-2000:]}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _until(wanted: Any) -> None:
    deadline = time.monotonic() + 60
    while not wanted():
        if time.monotonic() > deadline:
            raise TimeoutError("not ready within 60 s")
        time.sleep(0.2)


# --- what is measured ---------------------------------------------------------------------------------------


def measure(started: AbstractContextManager[tuple[Target, Groups]], cores: Cores, count: int) -> list[Figure]:
    with started as (one, groups):
        idle = {group: sum(map(target.cpu_s, pids)) for group, pids in groups.items()}
        created_s, available_s = uvloop.run(_run(one, cores, count))
        time.sleep(SETTLE_S)
        cpu = {group: sum(map(target.cpu_s, pids)) - idle[group] for group, pids in groups.items()}
        peak = {group: sum(map(target.peak_bytes, pids)) for group, pids in groups.items()}
        servers = [group for group in groups if group != "kubelets"]
        figures = [
            Figure(f"{count:,} Deployments created after", created_s, "s", "less"),
            Figure("all Available after", available_s, "s", "less"),
            Figure("CPU of the control plane", sum(cpu[g] for g in servers), "s", "less"),
            Figure("peak memory of the control plane", sum(peak[g] for g in servers) / (1 << 20), "MiB", "less"),
        ]
        for group in groups:
            if group != "control plane":
                figures.append(Figure(f"CPU of {group}", cpu[group], "s", "less"))
        for group in servers:
            if group != "control plane":
                figures.append(Figure(f"peak memory of {group}", peak[group] / (1 << 20), "MiB", "less"))
        print(f"{one.name}: {[(f.name, round(f.value, 1)) for f in figures]}", file=sys.stderr)
        return figures


async def _run(one: Target, cores: Cores, count: int) -> tuple[float, float]:
    """(seconds until the last create is answered, until the last is Available)."""
    requests = [load.request(one.endpoint, "POST", COLLECTION, deployment(f"d{i:04}")) for i in range(count)]
    available: set[str] = set()
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        watching = asyncio.Event()
        watch = group.create_task(_watch(one, available, count, watching, done))
        await watching.wait()
        began = time.perf_counter()
        sending = asyncio.to_thread(
            load.run, one.endpoint, requests, connections=CONNECTIONS, processes=1, cpus=set(cores.clients)
        )
        result = await sending
        if result.errors:
            raise RuntimeError(f"{result.errors} of {result.requests} failed: {result.first_error}")
        try:
            async with asyncio.timeout(LIMIT_S):
                await done.wait()
        except TimeoutError:
            raise TimeoutError(f"{one.name}: {len(available)} of {count} are Available") from None
        ended = time.perf_counter()
        watch.cancel()
    return result.wall_s, ended - began


async def _watch(one: Target, available: set[str], count: int, watching: asyncio.Event, done: asyncio.Event) -> None:
    path = f"{COLLECTION}?watch=true&timeoutSeconds=3600"
    async for event in load.watch_events(one.endpoint, path, watching.set):
        deployment = event["object"]
        if deployment.get("status", {}).get("availableReplicas") == REPLICAS:
            available.add(deployment["metadata"]["name"])
        if len(available) == count:
            done.set()


def main(*, quick: bool, ours_only: bool) -> dict[str, list[Figure]]:
    cores = Cores.here()
    count = DEPLOYMENTS // 5 if quick else DEPLOYMENTS
    print(f"servers on cores {sorted(cores.servers)}, clients on {sorted(cores.clients)}", file=sys.stderr)
    started = {"vapi": embedded}
    if not ours_only and (target.HOST_BIN / "kube-scheduler").exists():
        started |= {"vapi + kube-scheduler": ours_and_scheduler, "Kubernetes": upstream}
    return {name: measure(start(cores), cores, count) for name, start in started.items()}
