"""main: the composition root: everything in order, stopped in reverse.

store → keys → plane → API server → controllers → host → syncer. What can fail
at the start (a store that is locked, a port in use, a host that does not answer) ends it with one line and exit
code 1; afterwards nothing of the host stops the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import os
import shlex
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop

from storage import compactor
from storage.errors import KeyExists, StorageError
from storage.factory import open_store
from storage.store import Store
from sync import nodes_copy, service_mapping
from sync.anchor import AnchorMismatch
from sync.cluster import ClusterError
from sync.metadata import KeyPatterns
from sync.mirrors import ClassRule
from sync.own_service import OwnService
from sync.services import HostAllocator
from sync.tenancy import Settings as TenancySettings
from sync.tenancy import Tenancy
from sync.tokens import IssuedToken
from sync.translator import SECRETS, SERVICES
from sync.virtual import VirtualCluster
from sync.workloads.rows import idle_controllers
from vapi import apiserver, hosts, logs
from vapi.apiserver import Api
from vapi.auth import bootstrap
from vapi.auth import pki as pki_module
from vapi.auth.admission import builtin_plugins
from vapi.auth.authenticator import Anonymous
from vapi.auth.pki import Pki
from vapi.auth.rbac import Rbac
from vapi.clock import Clock, SystemClock
from vapi.config import FROM_HOST, Address, Config, ConfigError, in_cluster_namespace, kubectl_command
from vapi.config_values import NodesMode
from vapi.control import controllers
from vapi.control.controller import Controller
from vapi.control.controllers import ControllerManager
from vapi.control.controllers import Settings as ControllerSettings
from vapi.control.node_leases import NodeLeases
from vapi.control.scheduler.scheduler import Scheduler
from vapi.control.service_ip import ServiceAllocator
from vapi.control.taint_eviction import TaintEvictionController
from vapi.dns import choice as dns_choice
from vapi.dns.installer import DnsInstaller
from vapi.dns.manifest import Mode as DnsMode
from vapi.dns.manifest import Settings as DnsSettings
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.hosts import HostError, HostTunnel, SimulatedTunnel
from vapi.plane import ControlPlane, running_plane
from vapi.registry.admission import Lookup
from vapi.registry.allocator import Allocator
from vapi.registry.client import Client
from vapi.registry.notices import HostKind, Situation
from vapi.schema.schemas import Schemas, load_schemas

log = logging.getLogger(__name__)

SERVICE_RANGE = "10.96.0.0/16"
"""Of Services where no host gives them addresses; kubeadm's default starts there too."""
STORE_ID_KEY = "/vapi/store-id"
"""Outside `/registry/`: no request reaches it."""
COLLECT_AT = 25_000
"""New objects that may be part of cycles: a collection looks at each, about 0.2 µs, and those that stay are frozen."""
GARBAGE_LOOK_S = 0.25
FULL_COLLECTION_S = 60.0
"""Between runs of the garbage collector, which is otherwise off (design, law 9)."""


def run(config: Config) -> int:
    """The exit code of `vapi serve`. Raises ConfigError."""
    logs.configure(config.log_level)
    try:
        return uvloop.run(serve(config))
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, _ENDS):
            return _end(_one_line(first))
        raise
    except _ENDS as error:
        return _end(_one_line(error))


class ListenError(Exception):
    """The API server cannot listen; one line for the person who started us."""


_ENDS = (HostError, ListenError, AnchorMismatch, StorageError, OSError, ApiError)
"""What ends the start with one line; everything else is a bug and keeps its traceback."""


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner: BaseException = group
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def _one_line(error: BaseException) -> str:
    return _os_error(error) if isinstance(error, OSError) else str(error)


def _os_error(error: OSError) -> str:
    """Without the number and what asyncio adds; with the file, where it has one."""
    known = error.errno is not None and error.errno > 0  # a failed look-up has numbers of its own
    text = os.strerror(error.errno or 0) if known else error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename is not None else text


def _end(message: str) -> int:
    print(f"vapi: {message}", file=sys.stderr)  # noqa: T201 - the one line for the person at the terminal
    return 1


async def serve(config: Config) -> int:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.disable()
    async with virtual_cluster(config) as cluster:
        gc.collect()
        gc.freeze()
        _announce(cluster, config)
        await stop.wait()
        log.info("stopping")
    return 0


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A running virtual cluster; for the announcement and for tests."""

    plane: ControlPlane
    api: Api
    kubeconfig: Path


@contextlib.asynccontextmanager
async def virtual_cluster(config: Config) -> AsyncIterator[RunningCluster]:
    """The whole of it until the block ends.

    Raises HostError, ListenError, AnchorMismatch, StorageError, OSError, ApiError.
    """
    clock = SystemClock()
    schemas = load_schemas()
    _make_private(config.data_dir)
    shared = config.store.startswith("etcd=")
    dns = dns_choice.settings(config)
    async with contextlib.AsyncExitStack() as stack:
        host = None
        if config.host.kind != "none":
            # a host that cannot be reached is told before anything is written
            host = await stack.enter_async_context(_opened_host(config, schemas, clock))
        store = await open_store(store_url(config))
        stack.push_async_callback(store.close)
        pki = await apiserver.load_pki(store, config.data_dir / "pki", name=config.name, shared=shared, clock=clock)
        rbac = Rbac()
        numbers: HostAllocator | None = HostAllocator(clock) if host is not None else None
        plane = await stack.enter_async_context(
            running_plane(
                store,
                clock=clock,
                schemas=schemas,
                plugins=lambda registry: builtin_plugins(
                    registry, rbac, quotas=Client(registry, "kube-apiserver"), clock=clock
                ),
                situation=situation(config),
                allocators=lambda lookup: {("", "services"): _allocator(numbers, lookup, clock)},
            )
        )
        namespace = host_namespace(config)
        api = await _open_api(config, plane, pki, rbac, namespace)
        stack.push_async_callback(api.stop)
        kubeconfig = config.data_dir / "kubeconfig"
        api.write_kubeconfig(kubeconfig, server=_server_url(config, api.port), name=config.name)
        group = await stack.enter_async_context(_Background())
        manager = _manager(config, plane, root_ca=pki.ca_certificate.decode())
        if dns.mode is DnsMode.EMBEDDED:
            await stack.enter_async_context(_embedded_dns(plane, dns, dns_choice.listen(config)))
        if config.controllers_external and host is not None:
            manager.controllers.append(NodeLeases(manager.context))
        manager.controllers.append(DnsInstaller(manager.context, dns, lambda: numbers is None or numbers.attached))
        tenancy = None
        if host is not None:
            assert numbers is not None
            tenancy = _tenancy(config, namespace, plane, api, host, numbers, manager, await store_id(store), dns)
            if config.sync_nodes_mode is NodesMode.VIRTUAL:
                manager.controllers += _of_virtual_nodes(config, manager, tenancy)
        group.start(manager.run(), "controllers")
        group.start(compactor.run(store, told=plane.feed.compact), "compactor")
        group.start(api.run(), "certificates")
        group.start(_collect_garbage(), "garbage collection")
        if tenancy is None:
            first = str(ipaddress.ip_network(SERVICE_RANGE)[1])
            await _kubernetes_service(plane, api, config, OwnService(first, 443), SERVICE_RANGE)
        else:
            group.start(_follow_host(tenancy, plane, api, config), "syncer")
        yield RunningCluster(plane, api, kubeconfig)


def _opened_host(config: Config, schemas: Schemas, clock: Clock) -> contextlib.AbstractAsyncContextManager[hosts.Host]:
    return hosts.opened(
        config.host,
        data_dir=config.data_dir,
        durable=config.store != "memory",
        nodes=config.simulated_nodes,
        schemas=schemas,
        clock=clock,
    )


async def _open_api(config: Config, plane: ControlPlane, pki: Pki, rbac: Rbac, namespace: str) -> Api:
    """Raises ListenError, OSError."""
    names = pki_module.serving_names(cluster_domain=config.cluster_domain, others=_other_names(config, namespace))
    try:
        return await apiserver.open_api(
            plane,
            pki,
            rbac,
            listen=(config.listen.host, config.listen.port),
            names=names,
            anonymous=Anonymous(config.anonymous),
        )
    except OSError as error:
        if error.filename is not None:  # a certificate that cannot be written
            raise
        raise ListenError(f"--listen {config.listen}: {_os_error(error)}") from None


def _manager(config: Config, plane: ControlPlane, *, root_ca: str) -> ControllerManager:
    idle = idle_controllers(config.host_workloads)
    return ControllerManager(
        plane.client("controllers"),
        ControllerSettings(root_ca=root_ca),
        clock=plane.clock,
        only=controllers.chosen(external=config.controllers_external, without=idle),
    )


@contextlib.asynccontextmanager
async def _embedded_dns(plane: ControlPlane, dns: DnsSettings, listen: tuple[Address, ...]) -> AsyncIterator[None]:
    """Raises ListenError."""
    from vapi.dns import embedded  # on demand: its library costs 50 ms and 13 MB, and only this mode needs it

    async with contextlib.AsyncExitStack() as stack:
        try:
            found = await stack.enter_async_context(embedded.running(plane.client("dns"), dns, listen))
        except OSError as error:
            if error.filename is not None:  # resolv.conf
                raise
            raise ListenError(f"--dns-listen {listen[0]}: {_os_error(error)}") from None
        log.info("DNS listens", extra={"address": found.host, "port": found.port})
        yield


class _Background:
    """Tasks that run until the block ends; one that fails ends the block."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Background:
        await self._group.__aenter__()
        return self

    def start(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        self._tasks.append(self._group.create_task(coroutine, name=name))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in reversed(self._tasks):
            task.cancel()
        await self._group.__aexit__(kind, error, trace)


def _tenancy(
    config: Config,
    namespace: str,
    plane: ControlPlane,
    api: Api,
    host: hosts.Host,
    numbers: HostAllocator,
    manager: ControllerManager,
    identity: str,
    dns: DnsSettings,
) -> Tenancy:
    def issue(namespace: str, account: str, pod: str, uid: str, audience: str, seconds: int) -> IssuedToken:
        try:
            issued = api.tokens.issue(
                api.tokens.account(namespace, account),
                audiences=(audience,) if audience else (),
                expiration_s=seconds,
                bound={"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid} if pod else None,
                extend=False,
            )
        except ApiError as error:
            raise ClusterError(error.code, error.reason, error.message) from None
        return IssuedToken(issued.token, issued.expires)

    tenancy = Tenancy(
        virtual=VirtualCluster(plane.client("vapi-syncer")),
        host=host.cluster,
        settings=_tenancy_settings(config, namespace, dns, every_node=host.every_node),
        store_id=identity,
        events=manager.events.record,
        issue=issue,
        allocator=numbers,
        clock=plane.clock,
    )
    if host.real is not None:
        api.tunnel.inner = HostTunnel(tenancy.tunnels, host.real)
    else:
        api.tunnel.inner = SimulatedTunnel(tenancy.tunnels)
    return tenancy


def _tenancy_settings(config: Config, namespace: str, dns: DnsSettings, *, every_node: bool) -> TenancySettings:
    """`every_node`: what the host shows where nobody says which."""
    return TenancySettings(
        cluster=config.name,
        host_namespace=namespace,
        advertise=(config.advertise.host, config.advertise.port) if config.advertise else None,
        rate=config.host_rate,
        nodes=nodes_copy.rules(
            config.sync_nodes_mode,
            selector=config.sync_nodes_selector,
            tolerations=config.sync_nodes_tolerations,
            every_node=every_node,
        ),
        service_account=f"{config.name}-workload",
        dns=dns.mode is not DnsMode.NONE,
        cluster_domain=dns.domain,
        not_sent=config.not_sent,
        naming={
            **dict.fromkeys(config.sync_to_host_ingresses_secret_annotations, SECRETS),
            **dict.fromkeys(config.sync_to_host_ingresses_service_annotations, SERVICES),
        },
        workloads=config.host_workloads,
        mapped_in=service_mapping.from_host(config.service_mapping_from_host),
        mapped_out=service_mapping.to_host(config.service_mapping_to_host),
        from_host=KeyPatterns(config.sync_from_host_labels, config.sync_from_host_annotations),
        classes={kind: ClassRule(*config.classes(kind)) for kind in FROM_HOST},
    )


def _of_virtual_nodes(config: Config, manager: ControllerManager, tenancy: Tenancy) -> list[Controller[Any]]:
    """Who places the tenant's pods on its own Nodes, and who makes them leave."""

    def serves(node: Obj) -> bool:
        return nodes_copy.VIRTUAL in (node["metadata"].get("labels") or {})

    found: list[Controller[Any]] = [Scheduler(manager.context, binder=tenancy.binder, serves=serves)]
    if not config.controllers_external:
        found.append(TaintEvictionController(manager.context))
    return found


async def _follow_host(tenancy: Tenancy, plane: ControlPlane, api: Api, config: Config) -> None:
    tenancy.own_moved = lambda moved: api.add_names(moved.ip)
    own = await tenancy.connect()
    if own.ip:
        api.add_names(own.ip)
        cidr = str(ipaddress.ip_network(f"{own.ip}/16", strict=False))
        await _kubernetes_service(plane, api, config, own, cidr)
    try:
        await tenancy.run()
    except* AnchorMismatch as gone:
        if not tenancy.syncer.synced.is_set():
            raise
        # the anchor was deleted under us: nothing may be synced any more, but the tenant's API goes on
        log.error("sync has ended", extra={"reason": str(_first(gone))})


async def _kubernetes_service(plane: ControlPlane, api: Api, config: Config, own: OwnService, cidr: str) -> None:
    """default/kubernetes at the address under which pods reach us."""
    api.add_names(own.ip)
    address = config.advertise.host if config.advertise else config.listen.host
    try:
        ipaddress.ip_address(address)
    except ValueError:
        address = ""
    if address in ("0.0.0.0", "::"):
        address = ""
    port = config.advertise.port if config.advertise else api.port
    client = plane.client("kube-apiserver")
    await bootstrap.ensure_kubernetes_service(
        client, plane.clock, cluster_ip=own.ip, cidr=cidr, address=address, port=port
    )


def _allocator(numbers: HostAllocator | None, lookup: Lookup, clock: SystemClock) -> Allocator:
    if numbers is not None:
        numbers.use(lookup)
        return numbers
    return ServiceAllocator(lookup, clock, ip_ranges=(SERVICE_RANGE,))


async def _collect_garbage() -> None:
    """In steps: half a second went in one when a minute of load had left two million objects."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while True:
        await asyncio.sleep(GARBAGE_LOOK_S)
        if gc.get_count()[0] < COLLECT_AT and loop.time() - last < FULL_COLLECTION_S:
            continue
        gc.collect()
        gc.freeze()
        last = loop.time()


async def store_id(store: Store) -> str:
    """The identity of the data, made once: the host's objects belong to it."""
    with contextlib.suppress(KeyExists):
        await store.create(STORE_ID_KEY, str(uuid.uuid4()).encode())
    return (await store.get(STORE_ID_KEY)).value.decode()


def store_url(config: Config) -> str:
    """Of storage.factory, for `--store`."""
    kind, _, urls = config.store.partition("=")
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite://{(config.data_dir / 'state.db').resolve()}"
    scheme = "https" if urls.startswith("https://") else "http"
    hosts_part = ",".join(u.removeprefix("http://").removeprefix("https://").rstrip("/") for u in urls.split(","))
    prefix = "" if "prefix=" in hosts_part else ("&" if "?" in hosts_part else "?") + f"prefix=/vapi/{config.name}"
    return f"{scheme}://{hosts_part}{prefix}"


def situation(config: Config) -> Situation:
    """What hangs on the settings of what the tenant is told."""
    kinds = {"none": HostKind.NONE, "embedded": HostKind.SIMULATED}
    classes = ("storage_classes", "ingress_classes", "runtime_classes", "priority_classes")
    return Situation(
        host=kinds.get(config.host.kind, HostKind.REAL),
        not_sent=config.not_sent,
        mirrored=frozenset(c.replace("_", "") for c in classes if getattr(config, f"sync_from_host_{c}_enabled")),
    )


def host_namespace(config: Config) -> str:
    """Given, or our own inside of a cluster, or `vapi-NAME`."""
    if config.host_namespace:
        return config.host_namespace
    if config.host.kind == "in-cluster":
        found = in_cluster_namespace()
        if not found:
            raise ConfigError("--host in-cluster: this is no pod of a cluster (no service account is mounted)")
        return found
    return f"vapi-{config.name}"


def _other_names(config: Config, namespace: str) -> tuple[str, ...]:
    own = (config.name, f"{config.name}.{namespace}", f"{config.name}.{namespace}.svc")
    addresses = [config.listen.host] if config.listen.host not in ("0.0.0.0", "::") else []
    if config.advertise:
        addresses.append(config.advertise.host)
    return (*addresses, *own)


def _server_url(config: Config, port: int) -> str:
    host = config.listen.host
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _make_private(directory: Path) -> None:
    """Raises OSError, which names the directory."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None


def _announce(cluster: RunningCluster, config: Config) -> None:
    log.info(
        "virtual cluster is ready",
        extra={
            "cluster": config.name,
            "port": cluster.api.port,
            "host": config.host.kind,
            "store": config.store.partition("=")[0],
        },
    )
    path = shlex.quote(str(cluster.kubeconfig.resolve()))
    kubectl = shlex.quote(kubectl_command())
    lines = (
        f"The virtual cluster {config.name!r} is ready.",
        f"  kubeconfig: {path}",
        f"  try:        {kubectl} --kubeconfig {path} create deployment web --image=nginx --replicas=3",
    )
    print("\n".join(lines), flush=True)  # noqa: T201 - what a person who types `make run` is to do next
