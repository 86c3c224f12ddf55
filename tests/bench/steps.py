"""Steps: how long the loop is held, by what is known to be long (design, law 9). By hand:

    python -m tests.bench.steps [--objects 20000] [scenario …]

Every callback of the loop is timed. The longest ones of each scenario are
printed with what they ran; above 10 ms they want slicing. The garbage collector is off, as in `main`.
A machine that is busy adds to the numbers: look at the shortest of some runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import tempfile
import time
from asyncio import Handle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.sqlite import SQLiteStore
from tests.tools.fuzz import server
from vapi import encoding
from vapi.endpoints.dispatch import Dispatcher
from vapi.endpoints.http import ApiRequest, PlainHeaders
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PODS = "/api/v1/namespaces/bench/pods"
CONFIGMAPS = "/api/v1/namespaces/bench/configmaps"
SHOWN = 3
LIMIT_MS = 10.0
AT_ONCE = 64


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One callback. `began` and `ended` are of the monotonic clock, `ms` of the clock that was chosen."""

    ms: float
    what: str
    began: float
    ended: float


class Steps:
    """The longest callbacks while it is entered. `clock`: `time.thread_time` counts CPU alone."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.longest: list[Step] = []
        self._clock = clock

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        original, clock = Handle._run, self._clock

        def run(handle: Handle) -> None:
            text = _text(handle)
            began, started = time.perf_counter(), clock()
            original(handle)
            duration = clock() - started
            if duration > 0.002:
                self.longest.append(Step(duration * 1000, text, began, time.perf_counter()))

        setattr(Handle, "_run", run)  # noqa: B010 - typeshed has it as a method
        try:
            yield
        finally:
            setattr(Handle, "_run", original)  # noqa: B010
            self.longest.sort(reverse=True)


def _text(handle: Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine: Any = owner.get_coro()
        inner = coroutine
        while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_code"):
            inner = inner.cr_await
        where = getattr(inner, "cr_code", None)
        return f"{owner.get_name()} {coroutine.__qualname__} … {where.co_qualname if where else inner}"
    return repr(callback)[:100]


class Bench:
    def __init__(self, plane: ControlPlane, dispatcher: Dispatcher, store: SQLiteStore) -> None:
        self.plane = plane
        self.store = store
        self._dispatcher = dispatcher

    async def send(self, method: str, target: str, body: bytes = b"", *, accept: str = "application/json") -> int:
        """The status; the body is read to its end, a turn of the loop for each piece."""
        headers = PlainHeaders({"Authorization": "Bearer admin", "Accept": accept, "Content-Type": "application/json"})
        response = await self._dispatcher.dispatch(ApiRequest(method, target, headers, body))
        if response.stream is not None:
            async for _ in response.stream:
                await asyncio.sleep(0)
        return response.status

    async def watch(self, target: str) -> None:
        """Until two seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.send("GET", target)

    async def fill(self, gvr: GVR, count: int, make: Callable[[int], Obj]) -> None:
        """Written past the API: it is not what is measured."""
        kind = self.plane.catalog.of(gvr).stored
        assert kind is not None
        slots = asyncio.Semaphore(AT_ONCE * 4)

        async def one(index: int) -> None:
            async with slots:
                obj = make(index)
                key = kind.key("bench", obj["metadata"]["name"])
                await self.store.create(key, encoding.encode_stored(obj, kind.value_prefix))

        await asyncio.gather(*(one(index) for index in range(count)))


def pod(index: int) -> Obj:
    container = {
        "name": "main",
        "image": "registry.example.com/team/application:1.2.3",
        "env": [{"name": f"VARIABLE_{number}", "value": "some value"} for number in range(12)],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "metadata": {
            "name": f"pod-{index:06}",
            "namespace": "bench",
            "uid": f"00000000-0000-4000-8000-{index:012}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": f"a{index % 10}", "tier": "x"},
        },
        "spec": {"containers": [container], "nodeName": f"node-{index % 100}", "restartPolicy": "Always"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{"name": "main", "ready": True}]},
    }


def configmap(index: int) -> Obj:
    metadata = {"name": f"c-{index:06}", "namespace": "bench", "uid": str(index), "labels": {"app": "x"}}
    return {"metadata": metadata, "data": {"key": "value" * 20}}


def large_body(size: int) -> bytes:
    """Small maps, the slowest to decode; refused as a ConfigMap of that size, after it was read."""
    data = {f"key-{index:08}": "v" * 24 for index in range(size // 45)}
    metadata = {"name": "large", "namespace": "bench"}
    return encoding.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


async def _pages(bench: Bench) -> None:
    token = ""
    while True:
        listing = await bench.plane.registry.list(
            bench.plane.catalog.of(GVR("", "v1", "pods")), "bench", _options(token)
        )
        if not listing.continue_token:
            return
        token = listing.continue_token
        # so that the pages after the first come from the log, not from the view
        name = f"p-{time.perf_counter_ns()}"
        await bench.send("POST", CONFIGMAPS, encoding.dumps({"metadata": {"name": name}}))


def _options(token: str) -> Any:
    from vapi.registry.caller import ListOptions

    return ListOptions(limit=500, continue_token=token)


async def _delete_collection(bench: Bench) -> None:
    await bench.send("DELETE", CONFIGMAPS)


async def _restart(bench: Bench) -> None:
    from tests.planes import schemas
    from vapi.plane import running_plane

    async with running_plane(bench.store, schemas=schemas()):
        pass


SCENARIOS: dict[str, Callable[[Bench], Awaitable[Any]]] = {
    "list JSON": lambda bench: bench.send("GET", PODS),
    "list Table": lambda bench: bench.send("GET", PODS, accept=TABLE),
    "list metadata": lambda bench: bench.send("GET", PODS, accept=PARTIAL),
    "list by label": lambda bench: bench.send("GET", f"{PODS}?labelSelector=app%3Da3"),
    "list by label, none": lambda bench: bench.send("GET", f"{PODS}?labelSelector=app%3Dnone"),
    "list by field": lambda bench: bench.send("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dnode-3"),
    "list all namespaces": lambda bench: bench.send("GET", "/api/v1/pods?limit=19000"),
    "list YAML of 500": lambda bench: bench.send("GET", f"{PODS}?limit=500", accept="application/yaml"),
    "list pretty": lambda bench: bench.send("GET", f"{PODS}?pretty=true"),
    "pages": _pages,
    "watch from the start": lambda bench: bench.watch(f"{PODS}?watch=true"),
    "watch by label, none": lambda bench: bench.watch(f"{PODS}?watch=true&labelSelector=app%3Dnone"),
    "watch list": lambda bench: bench.watch(
        f"{PODS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    ),
    "delete 5000": _delete_collection,
    "body of 3 MB": lambda bench: bench.send("POST", CONFIGMAPS, large_body(3_000_000)),
    "body of 900 KB": lambda bench: bench.send("POST", CONFIGMAPS, large_body(900_000)),
    "openapi v2": lambda bench: bench.send("GET", "/openapi/v2"),
    "openapi v3": lambda bench: bench.send("GET", "/openapi/v3/apis/apps/v1"),
    "start": _restart,
}


@contextlib.asynccontextmanager
async def filled(objects: int) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="vapi-steps-") as directory:
        store = await SQLiteStore.open(Path(directory) / "vapi.db")
        try:
            async with server(store, openapi=True) as (plane, dispatcher):
                bench = Bench(plane, dispatcher, store)
                await bench.plane.client("bench").create(GVR("", "v1", "namespaces"), {"metadata": {"name": "bench"}})
                await bench.fill(GVR("", "v1", "pods"), objects, pod)
                await bench.fill(GVR("", "v1", "configmaps"), 5_000, configmap)
                yield bench
        finally:
            await store.close()


async def measure(objects: int, names: list[str]) -> None:
    gc.disable()
    async with filled(objects) as bench:
        gc.collect()
        gc.freeze()
        for name, scenario in SCENARIOS.items():
            if names and name not in names:
                continue
            steps = Steps()
            started = time.perf_counter()
            with steps.timed():
                await asyncio.create_task(_named(scenario, bench), name=name)
            took = time.perf_counter() - started
            longest = steps.longest[0].ms if steps.longest else 0.0
            mark = "!" if longest > LIMIT_MS else " "
            print(f"{mark} {name:24} {took * 1000:8.0f} ms, longest step {longest:6.1f} ms")
            for step in steps.longest[:SHOWN]:
                if step.ms > LIMIT_MS / 2:
                    print(f"      {step.ms:6.1f} ms  {step.what}")


async def _named(scenario: Callable[[Bench], Awaitable[Any]], bench: Bench) -> None:
    await scenario(bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("scenarios", nargs="*", help=", ".join(SCENARIOS))
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.objects, chosen.scenarios))


if __name__ == "__main__":
    main()
