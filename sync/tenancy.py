"""Tenancy: the syncer of one virtual cluster with what takes part beside the engine: tokens, nodes, events, numbers.

What it is given is two Clusters and a few functions; it knows neither storage nor HTTP.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import logging
from collections.abc import Callable, Mapping

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
        hooks = _Hooks()
        self._mirrors = hooks.mirrors = Mirrors(
            virtual=virtual,
            host=host,
            host_namespace=settings.host_namespace,
            rules={**settings.classes, PERSISTENT_VOLUMES.group: ClassRule(CLAIMS.resource not in settings.not_sent)},
            patterns=settings.from_host,
            claims=lambda: self.syncer.informers.get(CLAIMS),
            changed=lambda: self.syncer.reconsider(),
            events=events,
            clock=clock,
        )
        context = Context(
            withheld_class=self._mirrors.withheld_class,
            default_storage_class=self._mirrors.default_storage_class,
            is_mirror=self._mirrors.is_mirror,
            priority_class=self._mirrors.priority_class,
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
        self.syncer = Syncer(
            virtual=virtual,
            host=host,
            context=context,
            store_id=store_id,
            events=events,
            hooks=hooks,
            rate=settings.rate,
            clock=clock,
            gate=allocator.gate,
            rows=[
                *sent_rows(settings.not_sent, settings.naming),
                *workload_rows(settings.workloads),
            ],
        )
        self._children = hooks.children = ChildMirrors(
            engine=self.syncer.engine, host=host, kinds=settings.workloads, rows=workload_rows(settings.workloads)
        )
        self.syncer.on_twin(self._children.workload_changed)
        self._templates = hooks.templates = TemplateTokens(
            virtual=virtual,
            host=host,
            limiter=self.syncer.limiter,
            context=lambda: self.syncer.context,
            issue=issue,
            events=events,
            clock=clock,
            in_use=self._children.names,
        )
        self._tokens = hooks.tokens = PodTokens(
            virtual=virtual,
            host=host,
            limiter=self.syncer.limiter,
            context=lambda: self.syncer.context,
            issue=issue,
            clock=clock,
            on_host=lambda namespace, name: self.syncer.twin(Ref(PODS, namespace, name)) is not None,
        )
        self.syncer.on_twin(self._mirrors.claim_changed)
        self._nodes = hooks.nodes = Nodes(virtual=virtual, host=host, clock=clock, rules=settings.nodes)
        self.binder = hooks.binder = HostBinder(
            virtual=virtual,
            twin=self.syncer.twin,
            touch=self.syncer.touch,
            synced=self.syncer.synced,
            clock=clock,
        )
        """What the scheduler of virtual nodes binds by."""
        if settings.nodes.virtual:
            self.syncer.use(chosen_node=self.binder.chosen)
            self.syncer.on_twin(self.binder.twin_changed)
        self._dns = ClusterDns(virtual, expected=settings.dns, known=self._dns_known, events=events, clock=clock)
        hooks.dns = lambda pod: self._dns.before_create(pod, self.syncer.context)
        self._events = Events(
            virtual=virtual,
            host=host,
            host_namespace=settings.host_namespace,
            informers=lambda: self.syncer.informers,
            places_itself=settings.nodes.virtual,
            children=self._children.events,
        )
        self._mapping = ServiceMapping(
            virtual=virtual,
            host=host,
            limiter=self.syncer.limiter,
            context=lambda: self.syncer.context,
            from_host=settings.mapped_in,
            to_host=settings.mapped_out,
            events=events,
            clock=clock,
        )
        self._strays = Strays(
            virtual=virtual,
            host=host,
            limiter=self.syncer.limiter,
            context=lambda: self.syncer.context,
            informers=lambda: self.syncer.informers,
            touch=self.syncer.touch,
            clock=clock,
        )
        self.own_moved: Callable[[OwnService], None] = lambda _: None
        """Our Service has another address: who made certificates and default/kubernetes of it must know."""
        self._keeper = Keeper(
            host,
            cluster=settings.cluster,
            host_namespace=settings.host_namespace,
            advertise=settings.advertise,
            anchor_uid=lambda: self.syncer.context.anchor_uid,
            moved=self._moved,
        )
        self.tunnels = Tunnels(
            virtual=virtual, host=host, context=lambda: self.syncer.context, child=self._children.pod_on_host
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
        await self._virtual.renumber(*OWN_SERVICE, {"spec": spec}, uid=shown.uid)

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
                group.create_task(self._beside(), name="tokens, nodes and events")
                await self.syncer.run()
        finally:
            self._dns.close()

    async def _beside(self) -> None:
        await self.syncer.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tokens.run(), name="tokens")
            group.create_task(self._templates.run(), name="tokens of templates")
            group.create_task(self._children.run(), name="children")
            group.create_task(self._nodes.run(), name="nodes")
            group.create_task(self._events.run(), name="events")
            group.create_task(self._mapping.run(), name="service mapping")
            group.create_task(self._strays.run(), name="stray endpoints")
            group.create_task(self._keeper.run(), name="our own Service")
