"""Kubelets of fake nodes in one process: they start what is bound to them by one status patch and three events.

Both servers get the same ones, and their CPU is counted apart from the servers'. A pod that is deleted is taken away
at once. Nodes are Ready, and their Leases are renewed every ten seconds, as real kubelets do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

import uvloop

from tests.bench import load
from tests.bench.target import Endpoint, Target

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
MERGE = "application/merge-patch+json"
RENEW_S = 10.0
EVENTS = (
    ("Pulled", 'Container image "registry.k8s.io/pause:3.10" already present on machine'),
    ("Created", "Container created"),
    ("Started", "Container started"),
)
RESOURCES = {"cpu": "16", "memory": "32Gi", "pods": "110"}


def node_names(count: int) -> list[str]:
    return [f"fake-{number:02}" for number in range(count)]


def add_nodes(target: Target, count: int) -> None:
    """Ready ones, without the taint that admission gives what is new; with their Leases."""
    now = _now()
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now[:19] + "Z"}
    status = {"capacity": RESOURCES, "allocatable": RESOURCES, "conditions": [ready]}
    for name in node_names(count):
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}
        target.admin.call("POST", "/api/v1/nodes", body)
        target.admin.call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, MERGE)
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        lease = {"metadata": {"name": name}, "spec": spec}
        target.admin.call("POST", LEASES, lease)


@contextlib.contextmanager
def running(endpoint: Endpoint, count: int, cpus: frozenset[int]) -> Iterator[int]:
    """The pid of the process, once it watches."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(endpoint, count, cpus, there), daemon=True)
    process.start()
    assert here.recv() == "watching"
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        process.terminate()
        process.join()


def _run(endpoint: Endpoint, count: int, cpus: frozenset[int], pipe: Any) -> None:
    if cpus:
        os.sched_setaffinity(0, cpus)
    uvloop.run(_Kubelets(endpoint, count, pipe).run())


class _Kubelets:
    def __init__(self, endpoint: Endpoint, count: int, pipe: Any) -> None:
        self._endpoint = endpoint
        self._nodes = node_names(count)
        self._pipe = pipe
        self._tls = load.context(endpoint)
        self._requests: asyncio.Queue[bytes] = asyncio.Queue()
        self._started: set[str] = set()
        self._watching = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in self._nodes:
                group.create_task(self._send())
            group.create_task(self._renew())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        path = "/api/v1/pods?watch=true&timeoutSeconds=3600&fieldSelector=spec.nodeName!%3D"
        async for event in load.watch_events(self._endpoint, path, self._connected):
            self._see(event)

    def _connected(self) -> None:
        if not self._watching:
            self._watching = True
            self._pipe.send("watching")

    def _see(self, event: dict[str, Any]) -> None:
        pod = event["object"]
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if event["type"] == "DELETED":
            self._started.discard(metadata["uid"])
        elif "deletionTimestamp" in metadata:
            body = json.dumps({"gracePeriodSeconds": 0}).encode()
            self._requests.put_nowait(load.request(self._endpoint, "DELETE", path, body))
        elif metadata["uid"] not in self._started and pod["status"].get("phase") == "Pending":
            self._started.add(metadata["uid"])
            number = len(self._started)
            body = json.dumps({"status": running_status(pod, number)}).encode()
            self._requests.put_nowait(load.request(self._endpoint, "PATCH", f"{path}/status", body, MERGE))
            self._tell(pod)

    def _tell(self, pod: dict[str, Any]) -> None:
        """What a kubelet tells of a pod that starts: as much as our simulated ones."""
        namespace = pod["metadata"]["namespace"]
        for reason, message in EVENTS:
            body = json.dumps(event(pod, reason, message)).encode()
            path = f"/api/v1/namespaces/{namespace}/events"
            self._requests.put_nowait(load.request(self._endpoint, "POST", path, body))

    async def _send(self) -> None:
        reader, writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port, ssl=self._tls)
        while True:
            writer.write(await self._requests.get())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            if status >= 400 and status not in (404, 409):
                raise RuntimeError(head.decode())
            await _skip_body(head, reader)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            body = json.dumps({"spec": {"renewTime": _now()}}).encode()
            for name in self._nodes:
                self._requests.put_nowait(load.request(self._endpoint, "PATCH", f"{LEASES}/{name}", body, MERGE))


async def _skip_body(head: bytes, reader: asyncio.StreamReader) -> None:
    lower = head.lower()
    if b"transfer-encoding: chunked" not in lower:
        await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readexactly(2)


def event(pod: dict[str, Any], reason: str, message: str) -> dict[str, Any]:
    metadata, now = pod["metadata"], _now()[:19] + "Z"
    return {
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "fieldPath": "spec.containers{c}",
        },
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "type": "Normal",
        "reportingComponent": "kubelet",
        "reportingInstance": pod["spec"]["nodeName"],
    }


def running_status(pod: dict[str, Any], number: int) -> dict[str, Any]:
    now = _now()[:19] + "Z"
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    containers = [
        {
            "name": c["name"],
            "image": c["image"],
            "imageID": f"fake://{c['image']}",
            "containerID": f"fake://{number}/{c['name']}",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
            "lastState": {},
        }
        for c in pod["spec"]["containers"]
    ]
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds],
        "hostIP": "198.18.0.2",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": containers,
    }


def _now() -> str:
    return dt.datetime.fromtimestamp(time.time(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
