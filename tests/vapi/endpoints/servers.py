"""A whole API server without a listener, on a memory store: what the tests of the HTTP side talk to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from storage.store import Store
from tests.planes import FakeClock, plane
from vapi import encoding
from vapi.auth import jwt_keys
from vapi.auth.authenticator import Anonymous, Authenticator
from vapi.auth.rbac import Rbac
from vapi.auth.tokens import TokenVerifier
from vapi.authorizer import User
from vapi.clock import Clock, SystemClock
from vapi.endpoints.bodies import SchemaDecoder
from vapi.endpoints.discovery import Discovery
from vapi.endpoints.dispatch import Dispatcher, Parts
from vapi.endpoints.http import ApiRequest, ApiResponse, api_request, read_all
from vapi.endpoints.nonresource import Issuer
from vapi.endpoints.proxy import NoTunnel, Tunnel
from vapi.gvk import Obj
from vapi.http_client import HttpClient
from vapi.plane import ControlPlane
from vapi.registry.virtual import CallTable
from vapi.schema.schemas import Schemas, load_schemas

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
ALICE = User("alice", uid="alice-uid", groups=("devs", "system:authenticated"))
TOKENS = {"admin": ADMIN, "alice": ALICE}
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@functools.cache
def schemas() -> Schemas:
    """Loaded once for all tests: they are immutable."""
    return load_schemas()


@functools.cache
def _key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@dataclass(frozen=True, slots=True)
class Reply:
    response: ApiResponse
    body: bytes

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def json(self) -> Any:
        return encoding.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    def headers(self, name: str) -> list[str]:
        return [value for key, value in self.response.headers if key.lower() == name.lower()]


@dataclass(frozen=True, slots=True)
class Api:
    plane: ControlPlane
    dispatcher: Dispatcher

    async def send(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        as_user: str | None = "admin",
        accept: str | None = "application/json",
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        response = await self.dispatcher.dispatch(
            request(
                method,
                target,
                body,
                as_user=as_user,
                accept=accept,
                content_type=content_type,
                headers=headers,
            )
        )
        return Reply(response, await read_all(response))

    async def get(self, target: str, **options: Any) -> Reply:
        return await self.send("GET", target, **options)

    async def create(self, target: str, obj: Obj, **options: Any) -> Reply:
        return await self.send("POST", target, obj, **options)


def request(
    method: str,
    target: str,
    body: object = None,
    *,
    as_user: str | None = "admin",
    accept: str | None = "application/json",
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ApiRequest:
    named = {"User-Agent": "tests/1", **(headers or {})}
    if as_user is not None:
        named["Authorization"] = f"Bearer {as_user}"
    if accept is not None:
        named["Accept"] = accept
    if content_type is not None:
        named["Content-Type"] = content_type
    return api_request(method, target, headers=named, body=body)


@contextlib.asynccontextmanager
async def api(
    *,
    store: Store | None = None,
    clock: FakeClock | None = None,
    calls: CallTable | None = None,
    tunnel: Tunnel | None = None,
    client: HttpClient | None = None,
) -> AsyncIterator[Api]:
    async with plane(store, clock) as running:
        rbac = Rbac()
        detach = rbac.attach(running.client("rbac"))
        used: Clock = clock or SystemClock()
        keys = jwt_keys.from_pem((_key(),))
        verifier = TokenVerifier(keys, running.registry, used)
        parts = Parts(
            registry=running.registry,
            authenticator=Authenticator(verifier, used, static=TOKENS, anonymous=Anonymous.ALL),
            authorizer=rbac,
            decoder=SchemaDecoder(schemas()),
            clock=used,
            discovery=lambda catalog: Discovery(catalog, "127.0.0.1:6443"),
            calls=calls or {},
            tunnel=tunnel or NoTunnel(),
            client=client,
            issuer=Issuer({"issuer": "https://issuer"}, keys.jwks),
        )
        try:
            yield Api(running, Dispatcher(parts))
        finally:
            detach()


def configmap(name: str, **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
