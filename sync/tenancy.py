"""Tenancy: the syncer of one virtual cluster with what takes part beside the engine: tokens, nodes, events, numbers.

What it is given is two Clusters and a few functions; it knows neither storage nor HTTP.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import logging
from collections.abc import Callable, Coroutine, Mapping

from sync import metadata as md
from sync.cluster import Cluster, ClusterError
from sync.cluster_dns import ClusterDns
from sync.events import Events
from sync.mirror_rows import PERSISTENT_VOLUMES
from sync.mirrors import ClassRule, Mirrors
from sync.nodes import Nodes
from sync.nodes_copy import NodeRules
from sync.own_service import Keeper, OwnService, ensure_own_service
from sync.ownership import Twin
from sync.placing import HostBinder
from sync.service_mapping import Mapped, ServiceMapping
from sync.services import HostAllocator
from sync.state import EventSink
from sync.strays import Strays
from sync.syncer import Syncer
from sync.tokens import Issue, PodTokens
from sync.translator import CLAIMS, PODS, SERVICES, Context, Ref
from sync.translators.services import OWN as OWN_SERVICE
from sync.translators.table import sent_rows
from sync.tunnels import Tunnels
from sync.virtual import VirtualCluster
from sync.workloads.mirrors import ChildMirrors
from sync.workloads.rows import rows as workload_rows
from sync.workloads.tokens import TemplateTokens
from vapi.clock import Clock
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

NODES = GVR("", "v1", "nodes")
RETRY_S = 2.0


class _Hooks:
    """DNS, tokens and nodes, where the engine calls them."""

    def __init__(self) -> None:
        self.dns: Callable[[Obj], None] | None = None
        self.tokens: PodTokens | None = None
        self.nodes: Nodes | None = None
        self.binder: HostBinder | None = None
        self.mirrors: Mirrors | None = None
        self.templates: TemplateTokens | None = None
        self.children: ChildMirrors | None = None

    async def while_parked(self, virtual: Obj) -> None:
        if self.tokens is not None:
            await self.tokens.before_create(virtual)

    async def before_create(self, virtual: Obj) -> None:
        if self.dns is not None:
            self.dns(virtual)  # first, and without awaiting: what was just translated still holds
        if self.tokens is not None:
            await self.tokens.before_create(virtual)

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        if self.binder is not None:
            self.binder.created(virtual)

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        if self.nodes is not None:
            await self.nodes.before_bind(virtual, node_name)

    async def before_bound(self, claim: Obj) -> None:
        if self.mirrors is not None:
            await self.mirrors.before_bound(claim)

    def gone(self, namespace: str, name: str, twin: Twin | None) -> None:
        if self.tokens is not None:
            self.tokens.gone(namespace, name)

    async def before_template(self, resource: GVR, virtual: Obj, template: Obj) -> None:
        if self.dns is not None:
            self.dns({**virtual, "spec": template.get("spec") or {}})
        if self.templates is not None:
            await self.templates.before_template(resource, virtual, template)

    def template_gone(self, resource: GVR, namespace: str, name: str) -> None:
        if self.templates is not None:
            self.templates.gone(resource, namespace, name)

    def propagation(self, twin: Twin) -> str:
        return self.children.propagation(twin) if self.children is not None else "Background"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """`advertise`: where pods of the host reach us if we run outside of it; `nodes`: which of its nodes are shown, how.

    `dns`: the tenant has, or will have, a Service kube-system/kube-dns that its pods wait for.
    """

    cluster: str
    host_namespace: str
    advertise: tuple[str, int] | None = None
    rate: float = 400.0
    nodes: NodeRules = dataclasses.field(default_factory=NodeRules)
    service_account: str = "default"
    dns: bool = False
    cluster_domain: str = "cluster.local"
    not_sent: frozenset[str] = frozenset()
    """Resources (plurals) of translators.table that stay in the tenant."""
    naming: Mapping[str, GVR] = dataclasses.field(default_factory=dict)
    """Annotations of Ingresses that hold a name, besides those of translators.ingresses."""
    workloads: tuple[str, ...] = ()
    """Resources (plurals) of the workloads that the host's own controllers run."""
    mapped_in: tuple[Mapped, ...] = ()
    mapped_out: tuple[Mapped, ...] = ()
    from_host: md.KeyPatterns = dataclasses.field(default_factory=md.KeyPatterns)
    """Keys of labels and annotations that the host owns."""
    classes: Mapping[str, ClassRule] = dataclasses.field(default_factory=dict)
    """By the last part of their name in the configuration: `storage_classes`."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Ends:
    """What every part is made from. `syncer` may be asked once all are made."""

    virtual: VirtualCluster
    host: Cluster
    settings: Settings
    events: EventSink
    clock: Clock
    syncer: Callable[[], Syncer]

    def context(self) -> Context:
        return self.syncer().context


class Tenancy:
    """`connect` first, then `run` until cancelled."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        settings: Settings,
        store_id: str,
        events: EventSink,
        issue: Issue,
        allocator: HostAllocator,
        clock: Clock,
    ) -> None:
        self._virtual = virtual
        self._host = host
        self._settings = settings
        self._allocator = allocator
        ends = _Ends(virtual, host, settings, events, clock, lambda: self.syncer)
        hooks = _Hooks()
        self._mirrors = hooks.mirrors = _mirrors(ends)
        self.syncer = _syncer(ends, hooks, self._mirrors, allocator, store_id)
        self._children = hooks.children = ChildMirrors(
            engine=self.syncer.engine, host=host, kinds=settings.workloads, rows=workload_rows(settings.workloads)
        )
        hooks.templates = _template_tokens(ends, issue, self._children)
        hooks.tokens = _pod_tokens(ends, issue)
        hooks.nodes = Nodes(virtual=virtual, host=host, clock=clock, rules=settings.nodes)
        self.binder = hooks.binder = HostBinder(
            virtual=virtual, twin=self.syncer.twin, touch=self.syncer.touch, synced=self.syncer.synced, clock=clock
        )
        """What the scheduler of virtual nodes binds by."""
        self._dns = ClusterDns(virtual, expected=settings.dns, known=self._dns_known, events=events, clock=clock)
        hooks.dns = lambda pod: self._dns.before_create(pod, self.syncer.context)
        self.own_moved: Callable[[OwnService], None] = lambda _: None
        """Our Service has another address: who made certificates and default/kubernetes of it must know."""
        self.tunnels = Tunnels(virtual=virtual, host=host, context=ends.context, child=self._children.pod_on_host)
        self._follow_twins()
        self._beside: Mapping[str, Callable[[], Coroutine[None, None, None]]] = {
            "tokens": hooks.tokens.run,
            "tokens of templates": hooks.templates.run,
            "children": self._children.run,
            "nodes": hooks.nodes.run,
            "events": _events(ends, self._children).run,
            "service mapping": _mapping(ends).run,
            "stray endpoints": _strays(ends).run,
            "our own Service": self._keeper().run,
        }
        """What begins once the syncer knows both sides."""

    def _follow_twins(self) -> None:
        """In the order in which they are to know."""
        self.syncer.on_twin(self._children.workload_changed)
        self.syncer.on_twin(self._mirrors.claim_changed)
        if self._settings.nodes.virtual:
            self.syncer.use(chosen_node=self.binder.chosen)
            self.syncer.on_twin(self.binder.twin_changed)

    def _keeper(self) -> Keeper:
        return Keeper(
            self._host,
            cluster=self._settings.cluster,
            host_namespace=self._settings.host_namespace,
            advertise=self._settings.advertise,
            anchor_uid=lambda: self.syncer.context.anchor_uid,
            moved=self._moved,
        )

    async def _moved(self, own: OwnService) -> None:
        """Pods that are made from now on know it; the others must be started anew."""
        log.error("our own Service has another address: pods that run do not know it", extra={"address": own.ip})
        self.syncer.use(api_server_ip=own.ip, api_server_port=own.port)
        self.own_moved(own)
        shown = self._virtual.cached(SERVICES, *OWN_SERVICE)
        if shown is None or not own.ip:
            return
        numbers = {"clusterIP": own.ip, "clusterIPs": [own.ip]}
        spec = {**shown.obj()["spec"], **numbers, "ipFamilies": [f"IPv{ipaddress.ip_address(own.ip).version}"]}
        try:
            await self._virtual.renumber(*OWN_SERVICE, {"spec": spec}, uid=shown.uid)
        except ClusterError as error:  # somebody wrote or deleted it just now; the keeper looks again
            log.warning("default/kubernetes keeps its old address", extra={"error": error.message})

    def _dns_known(self, ip: str | None) -> None:
        waiting = self.syncer.context.dns_ip == ""
        self.syncer.use(dns_ip=ip)
        if waiting and ip:
            self.syncer.queue.refill()

    async def connect(self) -> OwnService:
        """Our Service on the host; from here on the tenant's Services get their numbers. Waits for the host."""
        said = False
        shown = self._virtual.cached(SERVICES, *OWN_SERVICE)
        address = shown.obj()["spec"].get("clusterIP", "") if shown is not None else ""
        while True:
            try:
                own = await ensure_own_service(
                    self._host,
                    cluster=self._settings.cluster,
                    host_namespace=self._settings.host_namespace,
                    advertise=self._settings.advertise,
                    address=address,
                )
            except ClusterError as error:
                if not said:
                    log.warning("host not ready, sync waits", extra={"error": error.message})
                said = True
                await asyncio.sleep(RETRY_S)
                continue
            self.syncer.use(api_server_ip=own.ip, api_server_port=own.port)
            self._allocator.attach(
                self._host, lambda: self.syncer.context, lambda: self.syncer.informers[SERVICES].twins()
            )
            if address and own.ip and own.ip != address:
                await self._moved(own)  # while we were down
            return own

    async def run(self) -> None:
        """Raises AnchorMismatch if the host's objects belong to another store."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.binder.run(), name="binder")
                group.create_task(self._mirrors.run(), name="mirrors")
                group.create_task(self._run_beside(), name="beside the engine")
                await self.syncer.run()
        finally:
            self._dns.close()

    async def _run_beside(self) -> None:
        await self.syncer.synced.wait()
        async with asyncio.TaskGroup() as group:
            for name, run in self._beside.items():
                group.create_task(run(), name=name)


# --- how the parts are made -----------------------------------------------------------------------------


def _mirrors(ends: _Ends) -> Mirrors:
    settings = ends.settings
    return Mirrors(
        virtual=ends.virtual,
        host=ends.host,
        host_namespace=settings.host_namespace,
        rules={**settings.classes, PERSISTENT_VOLUMES.group: ClassRule(CLAIMS.resource not in settings.not_sent)},
        patterns=settings.from_host,
        claims=lambda: ends.syncer().informers.get(CLAIMS),
        changed=lambda: ends.syncer().reconsider(),
        events=ends.events,
        clock=ends.clock,
    )


def _syncer(ends: _Ends, hooks: _Hooks, mirrors: Mirrors, allocator: HostAllocator, store_id: str) -> Syncer:
    settings = ends.settings
    return Syncer(
        virtual=ends.virtual,
        host=ends.host,
        context=_context(settings, mirrors),
        store_id=store_id,
        events=ends.events,
        hooks=hooks,
        rate=settings.rate,
        clock=ends.clock,
        gate=allocator.gate,
        rows=[*sent_rows(settings.not_sent, settings.naming), *workload_rows(settings.workloads)],
    )


def _context(settings: Settings, mirrors: Mirrors) -> Context:
    return Context(
        withheld_class=mirrors.withheld_class,
        default_storage_class=mirrors.default_storage_class,
        is_mirror=mirrors.is_mirror,
        priority_class=mirrors.priority_class,
        cluster=settings.cluster,
        host_namespace=settings.host_namespace,
        service_account=settings.service_account,
        cluster_domain=settings.cluster_domain,
        from_host=settings.from_host,
        mapped=frozenset((m.target_namespace, m.target) for m in settings.mapped_in),
        node_selector=settings.nodes.selector,
        tolerations=settings.nodes.tolerations,
        virtual_nodes=settings.nodes.virtual,
    )


def _template_tokens(ends: _Ends, issue: Issue, children: ChildMirrors) -> TemplateTokens:
    return TemplateTokens(
        virtual=ends.virtual,
        host=ends.host,
        limiter=ends.syncer().limiter,
        context=ends.context,
        issue=issue,
        events=ends.events,
        clock=ends.clock,
        in_use=children.names,
    )


def _pod_tokens(ends: _Ends, issue: Issue) -> PodTokens:
    return PodTokens(
        virtual=ends.virtual,
        host=ends.host,
        limiter=ends.syncer().limiter,
        context=ends.context,
        issue=issue,
        clock=ends.clock,
        on_host=lambda namespace, name: ends.syncer().twin(Ref(PODS, namespace, name)) is not None,
    )


def _events(ends: _Ends, children: ChildMirrors) -> Events:
    return Events(
        virtual=ends.virtual,
        host=ends.host,
        host_namespace=ends.settings.host_namespace,
        informers=lambda: ends.syncer().informers,
        places_itself=ends.settings.nodes.virtual,
        children=children.events,
    )


def _mapping(ends: _Ends) -> ServiceMapping:
    return ServiceMapping(
        virtual=ends.virtual,
        host=ends.host,
        limiter=ends.syncer().limiter,
        context=ends.context,
        from_host=ends.settings.mapped_in,
        to_host=ends.settings.mapped_out,
        events=ends.events,
        clock=ends.clock,
    )


def _strays(ends: _Ends) -> Strays:
    return Strays(
        virtual=ends.virtual,
        host=ends.host,
        limiter=ends.syncer().limiter,
        context=ends.context,
        informers=lambda: ends.syncer().informers,
        touch=ends.syncer().touch,
        clock=ends.clock,
    )
