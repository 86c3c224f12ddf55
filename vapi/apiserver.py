"""ApiServer of one plane: keys, authentication, RBAC, reviews, bootstrap objects and the listener, assembled.

`open_api` does everything that must be there before the first request is
answered; what goes on in the background (renewing certificates) is `Api.run`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from storage.store import Store
from vapi.auth import bootstrap, jwt_keys, kubeconfig
from vapi.auth import pki as pki_module
from vapi.auth.authenticator import Anonymous, Authenticator
from vapi.auth.pki import Pki
from vapi.auth.rbac import Rbac
from vapi.auth.reviews import review_table
from vapi.auth.token_requests import TokenRequests
from vapi.auth.tokens import DEFAULT_ISSUER, TokenSigner, TokenVerifier
from vapi.clock import Clock
from vapi.endpoints.app import ApiServer
from vapi.endpoints.bodies import SchemaDecoder
from vapi.endpoints.discovery import Discovery
from vapi.endpoints.dispatch import Dispatcher, Parts
from vapi.endpoints.flow import FlowSchemas
from vapi.endpoints.http import ApiResponse
from vapi.endpoints.nonresource import Check, Health, Issuer
from vapi.endpoints.openapi import OpenApi
from vapi.endpoints.proxy import NoTunnel, Tunnel, TunnelTarget, Upstream
from vapi.http_client import HttpClient
from vapi.metrics import Metrics
from vapi.plane import ControlPlane
from vapi.registry.pod_calls import PodCalls
from vapi.registry.scale import Scales

log = logging.getLogger(__name__)

RENEW_CHECK_S = 3_600.0
JWKS_PATH = "/openid/v1/jwks"


@dataclass(slots=True)
class LateTunnel:
    """Tunnels of a host that is connected after the listener has started."""

    inner: Tunnel = field(default_factory=NoTunnel)

    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        return await self.inner.resolve(target)


@dataclass(slots=True)
class Api:
    """A listening API server. `names`: what its certificate is for; see `add_names`."""

    plane: ControlPlane
    pki: Pki
    tokens: TokenRequests
    health: Health
    metrics: Metrics
    tunnel: LateTunnel
    http: HttpClient
    server: ApiServer
    tls: ssl.SSLContext
    names: tuple[str, ...]
    port: int

    def add_names(self, *names: str) -> None:
        """The server is now reached under these, too: a new certificate for handshakes from now on."""
        self.names = tuple(dict.fromkeys([*self.names, *(n for n in names if n)]))
        if self.pki.ensure_serving(self.names):
            self.pki.reload(self.tls)

    async def run(self) -> None:
        """Renew certificates long before they expire, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_CHECK_S)
            if self.pki.ensure_serving(self.names):
                self.pki.reload(self.tls)
                log.info("serving certificate renewed")

    async def stop(self) -> None:
        """Readiness turns red, the listener closes, watches end, requests have 10 s."""
        self.health.stopping = True
        await self.server.stop()
        await self.http.close()

    def write_kubeconfig(self, path: Path, *, server: str, name: str) -> None:
        """The admin's, at `path`, mode 0600."""
        admin, _ = self.pki.ensure_admin()
        kubeconfig.write(
            path, kubeconfig.kubeconfig(server=server, ca=self.pki.ca_certificate, name=name, client=admin)
        )


async def load_pki(store: Store, directory: Path, *, name: str, shared: bool, clock: Clock) -> Pki:
    """`shared`: the store serves several replicas, so the keys are made once, in it."""
    if shared:
        material = await pki_module.load_or_create_in_store(store, directory, name=name, clock=clock)
    else:
        material = pki_module.load_or_create(directory, name=name, clock=clock)
    return Pki(directory, material, clock)


async def open_api(
    plane: ControlPlane,
    pki: Pki,
    rbac: Rbac,
    *,
    listen: tuple[str, int],
    names: tuple[str, ...],
    checks: tuple[Check, ...] = (),
    anonymous: Anonymous = Anonymous.HEALTH,
) -> Api:
    """Bootstraps the plane and listens. `rbac` is the one its plugins were made with. Raises OSError, ApiError."""
    clock, registry = plane.clock, plane.registry
    rbac.attach(registry)
    keys = jwt_keys.from_pem(pki.material.token_keys)
    tokens = TokenRequests(registry, TokenSigner(keys, clock), clock)
    authenticator = Authenticator(TokenVerifier(keys, registry, clock), clock, anonymous=anonymous)
    client = plane.client("kube-apiserver")
    await bootstrap.ensure_bootstrap(client, clock)
    await bootstrap.ensure_tracking(client, clock)
    await bootstrap.ensure_authentication_config(client, pki.ca_certificate, pki.front_proxy_ca)
    pki.ensure_serving(names)
    tls = pki.server_context()
    reviews = review_table(rbac=rbac, authorizer=rbac, authenticator=authenticator, tokens=tokens, clock=clock)
    scales = Scales(registry, plane.fields, clock)
    health, metrics, tunnel, http = Health(), Metrics(), LateTunnel(), HttpClient()
    health.checks.extend(checks)
    flows = FlowSchemas()
    flows.attach(registry)
    parts = Parts(
        registry=registry,
        flows=flows,
        authenticator=authenticator,
        authorizer=rbac,
        decoder=SchemaDecoder(plane.schemas),
        clock=clock,
        discovery=lambda catalog: Discovery(catalog, f"{listen[0]}:{listen[1]}"),
        openapi=lambda catalog: OpenApi(catalog, plane.schemas.definitions, clock),
        calls={**reviews, **scales.handlers(), **PodCalls(registry, clock).handlers()},
        tunnel=tunnel,
        issuer=Issuer(jwt_keys.openid_configuration(DEFAULT_ISSUER, DEFAULT_ISSUER + JWKS_PATH), keys.jwks),
        health=health,
        metrics=metrics,
        client=http,
    )
    server = ApiServer(Dispatcher(parts))
    try:
        port = await server.start(*listen, tls)
    except OSError:
        await http.close()
        raise
    return Api(plane, pki, tokens, health, metrics, tunnel, http, server, tls, names, port)
