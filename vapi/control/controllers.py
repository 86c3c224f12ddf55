"""The table of controllers, and the manager that runs them: what a kube-controller-manager is elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vapi.clock import Clock, SystemClock
from vapi.control.clusterrole_aggregation import ClusterRoleAggregationController
from vapi.control.controller import FIELD_MANAGER, Context, Controller
from vapi.control.cronjob import CronJobController
from vapi.control.daemonset import DaemonSetController
from vapi.control.deployment import DeploymentController
from vapi.control.disruption import DisruptionController, StaleDisruptionController
from vapi.control.endpoints import EndpointsController
from vapi.control.endpointslice import EndpointSliceController
from vapi.control.endpointslice_mirroring import EndpointSliceMirroringController
from vapi.control.ephemeral_volume import EphemeralVolumeController
from vapi.control.events import EventRecorder
from vapi.control.expiry import ExpiryController
from vapi.control.garbage_collector import GarbageCollector
from vapi.control.informer import Informers
from vapi.control.job import JobController, JobOrphanController
from vapi.control.namespace import NamespaceController
from vapi.control.pod_gc import PodGcController
from vapi.control.replicaset import REPLICATION_CONTROLLER, ReplicaSetController
from vapi.control.resource_quota import ResourceQuotaController
from vapi.control.root_ca import RootCaController
from vapi.control.service_account import ServiceAccountController
from vapi.control.statefulset import StatefulSetController
from vapi.control.storage_protection import (
    AttributesClassProtectionController,
    ClaimProtectionController,
    VolumeProtectionController,
)
from vapi.control.ttl_after_finished import TtlAfterFinishedController
from vapi.registry.client import Client


@dataclass(frozen=True, slots=True)
class Settings:
    """What single controllers need to know. `root_ca`: PEM of the CA that signed the server's certificate."""

    root_ca: str = ""


Factory = Callable[[Context, Settings], Controller[Any]]

CONTROLLERS: Mapping[str, Factory] = {
    "namespace-controller": lambda context, _: NamespaceController(context),
    "garbage-collector-controller": lambda context, _: GarbageCollector(context),
    "service-account-controller": lambda context, _: ServiceAccountController(context),
    "root-ca-certificate-publisher": lambda context, settings: RootCaController(context, settings.root_ca),
    "clusterrole-aggregation-controller": lambda context, _: ClusterRoleAggregationController(context),
    "replicaset-controller": lambda context, _: ReplicaSetController(context),
    "replicationcontroller-controller": lambda context, _: ReplicaSetController(context, REPLICATION_CONTROLLER),
    "deployment-controller": lambda context, _: DeploymentController(context),
    "statefulset-controller": lambda context, _: StatefulSetController(context),
    "daemonset-controller": lambda context, _: DaemonSetController(context),
    "job-controller": lambda context, _: JobController(context),
    "job-orphan-pods": lambda context, _: JobOrphanController(context),
    "ttl-after-finished-controller": lambda context, _: TtlAfterFinishedController(context),
    "cronjob-controller": lambda context, _: CronJobController(context),
    "disruption-controller": lambda context, _: DisruptionController(context),
    "stale-disruption-controller": lambda context, _: StaleDisruptionController(context),
    "resourcequota-controller": lambda context, _: ResourceQuotaController(context),
    "pod-garbage-collector-controller": lambda context, _: PodGcController(context),
    "persistentvolumeclaim-protection-controller": lambda context, _: ClaimProtectionController(context),
    "persistentvolume-protection-controller": lambda context, _: VolumeProtectionController(context),
    "volumeattributesclass-protection-controller": lambda context, _: AttributesClassProtectionController(context),
    "ephemeral-volume-controller": lambda context, _: EphemeralVolumeController(context),
    "endpoints-controller": lambda context, _: EndpointsController(context),
    "endpointslice-controller": lambda context, _: EndpointSliceController(context),
    "endpointslice-mirroring-controller": lambda context, _: EndpointSliceMirroringController(context),
    "expiry-controller": lambda context, _: ExpiryController(context),
}
"""Name, as kube-controller-manager's --controllers knows it → how to make one."""

OURS_ALONE = frozenset({"expiry-controller"})
"""What no kube-controller-manager does: there the lease of an event in etcd ends it. `job-orphan-pods` and
`stale-disruption-controller` are queues of the controllers they are named after there."""


def chosen(*, external: bool, without: Collection[str] = ()) -> tuple[str, ...]:
    """Names of `CONTROLLERS` that run here. `external`: somebody's kube-controller-manager runs the others.

    `without`: whose work is done elsewhere in any case. Raises KeyError for an unknown name among them.
    """
    for name in without:
        CONTROLLERS[name]
    return tuple(n for n in CONTROLLERS if n not in without and (n in OURS_ALONE or not external))


class ControllerManager:
    """The chosen controllers of one plane, with the indexes and the event recorder they share.

    Made and run on the loop. Stop it by cancelling `run`; then, or in another
    process, a new one goes on where it stopped.
    """

    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        clock: Clock | None = None,
        only: Iterable[str] = CONTROLLERS,
    ) -> None:
        """`only`: names of `CONTROLLERS`. Raises KeyError for an unknown one."""
        clock = clock or SystemClock()
        client = client.named(FIELD_MANAGER)
        self.events = EventRecorder(client, clock)
        self.informers = Informers(client)
        self.context = Context(client, self.informers, self.events, clock)
        self.controllers = [CONTROLLERS[name](self.context, settings) for name in only]

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self.informers.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.events.run(), name="events")
                for controller in self.controllers:
                    group.create_task(controller.run(), name=controller.name)
        finally:
            self.informers.stop()

    @property
    def idle(self) -> bool:
        """Nothing to do but what waits for its time."""
        return self.events.idle and all(controller.queue.idle for controller in self.controllers)


async def run_all(client: Client, settings: Settings, *, clock: Clock | None = None) -> None:
    """Every controller, until cancelled."""
    await ControllerManager(client, settings, clock=clock).run()
