"""Tokens of pods: made before the pod, renewed at 80 % of their life, gone with it, found again after a restart."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sync import metadata as md
from sync.cluster import ClusterError
from sync.limiter import Limiter
from sync.tokens import FRESH_S, IssuedToken, PodTokens
from sync.translator import Context
from sync.translators.podtokens import token_secret_name
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import NAMESPACES, PODS, SECRETS, FakeClock, plane, pod, turns
from vapi.control.workqueue import Retry
from vapi.gvk import Obj
from vapi.plane import ControlPlane

HOST_NAMESPACE = "host-ns"
LIFE_S = 3600


@dataclass
class Bench:
    tenant: ControlPlane
    host: ControlPlane
    clock: FakeClock
    issued: list[tuple[str, str, str, int]] = field(default_factory=list)
    """(pod, account, audience, seconds)."""
    on_host: set[tuple[str, str]] = field(default_factory=set)

    def tokens(self) -> PodTokens:
        """As of a fresh process."""
        return PodTokens(
            virtual=VirtualCluster(self.tenant.client("vapi-syncer")),
            host=InProcessCluster(self.host.client("vapi")),
            limiter=Limiter(0, self.clock),
            context=lambda: Context(cluster="vc", host_namespace=HOST_NAMESPACE),
            issue=self._issue,
            clock=self.clock,
            on_host=lambda namespace, name: (namespace, name) in self.on_host,
        )

    def _issue(self, namespace: str, account: str, name: str, uid: str, audience: str, seconds: int) -> IssuedToken:
        self.issued.append((name, account, audience, seconds))
        text = f"token {len(self.issued)} of {namespace}/{name} {uid}"
        return IssuedToken(text, self.clock.now() + dt.timedelta(seconds=seconds))

    async def pod(self, name: str) -> Obj:
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFE_S}}
        made = pod(name)
        made["spec"]["serviceAccountName"] = "default"
        made["spec"]["volumes"] = [{"name": "t", "projected": {"sources": [source]}}]
        return await self.tenant.client("tester").create(PODS, made)

    def secret(self, name: str) -> Obj | None:
        host_name = token_secret_name("vc", {"metadata": {"namespace": "default", "name": name}})
        entry = self.host.registry.cached(SECRETS, HOST_NAMESPACE, host_name)
        return entry.obj() if entry else None

    def token(self, name: str) -> str:
        secret = self.secret(name)
        assert secret is not None
        return base64.b64decode(secret["data"]["t.0"]).decode()


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    clock = FakeClock()
    async with plane(clock=clock) as tenant, plane(clock=clock) as host:
        await host.client("test").create(NAMESPACES, {"metadata": {"name": HOST_NAMESPACE}})
        yield Bench(tenant, host, clock)


@contextlib.asynccontextmanager
async def running(tokens: PodTokens) -> AsyncIterator[None]:
    task = asyncio.create_task(tokens.run())
    await turns(50)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_secret_is_there_before_the_pod_and_says_whose_it_is() -> None:
    async with bench() as b:
        made = await b.pod("web")
        await b.tokens().before_create(made)
        secret = b.secret("web")
        assert secret is not None
        assert secret["metadata"]["labels"][md.MANAGED_BY] == "vc"
        assert secret["metadata"]["annotations"][md.OBJECT_UID] == made["metadata"]["uid"]
        assert secret["metadata"]["annotations"][md.TOKEN_EXPIRES] == "2026-01-01T01:00:00Z"
        assert b.token("web").endswith(made["metadata"]["uid"])
        assert b.issued == [("web", "default", "", LIFE_S)]


async def test_a_pod_that_asks_for_none_gets_no_secret() -> None:
    async with bench() as b:
        made = await b.tenant.client("tester").create(PODS, pod("plain"))
        await b.tokens().before_create(made)
        assert b.issued == []
        assert b.secret("plain") is None


async def test_a_second_try_for_the_same_pod_takes_its_own_secret_over() -> None:
    async with bench() as b:
        made = await b.pod("web")
        await b.tokens().before_create(made)
        before = b.secret("web")
        await b.tokens().before_create(made)
        after = b.secret("web")
        assert before is not None and after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert b.token("web").startswith("token 2 ")


async def test_what_was_made_a_moment_ago_is_not_made_again() -> None:
    async with bench() as b:
        made = await b.pod("web")
        tokens = b.tokens()
        await tokens.before_create(made)
        await tokens.before_create(made)
        assert len(b.issued) == 1
        b.clock.advance(FRESH_S)
        await tokens.before_create(made)
        assert len(b.issued) == 2


async def test_the_secret_of_a_predecessor_makes_way() -> None:
    async with bench() as b:
        first = await b.pod("web")
        await b.tokens().before_create(first)
        await b.tenant.client("tester").delete(PODS, "default", "web", grace_period_s=0)
        second = await b.pod("web")
        tokens = b.tokens()
        with pytest.raises(Retry):
            await tokens.before_create(second)
        await tokens.before_create(second)
        assert b.token("web").endswith(second["metadata"]["uid"])


async def test_a_secret_of_somebody_else_on_the_name_is_left_alone() -> None:
    async with bench() as b:
        made = await b.pod("web")
        name = token_secret_name("vc", made)
        foreign = {"metadata": {"name": name, "namespace": HOST_NAMESPACE}, "data": {"k": "dg=="}}
        await b.host.client("admin").create(SECRETS, foreign)
        with pytest.raises(ClusterError):
            await b.tokens().before_create(made)
        secret = b.secret("web")
        assert secret is not None
        assert secret["data"] == {"k": "dg=="}


async def test_a_token_is_renewed_at_80_percent_of_its_life_and_not_before() -> None:
    async with bench() as b:
        tokens = b.tokens()
        made = await b.pod("web")
        await tokens.before_create(made)
        b.on_host.add(("default", "web"))
        async with running(tokens):
            b.clock.advance(0.79 * LIFE_S)
            await tokens.before_create(await b.pod("other"))  # wakes the renewals
            await turns(50)
            assert b.token("web").startswith("token 1 ")
            b.clock.advance(0.02 * LIFE_S)
            await tokens.before_create(await b.pod("another"))
            await turns(50)
            assert not b.token("web").startswith("token 1 ")
            secret = b.secret("web")
            assert secret is not None
            assert secret["metadata"]["annotations"][md.TOKEN_EXPIRES] == "2026-01-01T01:48:36Z"


async def test_after_a_restart_the_expiry_is_read_from_the_secret() -> None:
    async with bench() as b:
        await b.tokens().before_create(await b.pod("web"))
        b.on_host.add(("default", "web"))
        b.clock.advance(0.9 * LIFE_S)
        fresh = b.tokens()
        async with running(fresh):
            assert b.token("web").startswith("token 2 ")


async def test_the_secret_goes_with_its_pod() -> None:
    async with bench() as b:
        tokens = b.tokens()
        await tokens.before_create(await b.pod("web"))
        b.on_host.add(("default", "web"))
        async with running(tokens):
            assert b.secret("web") is not None
            tokens.gone("default", "web")
            await turns(50)
            assert b.secret("web") is None


async def test_what_a_death_left_over_is_deleted_at_the_next_start() -> None:
    async with bench() as b:
        tokens = b.tokens()
        for name in ("left", "running", "ended"):
            await tokens.before_create(await b.pod(name))
        client = b.tenant.client("tester")
        await client.delete(PODS, "default", "left", grace_period_s=0)
        ended = await client.get(PODS, "default", "ended")
        await client.update(PODS, {**ended, "status": {"phase": "Succeeded"}}, subresource="status")
        b.on_host.add(("default", "running"))
        async with running(b.tokens()):
            assert b.secret("left") is None
            assert b.secret("ended") is None
            assert b.secret("running") is not None
