"""Tokens: one host Secret per pod with the tokens its projected volumes ask for, renewed at 80 % of their life.

A token is the tenant's (never the host's), bound to the pod, and as short-lived
as asked; the kubelet renews the file in the container when the Secret changes.

The Secret is made before the pod, owned by the anchor, and deleted by us after the pod. Not owned by the pod (design
§6): that costs one more write for each, and a host collects 20 a second (*measured*: 50 s for 1,000). What was
left over by a death between the two is found at the next start.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import heapq
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterError, PatchType
from sync.limiter import Limiter
from sync.translator import PODS, SECRETS, Context
from sync.translators.podtokens import TokenSource, token_secret_name, token_sources
from sync.virtual import VirtualCluster
from vapi.clock import Clock, parse_rfc3339, rfc3339
from vapi.control.informer import sliced
from vapi.control.workqueue import Retry
from vapi.gvk import Obj

log = logging.getLogger(__name__)

PRIORITY = 0  # before everything that waits for it
RENEW_AT = 0.8
"""Of its life; the kubelet's own token manager renews then too."""
RETRY_S = 10.0
FRESH_S = 60.0
"""So long a Secret that we made is taken for being there: it is made while the pod still waits for what it names."""
DELETERS = 8
"""Deletes at a time; a host takes 2-5 ms each."""
_MARKER_KIND = "PodToken"
"""In the kind annotation of these Secrets: they are no twin of a tenant's Secret."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    token: str
    expires: dt.datetime


Issue = Callable[[str, str, str, str, str, int], IssuedToken]
"""(namespace, service account, pod or "" for none, its uid, audience or "", seconds) → token. Raises ClusterError."""


class PodTokens:
    """Part of the pod hooks; `run` renews. Runs on the loop."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        limiter: Limiter,
        context: Callable[[], Context],
        issue: Issue,
        clock: Clock,
        on_host: Callable[[str, str], bool],
    ) -> None:
        """`on_host`: whether the host has the twin of a pod (namespace, name), asked once its list is complete."""
        self._virtual = virtual
        self._host = host
        self._limiter = limiter
        self._context = context
        self._issue = issue
        self._clock = clock
        self._on_host = on_host
        self._due: list[tuple[dt.datetime, str, str, str]] = []
        """Heap of (when, namespace, pod, pod uid)."""
        self._wake = asyncio.Event()
        self._made: dict[tuple[str, str], str] = {}
        """(namespace, pod) → uid of the Secret on the host."""
        self._fresh: dict[tuple[str, str], tuple[str, float]] = {}
        """(namespace, pod) → uid of the pod, and when its Secret was made; until both have gone."""
        self._gone: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        """Host names and uids of Secrets whose pods have gone; at most as many as there were pods."""

    # --- hooks ----------------------------------------------------------------------------------------

    async def before_create(self, virtual: Obj) -> None:
        """The Secret is there, with tokens that are good for this pod. Raises Retry, ClusterError."""
        sources = list(token_sources(virtual))
        metadata = virtual["metadata"]
        pod = metadata["namespace"], metadata["name"]
        if not sources or self._is_fresh(pod, metadata["uid"]):
            return
        secret, expires = self._secret(virtual, sources)
        await self._limiter.take(PRIORITY)
        try:
            made = await self._host.create(SECRETS, secret)
        except ClusterError as error:
            if error.code != 409:
                raise
            made = await self._take_over(virtual, secret)
        self._made[pod] = made["metadata"]["uid"]
        self._fresh[pod] = metadata["uid"], self._clock.monotonic()
        self._schedule(virtual, expires)

    def _is_fresh(self, pod: tuple[str, str], uid: str) -> bool:
        made_for, made_at = self._fresh.get(pod, ("", 0.0))
        return made_for == uid and self._clock.monotonic() - made_at < FRESH_S

    def gone(self, namespace: str, name: str) -> None:
        """Neither side has the pod any more, or it has ended: its Secret can go. Never awaits."""
        self._fresh.pop((namespace, name), None)
        uid = self._made.pop((namespace, name), "")
        if uid:
            pod = {"metadata": {"namespace": namespace, "name": name}}
            self._gone.put_nowait((token_secret_name(self._context().cluster, pod), uid))

    async def _take_over(self, virtual: Obj, secret: Obj) -> Obj:
        """A Secret is on the name: this pod's own from a moment ago, or that of a predecessor."""
        name = secret["metadata"]["name"]
        found = await self._host.get(SECRETS, self._context().host_namespace, name)
        annotations = found["metadata"].get("annotations") or {}
        if annotations.get(md.OBJECT_KIND) != _MARKER_KIND:
            raise ClusterError(409, "Conflict", f'secrets "{name}" belongs to somebody else')
        if annotations.get(md.OBJECT_UID) == virtual["metadata"]["uid"]:
            data = {"data": secret["data"], "metadata": {"annotations": secret["metadata"]["annotations"]}}
            await self._patch(name, data)
            return found
        await self._limiter.take(PRIORITY)
        await self._host.delete(SECRETS, self._context().host_namespace, name, uid=found["metadata"]["uid"])
        raise Retry(0.0)

    # --- renewal --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Learn what is there, then renew what is due and delete what is left over, until cancelled."""
        await self._learn()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_all())
            for _ in range(DELETERS):
                group.create_task(self._delete_all())

    async def _renew_all(self) -> None:
        while True:
            now = self._clock.now()
            while self._due and self._due[0][0] <= now:
                _, namespace, name, uid = heapq.heappop(self._due)
                await self._renew(namespace, name, uid)
            self._wake.clear()
            wait_s = max(0.05, (self._due[0][0] - self._clock.now()).total_seconds()) if self._due else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _delete_all(self) -> None:
        while True:
            name, uid = await self._gone.get()
            await self._limiter.take(PRIORITY)
            try:
                await self._host.delete(SECRETS, self._context().host_namespace, name, uid=uid)
            except ClusterError as error:
                if error.code in (404, 409):
                    continue  # gone, or that of a successor
                log.warning("token Secret not deleted, again soon", extra={"secret": name, "error": error.message})
                self._gone.put_nowait((name, uid))
                await asyncio.sleep(RETRY_S)

    async def _learn(self) -> None:
        """After a restart the expiries stand in the annotations of the Secrets."""
        context, said = self._context(), False
        while True:
            try:
                selector = f"{md.MANAGED_BY}={context.cluster}"
                secrets = list(await self._host.list(SECRETS, context.host_namespace, label_selector=selector))
                break
            except ClusterError as error:
                if error.code != 403 and not said:  # of a right that is missing the informer of Secrets has told
                    log.warning("token Secrets could not be listed, again later", extra={"error": error.message})
                    said = True
                await asyncio.sleep(RETRY_S)
        async for secret in sliced(secrets.pop() for _ in range(len(secrets))):  # to free all at once takes long
            annotations = secret["metadata"].get("annotations") or {}
            if annotations.get(md.OBJECT_KIND) != _MARKER_KIND:
                continue
            namespace, name = annotations.get(md.OBJECT_NAMESPACE, ""), annotations.get(md.OBJECT_NAME, "")
            pod_uid = annotations.get(md.OBJECT_UID, "")
            self._made.setdefault((namespace, name), secret["metadata"]["uid"])
            if self._is_left_over(namespace, name, pod_uid):
                self.gone(namespace, name)
            else:
                due = self._learned(namespace, name, annotations.get(md.TOKEN_EXPIRES, ""))
                self._push(due, namespace, name, pod_uid)

    def _learned(self, namespace: str, name: str, expires: str) -> dt.datetime:
        """When the tokens of a pod are due that an earlier process issued: at once if that cannot be told."""
        entry = self._virtual.cached(PODS, namespace, name)
        if entry is None:
            return self._clock.now()
        life_s = min((s.expiration_s for s in token_sources(entry.obj())), default=0)
        try:
            return parse_rfc3339(expires) - dt.timedelta(seconds=life_s * (1 - RENEW_AT))
        except ValueError:
            return self._clock.now()

    def _is_left_over(self, namespace: str, name: str, uid: str) -> bool:
        """No twin uses it, and none will."""
        if self._on_host(namespace, name):
            return False  # its end will be told
        entry = self._virtual.cached(PODS, namespace, name)
        return entry is None or entry.uid != uid or entry.fields.get("status.phase") in ("Succeeded", "Failed")

    async def _renew(self, namespace: str, name: str, uid: str) -> None:
        entry = self._virtual.cached(PODS, namespace, name)
        if entry is None or entry.uid != uid or entry.deleting:
            return
        pod = entry.obj()
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        try:
            secret, expires = self._secret(pod, list(token_sources(pod)))
            annotations = {md.TOKEN_EXPIRES: rfc3339(expires)}
            await self._patch(
                secret["metadata"]["name"], {"data": secret["data"], "metadata": {"annotations": annotations}}
            )
        except ClusterError as error:
            if error.code == 404:
                return  # the pod is not on the host yet, or no more: its creation makes a new one
            log.warning("token not renewed, again soon", extra={"key": f"{namespace}/{name}", "error": error.message})
            self._push(self._clock.now() + dt.timedelta(seconds=RETRY_S), namespace, name, uid)
            return
        self._schedule(pod, expires)

    # --- helpers --------------------------------------------------------------------------------------

    def _secret(self, pod: Obj, sources: list[TokenSource]) -> tuple[Obj, dt.datetime]:
        """The host Secret and when its first token expires."""
        context = self._context()
        metadata = pod["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        account = pod["spec"].get("serviceAccountName") or "default"
        data: dict[str, str] = {}
        expires: list[dt.datetime] = []
        for source in sources:
            issued = self._issue(namespace, account, name, uid, source.audience, source.expiration_s)
            data[source.key] = base64.b64encode(issued.token.encode()).decode()
            expires.append(issued.expires)
        soonest = min(expires)
        owner = md.owner_reference(
            anchor=names.anchor_name(context.cluster), anchor_uid=context.anchor_uid, controller=False
        )
        secret: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": token_secret_name(context.cluster, pod),
                "namespace": context.host_namespace,
                "labels": context.own_labels(namespace),
                "annotations": {
                    md.OBJECT_KIND: _MARKER_KIND,
                    md.OBJECT_NAME: name,
                    md.OBJECT_NAMESPACE: namespace,
                    md.OBJECT_UID: uid,
                    md.TOKEN_EXPIRES: rfc3339(soonest),
                },
                "ownerReferences": [owner] if context.anchor_uid else [],
            },
            "type": "Opaque",
            "data": data,
        }
        return secret, soonest

    async def _patch(self, name: str, patch: Obj) -> None:
        await self._limiter.take(PRIORITY)
        await self._host.patch(SECRETS, self._context().host_namespace, name, patch, content_type=PatchType.MERGE)

    def _schedule(self, pod: Obj, expires: dt.datetime) -> None:
        metadata = pod["metadata"]
        now = self._clock.now()
        self._push(now + (expires - now) * RENEW_AT, metadata["namespace"], metadata["name"], metadata["uid"])

    def _push(self, due: dt.datetime, namespace: str, name: str, uid: str) -> None:
        heapq.heappush(self._due, (due, namespace, name, uid))
        self._wake.set()
