"""The embedded host's nodes: invented Nodes, the scheduler for them, a kubelet that only writes status.

Nothing is executed: a container is Running as soon as its pod is bound and
every Secret, ConfigMap and claim it needs exists; containers that may end (restartPolicy
other than Always) succeed after a second. What a kubelet would refuse to start waits, as there,
with an event. Readiness gates are the writer's own, so pods with them stay unready.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Any

from vapi.clock import parse_rfc3339, rfc3339
from vapi.control.controller import MANY, Context, Controller, Sources, names, own_name
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name
from vapi.control.scheduler.scheduler import Scheduler
from vapi.control.simulated_volumes import SimulatedVolumes, is_bound
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj
from vapi.version import KUBERNETES_VERSION

NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
SECRETS = GVR("", "v1", "secrets")
CONFIGMAPS = GVR("", "v1", "configmaps")
CLAIMS = GVR("", "v1", "persistentvolumeclaims")

NODE_NAMES = ("node-1", "node-2", "node-3")
"""Where nobody says how many."""
POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
NODE_NETWORK = ipaddress.IPv4Network("198.18.0.0/24")
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
"""More than most machines have: a pod costs nothing here, and who starts a thousand wants to see them run."""
RUNS_FOR_S = 1.0
"""How long a container that may end takes to succeed, at least: one that says how long it sleeps takes that long."""
FOR_EVER_S = 1e9
_SLEEP = re.compile(r"\bsleep (\d+(?:\.\d+)?|infinity)([smhd]?)(?![\w.])")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LOOK_AGAIN_S = 2.0
"""For a volume's Secret or ConfigMap that is not there yet; a kubelet looks as often."""


def node(index: int, name: str, now: dt.datetime) -> Obj:
    """A Ready, schedulable Node."""
    condition = {"lastHeartbeatTime": rfc3339(now), "lastTransitionTime": rfc3339(now)}
    pressure = [
        {"type": kind, "status": "False", "reason": reason, "message": message, **condition}
        for kind, reason, message in (
            ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        )
    ]
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "kubelet is posting ready status",
        **condition,
    }
    return {
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "beta.kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"podCIDR": f"10.244.{index}.0/24", "podCIDRs": [f"10.244.{index}.0/24"]},
        "status": {
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "conditions": [*pressure, ready],
            "addresses": [
                {"type": "InternalIP", "address": str(NODE_NETWORK[index + 1])},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
                "kernelVersion": "simulated",
                "osImage": "simulated",
                "containerRuntimeVersion": "simulated://1.0",
                "kubeletVersion": KUBERNETES_VERSION,
                "kubeProxyVersion": KUBERNETES_VERSION,
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


class SimulatedNodes(Controller[Name]):
    """Keeps the invented Nodes there."""

    name = "simulated-nodes"

    def __init__(self, context: Context, nodes: Sequence[str] = NODE_NAMES) -> None:
        """`nodes`: their names, at most 250."""
        super().__init__(context)
        self._names = {name: index for index, name in enumerate(nodes)}

    def sources(self) -> Sources[Name]:
        return {NODES: own_name}

    def all_keys(self) -> Iterable[Name]:
        return [("", name) for name in self._names]

    async def reconcile(self, key: Name) -> None:
        _, name = key
        if name not in self._names:
            return
        wanted = node(self._names[name], name, self.clock.now())
        entry = self.client.cached(NODES, "", name)
        current = entry.obj() if entry is not None else await self.client.create(NODES, wanted)
        taints = [t for t in current["spec"].get("taints") or () if t["key"] != "node.kubernetes.io/not-ready"]
        if len(taints) != len(current["spec"].get("taints") or ()):
            current["spec"]["taints"] = taints
            current = await self.client.update(NODES, current)
        if not current.get("status", {}).get("conditions"):
            current["status"] = wanted["status"]
            await self.client.update(NODES, current, subresource="status")


def simulated_scheduler(context: Context, nodes: Sequence[str] = NODE_NAMES) -> Scheduler:
    """Places pods on the invented nodes only: on others nobody would start them."""
    names_of_ours = frozenset(nodes)
    return Scheduler(context, serves=lambda node: node["metadata"]["name"] in names_of_ours)


class SimulatedKubelet(Controller[Name]):
    """Starts, ends and takes away the pods that are bound to invented nodes."""

    name = "simulated-kubelet"
    workers = MANY

    def __init__(self, context: Context, nodes: Sequence[str] = NODE_NAMES) -> None:
        super().__init__(context)
        self._names = {name: index for index, name in enumerate(nodes)}
        self._next_address = 0

    def sources(self) -> Sources[Name]:
        return {PODS: own_name}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(PODS))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(PODS, *key)
        if entry is None or entry.fields.get("spec.nodeName") not in self._names:
            return
        if entry.deleting:
            # a simulated container ends at once; a grace period is only the time it may take
            await self.client.delete(PODS, entry.namespace, entry.name, uid=entry.uid, grace_period_s=0)
            return
        pod = entry.obj()
        status = pod.get("status") or {}
        phase = status.get("phase", "Pending")
        if phase == "Pending":
            await self._start(pod)
        elif phase == "Running":
            await self._go_on(pod)

    async def _start(self, pod: Obj) -> None:
        missing = self._missing(pod)
        if missing:
            self.events.record("kubelet", pod, WARNING, "FailedMount", missing)
            raise Retry(_LOOK_AGAIN_S)
        host_ip = str(NODE_NETWORK[self._names[pod["spec"]["nodeName"]] + 1])
        pod_ip = host_ip if pod["spec"].get("hostNetwork") else self._address()
        pod["status"] = running_status(pod, host_ip=host_ip, pod_ip=pod_ip, now=self.clock.now())
        await self.client.update(PODS, pod, subresource="status")
        for container in pod["spec"]["containers"]:
            for reason, message in (
                ("Pulled", f'Container image "{container.get("image", "")}" already present on machine'),
                ("Created", "Container created"),
                ("Started", "Container started"),
            ):
                self.events.record("kubelet", pod, NORMAL, reason, message)

    async def _go_on(self, pod: Obj) -> None:
        if pod["spec"].get("restartPolicy", "Always") == "Always":
            status = running_status(
                pod, host_ip=pod["status"]["hostIP"], pod_ip=pod["status"]["podIP"], now=self.clock.now()
            )
            if status != pod["status"]:  # an image changed, or a readiness gate was met
                pod["status"] = status
                await self.client.update(PODS, pod, subresource="status")
            return
        left = runs_for_s(pod["spec"]) - (self.clock.now() - parse_rfc3339(pod["status"]["startTime"])).total_seconds()
        if left > 0:
            raise Retry(left)
        pod["status"] = succeeded_status(pod, now=self.clock.now())
        await self.client.update(PODS, pod, subresource="status")

    def _address(self) -> str:
        """The next pod address, wrapping round; 65,000 simulated pods at once would share some."""
        self._next_address = self._next_address % (POD_NETWORK.num_addresses - 512) + 1
        return str(POD_NETWORK[self._next_address + 255])

    def _missing(self, pod: Obj) -> str:
        """What a kubelet would report for the first volume that it cannot mount yet, or "".

        A claim that is not here at all holds nothing up: the syncer decides whether claims come to this host.
        """
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or ():
            for gvr, kind, source, key in (
                (SECRETS, "secret", volume.get("secret"), "secretName"),
                (CONFIGMAPS, "configmap", volume.get("configMap"), "name"),
            ):
                if not source or source.get("optional") or self.client.cached(gvr, namespace, source.get(key, "")):
                    continue
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {kind} "{source.get(key)}" not found'
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
            entry = self.client.cached(CLAIMS, namespace, claim) if claim else None
            if entry is not None and not is_bound(entry.obj()):
                return f'persistentvolumeclaim "{claim}" not bound'
        return ""


def running_status(pod: Obj, *, host_ip: str, pod_ip: str, now: dt.datetime) -> Obj:
    """All containers run and are ready; times are kept where they stand already."""
    spec, old = pod["spec"], pod.get("status") or {}
    gates = [gate["conditionType"] for gate in spec.get("readinessGates") or ()]
    kept = {c["type"]: c for c in old.get("conditions") or ()}
    ready = all(kept.get(gate, {}).get("status") == "True" for gate in gates)
    states = {
        "PodReadyToStartContainers": True,
        "Initialized": True,
        "Ready": ready,
        "ContainersReady": True,
        "PodScheduled": True,
    }
    conditions = [_condition(kind, state, kept.get(kind), now) for kind, state in states.items()]
    conditions += [c for kind, c in kept.items() if kind not in states]
    started = old.get("startTime") or rfc3339(now)
    status: Obj = {
        **old,
        "phase": "Running",
        "conditions": conditions,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": started,
        "containerStatuses": [_container_status(c, started) for c in spec["containers"]],
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [_ended_status(c, started, started) for c in spec["initContainers"]]
    if spec.get("ephemeralContainers"):
        status["ephemeralContainerStatuses"] = [_container_status(c, started) for c in spec["ephemeralContainers"]]
    return status


def runs_for_s(spec: Obj) -> float:
    """Until the last of the containers ends, by the `sleep N` in their commands; loops are not unrolled."""
    return max(RUNS_FOR_S, *(_sleeps_s(container) for container in spec["containers"]))


def _sleeps_s(container: Obj) -> float:
    command = " ".join((*(container.get("command") or ()), *(container.get("args") or ())))
    naps = _SLEEP.findall(command)
    return sum(FOR_EVER_S if number == "infinity" else float(number) * _SECONDS[unit] for number, unit in naps)


def succeeded_status(pod: Obj, *, now: dt.datetime) -> Obj:
    """All containers ended with 0."""
    status = dict(pod["status"])
    ended = {
        "Ready": _condition("Ready", False, None, now) | {"reason": "PodCompleted"},
        "ContainersReady": _condition("ContainersReady", False, None, now) | {"reason": "PodCompleted"},
        "Initialized": _condition("Initialized", True, None, now) | {"reason": "PodCompleted"},
    }
    status["phase"] = "Succeeded"
    status["conditions"] = [ended.get(c["type"], c) for c in status["conditions"]]
    status["containerStatuses"] = [
        _ended_status(c, status["startTime"], rfc3339(now)) for c in pod["spec"]["containers"]
    ]
    return status


def _condition(kind: str, state: bool, old: Obj | None, now: dt.datetime) -> Obj:
    text = "True" if state else "False"
    if old is not None and old.get("status") == text and old.get("lastTransitionTime"):
        return old
    return {"type": kind, "status": text, "lastProbeTime": None, "lastTransitionTime": rfc3339(now)}


def _container_status(container: Obj, started: str) -> Obj:
    return {
        **_identity(container),
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": started}},
        "lastState": {},
    }


def _ended_status(container: Obj, started: str, ended: str) -> Obj:
    identity = _identity(container)
    terminated = {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": started,
        "finishedAt": ended,
        "containerID": identity["containerID"],
    }
    return {
        **identity,
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
        "lastState": {},
    }


def _identity(container: Obj) -> Obj:
    image = container.get("image", "")
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"simulated://{image}",
        "containerID": f"simulated://{container['name']}",
    }


CONTROLLERS = (SimulatedNodes, simulated_scheduler, SimulatedKubelet, SimulatedVolumes)
"""What an embedded host runs."""


def controllers(context: Context, count: int) -> list[Controller[Any]]:
    """The same with `count` nodes, at most 250: node-1, node-2, …"""
    nodes = [f"node-{number}" for number in range(1, count + 1)]
    return [
        SimulatedNodes(context, nodes),
        simulated_scheduler(context, nodes),
        SimulatedKubelet(context, nodes),
        SimulatedVolumes(context),
    ]
