"""CPU of the write path alone: requests dispatched in this process, without a socket, TLS or a disk.

Everything a server has is there: authentication, RBAC, all plugins, all controllers at work. Run by hand,
`python -m tests.bench.hotpath [--count N] [--rounds N]`; the best round counts, since others use the machine, too.
It tells which change made a write cheaper; how fast the server is, `python -m tests.bench` tells.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.memory import MemoryStore
from tests.bench import scenarios
from vapi.apiserver import load_pki
from vapi.auth import bootstrap
from vapi.auth.admission import builtin_plugins
from vapi.auth.authenticator import Authenticator
from vapi.auth.jwt_keys import from_pem
from vapi.auth.pki import Pki
from vapi.auth.rbac import Rbac
from vapi.auth.token_requests import TokenRequests
from vapi.auth.tokens import TokenSigner, TokenVerifier
from vapi.clock import SystemClock
from vapi.control.controllers import ControllerManager, Settings
from vapi.endpoints.bodies import SchemaDecoder
from vapi.endpoints.discovery import Discovery
from vapi.endpoints.dispatch import Dispatcher, Parts
from vapi.endpoints.http import ApiRequest, PlainHeaders
from vapi.gvk import GVR
from vapi.plane import ControlPlane, running_plane
from vapi.registry.client import Client

AT_ONCE = 32
"""As many as the benchmark of the server has connections."""
NAMESPACE = "bench"
SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
NAMESPACES = GVR("", "v1", "namespaces")
BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")


@contextlib.asynccontextmanager
async def dispatcher() -> AsyncIterator[tuple[Dispatcher, str]]:
    """With the token of a ServiceAccount that may do what the benchmark does."""
    clock, rbac = SystemClock(), Rbac()
    store = MemoryStore()
    with TemporaryDirectory() as directory:
        pki = await load_pki(store, Path(directory), name="bench", shared=False, clock=clock)
        async with running_plane(
            store,
            clock=clock,
            plugins=lambda registry: builtin_plugins(
                registry, rbac, protect_storage=False, quotas=Client(registry, "kube-apiserver")
            ),
        ) as plane:
            rbac.attach(plane.registry)
            made, token = await _served(plane, pki, rbac, clock)
            manager = ControllerManager(plane.client("controllers"), Settings(), clock=clock)
            running = asyncio.create_task(manager.run())
            while plane.registry.cached(SERVICE_ACCOUNTS, NAMESPACE, "default") is None:  # noqa: ASYNC110 - made once
                await asyncio.sleep(0.01)
            yield made, token
            running.cancel()
            await asyncio.wait([running])
    await store.close()


async def _served(plane: ControlPlane, pki: Pki, rbac: Rbac, clock: SystemClock) -> tuple[Dispatcher, str]:
    client = plane.client("kube-apiserver")
    await bootstrap.ensure_bootstrap(client, clock)
    await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    account = {"name": "bench", "namespace": NAMESPACE}
    await client.create(SERVICE_ACCOUNTS, {"metadata": account})
    rules = [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}]
    await client.create(ROLES, {"metadata": {"name": "bench"}, "rules": rules})
    role = {"apiGroup": ROLES.group, "kind": "ClusterRole", "name": "bench"}
    subjects = [{"kind": "ServiceAccount", **account}]
    await client.create(BINDINGS, {"metadata": {"name": "bench"}, "roleRef": role, "subjects": subjects})
    keys = from_pem(pki.material.token_keys)
    tokens = TokenRequests(plane.registry, TokenSigner(keys, clock), clock)
    issued = tokens.issue(tokens.account(NAMESPACE, "bench"), audiences=(), expiration_s=3_600, bound=None)
    parts = Parts(
        registry=plane.registry,
        authenticator=Authenticator(TokenVerifier(keys, plane.registry, clock), clock),
        authorizer=rbac,
        decoder=SchemaDecoder(plane.schemas),
        clock=clock,
        discovery=lambda catalog: Discovery(catalog, "127.0.0.1:443"),
    )
    return Dispatcher(parts), issued.token


def _requests(method: str, paths: Sequence[str], bodies: Sequence[bytes], kind: str, token: str) -> list[ApiRequest]:
    headers = PlainHeaders({"Authorization": f"Bearer {token}", "Content-Type": kind, "Accept": "application/json"})
    return [ApiRequest(method, path, headers, body) for path, body in zip(paths, bodies, strict=True)]


async def cpu_us(dispatch: Dispatcher, requests: Sequence[ApiRequest]) -> float:
    """Of this process, a request. Raises RuntimeError if one fails."""
    left: Iterator[ApiRequest] = iter(requests)

    async def connection() -> None:
        for request in left:
            response = await dispatch.dispatch(request)
            if response.status >= 300:
                raise RuntimeError(f"{response.status}: {response.body.decode()}")

    gc.collect()
    gc.disable()  # as main does
    started = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(connection())
    used = time.process_time() - started
    gc.enable()
    return used / len(requests) * 1e6


async def measure(*, count: int, rounds: int) -> dict[str, float]:
    """Microseconds of CPU a request, by what it does."""
    found: dict[str, list[float]] = {}
    async with dispatcher() as (dispatch, token):
        for turn in range(rounds):
            names = [f"p{turn}-{i:05}" for i in range(count)]
            paths = [f"{scenarios.PODS}/{name}" for name in names]
            patch = [b'{"metadata":{"annotations":{"bench":"%d"}}}' % i for i in range(count)]
            merge, strategic = "application/merge-patch+json", "application/strategic-merge-patch+json"
            status = [b'{"status":{"phase":"Running","podIP":"10.0.0.%d"}}' % (i % 250 + 1) for i in range(count)]
            posts = [scenarios.pod(name) for name in names]
            plan = {
                "create": _requests("POST", [scenarios.PODS] * count, posts, "application/json", token),
                "merge patch": _requests("PATCH", paths, patch, merge, token),
                "patch again": _requests("PATCH", paths, [*reversed(patch)], merge, token),
                "patch status": _requests("PATCH", [f"{path}/status" for path in paths], status, strategic, token),
                "get": _requests("GET", paths, [b""] * count, "application/json", token),
                "delete": _requests("DELETE", paths, [b'{"gracePeriodSeconds":0}'] * count, "application/json", token),
            }
            for name, requests in plan.items():
                found.setdefault(name, []).append(await cpu_us(dispatch, requests))
                await asyncio.sleep(0.2)  # controllers finish what they do about it
    return {name: min(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="requests of each sort a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for name, value in asyncio.run(measure(count=options.count, rounds=options.rounds)).items():
        print(f"{name:<14} {value:6.0f} µs")


if __name__ == "__main__":
    main()
