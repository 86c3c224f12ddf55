"""Tenant: how long the loop is held while a large tenant on the embedded host does typical things (design, law 9).

    python -m tests.bench.tenant [--scale 1.0] [--where] [scenario …]

The whole of `vapi serve` in this process, on SQLite: 5,000 pods (2,000 of them in `big`, 1,000 in `team`, 1,000 of
500 Deployments), 2,000 Services with their slices in `svc`, 1,000 ConfigMaps, 50 nodes, 200 Namespaces. Then all of
it again from the store; and the scheduler on a plane of its own. Every callback of the loop is timed by the CPU that
its thread takes, so that a busy machine adds little; the garbage collector is off, as in `main`.
`--where` samples what runs in the long ones, which makes them longer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.memory import MemoryStore
from sync.tenancy import Tenancy
from tests.bench.steps import Steps
from tests.planes import schemas
from vapi import main as vapi_main
from vapi.clock import SystemClock
from vapi.config import load
from vapi.control import kinds
from vapi.control.controller import Context
from vapi.control.events import EventRecorder
from vapi.control.informer import Informers
from vapi.control.scheduler.scheduler import Scheduler
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import running_plane
from vapi.registry.client import Client

DEPLOYMENTS = GVR("apps", "v1", "deployments")
PRIORITYCLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
CONFIGMAPS = GVR("", "v1", "configmaps")
QUIET_S = 0.7
AT_ONCE = 64
SHOWN = 4
LIMIT_MS = 5.0
SAMPLE_S = 0.0005


@dataclass
class Bench:
    client: Client
    tenancy: Tenancy
    scale: float
    changes: int = 0

    def of(self, count: int) -> int:
        return max(1, int(count * self.scale))

    def follow(self) -> None:
        def changed(_change: object) -> None:
            self.changes += 1

        for gvr in (kinds.PODS, kinds.SERVICES, DEPLOYMENTS, CONFIGMAPS, kinds.NODES, kinds.ENDPOINT_SLICES):
            self.client.on_change(gvr, changed)

    async def quiet(self) -> None:
        """Until nothing has changed for a while."""
        before = -1
        while before != self.changes or not self.tenancy.syncer.queue.idle:
            before = self.changes
            await asyncio.sleep(QUIET_S)
            print(f"  … {self.changes} changes, {len(self.tenancy.syncer.queue)} to sync", end="\r", file=sys.stderr)

    async def create(self, gvr: GVR, objects: Iterable[Obj]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(obj: Obj) -> None:
            async with slots:
                await self.client.create(gvr, obj)

        await asyncio.gather(*(one(obj) for obj in objects))


# --- the tenant -------------------------------------------------------------------------------------------


def named(name: str, namespace: str = "", **labels: str) -> Obj:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels}


def pod(name: str, namespace: str, **spec: Any) -> Obj:
    container = {"name": "c", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": {"cpu": "10m"}}}
    return {"metadata": named(name, namespace, app="a"), "spec": {"containers": [container], **spec}}


def deployment(name: str) -> Obj:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": named(name, "apps"), "spec": spec}


def service(name: str, **labels: str) -> Obj:
    ports = [{"port": 80}]
    return {"metadata": named(name, "svc", **labels), "spec": {"ports": ports, "selector": {"of": name}}}


async def fill(bench: Bench) -> None:
    of = bench.of
    others = [f"ns-{i:03}" for i in range(of(195))]
    await bench.create(
        kinds.NAMESPACES, ({"metadata": {"name": n}} for n in ("big", "team", "svc", "apps", "rest", *others))
    )
    accounts = bench.client.entries
    while len(list(accounts(kinds.SERVICE_ACCOUNTS))) < len(others) + 5:  # noqa: ASYNC110 - it has its own time
        await asyncio.sleep(0.1)
    await bench.create(CONFIGMAPS, ({"metadata": named(f"c-{i}", "rest"), "data": {"k": "v"}} for i in range(of(1000))))
    await bench.create(kinds.SERVICES, (service(f"s-{i}") for i in range(of(2000))))
    for namespace, count in (("big", 2000), ("team", 1000), ("rest", 1000)):
        await bench.create(kinds.PODS, (pod(f"p-{i}", namespace) for i in range(of(count))))
    await bench.create(DEPLOYMENTS, (deployment(f"d-{i}") for i in range(of(500))))


# --- what it does -----------------------------------------------------------------------------------------


async def relabel(bench: Bench) -> None:
    """The labels of a Namespace are on its pods."""
    patch = b'{"metadata":{"labels":{"turn":"%d"}}}' % time.perf_counter_ns()
    await bench.client.patch(kinds.NAMESPACES, "", "team", patch, content_type="application/merge-patch+json")


async def write_services(bench: Bench) -> None:
    for i in range(20):
        patch = b'{"metadata":{"labels":{"turn":"%d"}}}' % time.perf_counter_ns()
        await bench.client.patch(kinds.SERVICES, "svc", f"s-{i}", patch, content_type="application/merge-patch+json")


async def class_changes(bench: Bench) -> None:
    """As if every Deployment's pod were refused for want of a class."""
    syncer = bench.tenancy.syncer
    for entry in bench.client.entries(kinds.PODS):
        syncer.engine.tables.refused.add((kinds.PODS, entry.namespace, entry.name))
    syncer.reconsider()


async def dns_known(bench: Bench) -> None:
    ip = bench.tenancy.syncer.context.dns_ip
    bench.tenancy.syncer.use(dns_ip="")
    bench.tenancy._dns_known("10.96.0.10")
    await bench.quiet()
    bench.tenancy.syncer.use(dns_ip=ip)


async def node_goes(bench: Bench) -> None:
    host = bench.tenancy._host
    node = next(iter(bench.client.entries(kinds.NODES))).name
    await host.delete(kinds.NODES, "", node)


async def quota(bench: Bench) -> None:
    hard = {"pods": "10000", "requests.cpu": "10000", "services": "10000", "configmaps": "1000"}
    name = f"q-{time.perf_counter_ns()}"
    await bench.client.create(kinds.RESOURCE_QUOTAS, {"metadata": named(name, "big"), "spec": {"hard": hard}})
    await asyncio.sleep(1.0)
    await bench.create(kinds.PODS, (pod(f"{name}-{i}", "big") for i in range(20)))


async def host_relist(bench: Bench) -> None:
    bench.tenancy.syncer._informer_synced()


async def namespace_goes(bench: Bench) -> None:
    await bench.client.delete(kinds.NAMESPACES, "", "apps")
    while bench.client.cached(kinds.NAMESPACES, "", "apps") is not None:  # noqa: ASYNC110 - it has its own time
        await asyncio.sleep(0.2)


Scenario = Callable[[Bench], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {
    "namespace relabelled": relabel,
    "20 services written": write_services,
    "class changes": class_changes,
    "dns ip known": dns_known,
    "node goes": node_goes,
    "quota made": quota,
    "host relists": host_relist,
    "namespace goes": namespace_goes,
}


# --- the scheduler ----------------------------------------------------------------------------------------


def host_node(index: int, cpu: str = "8") -> Obj:
    room = {"cpu": cpu, "memory": "64Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": f"n-{index}", "topology.kubernetes.io/zone": f"z-{index % 3}"}
    return {"metadata": {"name": f"n-{index}", "labels": labels}, "status": {"capacity": room, "allocatable": room}}


def spread(app: str) -> Obj:
    selector = {"matchLabels": {"app": app}}
    constraint = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    term = {"labelSelector": {"matchLabels": {"app": "none"}}, "topologyKey": "kubernetes.io/hostname"}
    return {
        "topologySpreadConstraints": [{**constraint, "labelSelector": selector}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
    }


def asking(name: str, cpu: str, **spec: Any) -> Obj:
    made = pod(name, "default", **spec)
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return made


@contextlib.asynccontextmanager
async def scheduled(nodes: int) -> AsyncIterator[tuple[Client, Scheduler]]:
    """A plane with small nodes and a scheduler that runs."""
    clock = SystemClock()
    async with running_plane(MemoryStore(), schemas=schemas(), clock=clock) as plane:
        client = plane.client("bench")
        await client.create(kinds.NAMESPACES, {"metadata": {"name": "default"}})
        for i in range(nodes):
            await client.create(kinds.NODES, host_node(i))
            await resize(client, i, "1")
        informers = Informers(client)
        scheduler = Scheduler(Context(client, informers, EventRecorder(client, clock), clock))
        await informers.start()
        running = asyncio.create_task(scheduler.run(), name="scheduler")
        try:
            yield client, scheduler
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            informers.stop()


async def resize(client: Client, index: int, cpu: str) -> None:
    made = await client.get(kinds.NODES, "", f"n-{index}")
    await client.update(kinds.NODES, {**made, "status": host_node(index, cpu)["status"]}, subresource="status")


def _placed(client: Client) -> int:
    return sum(1 for e in client.entries(kinds.PODS) if e.fields.get("spec.nodeName"))


async def scheduling(scale: float, spec: Obj, report: Report) -> None:
    """2,000 pods, each with a demand of its own, that fit nowhere on 250 nodes; then all of them do."""
    nodes, pods = max(2, int(250 * scale)), max(2, int(2000 * scale))
    async with scheduled(nodes) as (client, scheduler):
        with report.timed("unschedulable"):
            for i in range(pods):
                await client.create(kinds.PODS, asking(f"p-{i}", f"{2000 + i}m", **spec))
            await asyncio.sleep(1)
            while not scheduler.queue.idle:  # noqa: ASYNC110 - it has its own time
                await asyncio.sleep(0.1)
        with report.timed("schedulable"):
            for i in range(nodes):
                await resize(client, i, "64")
            async with asyncio.timeout(300):
                while _placed(client) < pods:  # noqa: ASYNC110 - it has its own time
                    await asyncio.sleep(0.1)


# --- measuring --------------------------------------------------------------------------------------------


class Where:
    """Samples what the loop's thread runs."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, str]] = []
        self._main = threading.get_ident()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        sys.setswitchinterval(SAMPLE_S)
        while True:
            time.sleep(SAMPLE_S * 2)
            frame = sys._current_frames().get(self._main)
            found: list[str] = []
            while frame is not None and len(found) < 7:
                code = frame.f_code
                found.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
                frame = frame.f_back
            self.samples.append((time.perf_counter(), " < ".join(found)))

    def within(self, began: float, ended: float) -> list[tuple[str, int]]:
        return Counter(what for at, what in self.samples if began <= at <= ended).most_common(6)


class Report:
    def __init__(self, where: Where | None, chosen: list[str]) -> None:
        self._where = where
        self._chosen = chosen

    def wants(self, name: str) -> bool:
        return not self._chosen or any(each in name for each in self._chosen)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        steps = Steps(time.thread_time)
        began = time.perf_counter()
        with steps.timed():
            yield
        took = time.perf_counter() - began
        longest = steps.longest[0].ms if steps.longest else 0.0
        print(
            f"{'!' if longest > LIMIT_MS else ' '} {name:24} {took:6.1f} s, longest step {longest:6.1f} ms", flush=True
        )
        for step in steps.longest[:SHOWN]:
            if step.ms > LIMIT_MS:
                print(f"      {step.ms:6.1f} ms  {step.what}", flush=True)
                for what, count in self._where.within(step.began, step.ended) if self._where else ():
                    print(f"                {count:4} {what}")


@contextlib.asynccontextmanager
async def tenant(directory: Path, scale: float) -> AsyncIterator[Bench]:
    flags = {"name": "steps", "data_dir": str(directory), "listen": "127.0.0.1:0", "dns": "none"}
    nodes = {"simulated_nodes": str(max(2, int(50 * scale))), "host_rate": "0"}
    found: list[Tenancy] = []

    class Seen(Tenancy):
        def __init__(self, **parts: Any) -> None:
            super().__init__(**parts)
            found.append(self)

    setattr(vapi_main, "Tenancy", Seen)  # noqa: B010 - the running cluster does not show its syncer
    try:
        async with vapi_main.virtual_cluster(load({**flags, **nodes}, None, {})) as cluster:
            bench = Bench(cluster.plane.client("bench"), found[0], scale)
            gc.collect()
            gc.freeze()  # as `main.serve` does
            bench.follow()
            await found[0].syncer.synced.wait()
            while not await _gets_numbers(bench.client):  # noqa: ASYNC110 - it has its own time
                await asyncio.sleep(0.1)
            yield bench
    finally:
        setattr(vapi_main, "Tenancy", Tenancy)  # noqa: B010


async def _gets_numbers(client: Client) -> bool:
    """503 until the host is known."""
    try:
        await client.create(kinds.SERVICES, {**service("first"), "metadata": named("first", "default")})
    except ApiError as error:
        return error.code == 409
    return True


async def measure(scale: float, report: Report) -> None:
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="vapi-tenant-") as directory:
        if any(report.wants(name) for name in (*SCENARIOS, "start", "filled")):
            async with tenant(Path(directory), scale) as bench:
                with report.timed("filled"):
                    await fill(bench)
                    await bench.quiet()
            gc.collect()
            async with contextlib.AsyncExitStack() as stack:
                with report.timed("start"):
                    bench = await stack.enter_async_context(tenant(Path(directory), scale))
                    await bench.quiet()
                gc.collect()
                gc.freeze()
                for name, scenario in SCENARIOS.items():
                    if report.wants(name):
                        with report.timed(name):
                            await asyncio.create_task(_named(scenario, bench), name="bench")
                            await bench.quiet()
    for name, spec in (("scheduler", {}), ("scheduler spread", spread("a"))):
        if report.wants(name):
            print(name)
            await scheduling(scale, spec, report)


async def _named(scenario: Scenario, bench: Bench) -> None:
    await scenario(bench)


def main() -> None:
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--where", action="store_true")
    parser.add_argument("scenarios", nargs="*", help=", ".join(SCENARIOS))
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.scale, Report(Where() if chosen.where else None, chosen.scenarios)))


if __name__ == "__main__":
    main()
