"""Fuzz: random requests against a whole API server in this process, without a listener.

By hand: `python -m tests.tools.fuzz --count 50000 --seed 7`. It prints each kind of
failure once, with the request. The suite runs a short one (`tests/vapi/test_fuzz.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from storage.memory import MemoryStore
from storage.store import Store
from tests.planes import schemas
from tests.tools.requests import MILD, WILD, Requests, Sent, is_status
from vapi import encoding
from vapi.auth import jwt_keys
from vapi.auth.admission import builtin_plugins
from vapi.auth.authenticator import Anonymous, Authenticator
from vapi.auth.rbac import Rbac
from vapi.auth.reviews import review_table
from vapi.auth.token_requests import TokenRequests
from vapi.auth.tokens import TokenSigner, TokenVerifier
from vapi.authorizer import User
from vapi.cacher.feed import Feed
from vapi.clock import SystemClock
from vapi.control.service_ip import ServiceAllocator
from vapi.endpoints.bodies import SchemaDecoder
from vapi.endpoints.discovery import Discovery
from vapi.endpoints.dispatch import Dispatcher, Parts
from vapi.endpoints.http import ApiRequest, ApiResponse, PlainHeaders
from vapi.endpoints.openapi import OpenApi
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.pod_calls import PodCalls
from vapi.registry.scale import Scales
from vapi.resources.resource import Resource
from vapi.schema.decode import FieldValidation, decode_body

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
SLOW_S = 5.0  # of one request; nothing here waits for anything
PLAIN_REFUSALS = (404, 405, 406, 415)
"""May be plain text: what is no API at all."""
REPORTED = 40


@dataclass(slots=True)
class Findings(logging.Handler):
    """What went wrong, by cause: one example each. Also the handler of the server's logs."""

    examples: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    sent: Sent | None = None

    def __post_init__(self) -> None:
        logging.Handler.__init__(self, logging.ERROR)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self.add(record.getMessage(), "")
            return
        last = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__} at {last.filename.rpartition('/vapi/')[2]}:{last.name}"
        self.add(cause, "".join(traceback.format_exception(error)[-6:]))

    def add(self, cause: str, detail: str) -> None:
        self.counts[cause] = self.counts.get(cause, 0) + 1
        self.examples.setdefault(cause, f"{self.sent}\n{detail}")

    def __str__(self) -> str:
        ranked = sorted(self.counts, key=self.counts.__getitem__, reverse=True)[:REPORTED]
        return "\n\n".join(f"{self.counts[cause]} × {cause}\n{self.examples[cause]}" for cause in ranked)


@contextlib.asynccontextmanager
async def server(
    store: Store, *, protect_storage: bool = False, openapi: bool = False
) -> AsyncIterator[tuple[ControlPlane, Dispatcher]]:
    """As `main` and `apiserver` put it together, without keys on disk, a listener and controllers."""
    clock = SystemClock()
    rbac = Rbac()
    plugins = running_plane(
        store,
        clock=clock,
        schemas=schemas(),
        plugins=lambda lookup: builtin_plugins(lookup, rbac, protect_storage=protect_storage),
        allocators=lambda lookup: {("", "services"): ServiceAllocator(lookup, clock, ip_ranges=("10.96.0.0/16",))},
    )
    async with plugins as plane:
        registry = plane.registry
        rbac.attach(registry)
        keys = jwt_keys.from_pem((_new_key(),))
        verifier = TokenVerifier(keys, registry, clock)
        authenticator = Authenticator(verifier, clock, static={"admin": ADMIN}, anonymous=Anonymous.ALL)
        tokens = TokenRequests(registry, TokenSigner(keys, clock), clock)
        reviews = review_table(rbac=rbac, authorizer=rbac, authenticator=authenticator, tokens=tokens, clock=clock)
        parts = Parts(
            registry=registry,
            authenticator=authenticator,
            authorizer=rbac,
            decoder=SchemaDecoder(schemas()),
            clock=clock,
            discovery=lambda catalog: Discovery(catalog, "127.0.0.1:6443"),
            openapi=(lambda catalog: OpenApi(catalog, schemas().definitions, clock)) if openapi else None,
            calls={
                **reviews,
                **Scales(registry, plane.fields, clock).handlers(),
                **PodCalls(registry, clock).handlers(),
            },
        )
        yield plane, Dispatcher(parts)


def _new_key() -> bytes:
    form = serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


async def run(seed: int, count: int, findings: Findings) -> None:
    """`count` requests; everything odd goes to `findings`, which ends empty if all is well.

    Odd seeds are mild: more of their requests get as far as the store.
    """
    store = MemoryStore()
    logger = logging.getLogger("vapi")
    logger.addHandler(findings)
    logger.propagate = False
    try:
        async with server(store) as (plane, dispatcher):
            await _namespaces(plane)
            requests = Requests(Random(seed), plane.catalog.rows, MILD if seed % 2 else WILD)
            for _ in range(count):
                findings.sent = requests.next()
                await _one(dispatcher, requests, findings)
        await _reopened(store, plane, findings)
    finally:
        logger.removeHandler(findings)
        logger.propagate = True
        await store.close()


async def _namespaces(plane: ControlPlane) -> None:
    client = plane.client("fuzz")
    for name in ("default", "fuzz"):
        await client.create(GVR("", "v1", "namespaces"), {"metadata": {"name": name}})
        account = {"metadata": {"name": "default", "namespace": name}}
        await client.create(GVR("", "v1", "serviceaccounts"), account)


async def _one(dispatcher: Dispatcher, requests: Requests, findings: Findings) -> None:
    sent = findings.sent
    assert sent is not None
    headers = {"Authorization": "Bearer admin", **sent.headers}
    try:
        async with asyncio.timeout(SLOW_S):
            response = await dispatcher.dispatch(ApiRequest(sent.method, sent.target, PlainHeaders(headers), sent.body))
            body = await _body(response)
    except TimeoutError:
        findings.add("no answer", "")
        return
    except Exception as error:
        findings.add(f"raised {type(error).__name__}", "".join(traceback.format_exception(error)))
        return
    if response.is_watch:
        return
    if response.status >= 400:
        json_wanted = sent.headers.get("Accept") in ("application/json", "", "*/*")
        if response.status not in PLAIN_REFUSALS and json_wanted and not is_status(body):
            findings.add(f"{response.status} without a Status", repr(body[:500]))
    elif response.content_type == "application/json" and body and sent.headers.get("Accept") == "application/json":
        try:
            obj = encoding.loads(body)
        except ValueError:
            findings.add("an answer that is no JSON", repr(body[:500]))
            return
        if sent.method in ("PUT", "PATCH", "GET") and isinstance(obj, dict) and "items" not in obj:
            requests.remember(sent.target.partition("?")[0], obj)


async def _body(response: ApiResponse) -> bytes:
    if response.stream is None:
        return response.body
    if response.is_watch:
        if response.on_disconnect is not None:
            response.on_disconnect()
        await response.stream.aclose()  # type: ignore[attr-defined]
        return b""
    return b"".join([chunk async for chunk in response.stream])


async def _reopened(store: Store, plane: ControlPlane, findings: Findings) -> None:
    """A new start reads all that is stored, and every object is readable in each version it is served in."""
    feed = Feed(store, plane.catalog.stored_kinds(), SystemClock())
    await feed.start()
    for row in plane.catalog.rows:
        if row.stored is None:
            continue
        for entry in feed.cacher(row.stored).view.entries():
            try:
                obj = entry.obj()
                if encoding.encode_stored(obj, row.stored.value_prefix) != entry.value:
                    findings.add(f"{row.kind} is not stored in canonical form", entry.value.decode())
                if row.from_stored:
                    row.from_stored(obj)
                else:
                    _decodes_to_itself(row, obj, findings)
            except Exception as error:
                findings.add(f"stored {row.kind}: {type(error).__name__}", "".join(traceback.format_exception(error)))


def _decodes_to_itself(row: Resource, obj: Obj, findings: Findings) -> None:
    """What is stored is what Kubernetes' own types would make of it."""
    again = decode_body(
        encoding.dumps(obj),
        "application/json",
        expected=row.gvk,
        field_validation=FieldValidation.STRICT,
        schemas=schemas(),
    )
    if encoding.dumps_sorted(again.obj) != encoding.dumps_sorted(obj):
        findings.add(f"{row.kind} is stored as Kubernetes would not", f"{obj}\n{again.obj}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    findings = Findings()
    asyncio.run(run(chosen.seed, chosen.count, findings))
    print(str(findings) or "nothing found")


if __name__ == "__main__":
    main()
