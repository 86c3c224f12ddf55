"""Small random clusters and pods that a scheduler finds hard: little room, many rules. The same for a seed."""

from __future__ import annotations

import random
from typing import Any

Obj = dict[str, Any]

ZONES, DISKS, APPS, TEAMS = ("a", "b", "c"), ("ssd", "hdd"), ("x", "y", "z"), ("red", "blue")
KEYS = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
PRIORITIES = ("", "", "small", "large")
GPU = "example.com/gpu"
TAINTS: tuple[Obj, ...] = (
    {"key": "dedicated", "value": "x", "effect": "NoSchedule"},
    {"key": "flaky", "effect": "PreferNoSchedule"},
    {"key": "broken", "value": "yes", "effect": "NoExecute"},
)
TOLERATIONS: tuple[Obj, ...] = (
    {"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"},
    {"key": "dedicated", "operator": "Equal", "value": "y"},
    {"key": "broken", "operator": "Exists"},
    {"operator": "Exists", "effect": "NoSchedule"},
)


class World:
    """`prefix` keeps the names of one seed apart from those of others."""

    def __init__(self, seed: int, namespaces: tuple[str, ...]) -> None:
        self._random = random.Random(seed)
        self._prefix = f"s{seed}"
        self._namespaces = namespaces
        self._count = 0

    def nodes(self) -> list[Obj]:
        return [self._node(index) for index in range(self._random.randint(2, 6))]

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _node(self, index: int) -> Obj:
        pick, name = self._random, f"{self._prefix}-n{index}"
        labels = {"kubernetes.io/hostname": name, "disk": pick.choice(DISKS), "rank": str(index)}
        if self._maybe(0.85):
            labels["topology.kubernetes.io/zone"] = pick.choice(ZONES)
        spec: Obj = {"taints": [taint for taint in TAINTS if self._maybe(0.15)]}
        if self._maybe(0.1):
            spec["unschedulable"] = True
        room = {
            "cpu": pick.choice(("1", "1500m", "2", "4")),
            "memory": pick.choice(("1Gi", "2Gi", "4G")),
            "ephemeral-storage": "10Gi",
            "pods": str(pick.randint(2, 7)),
        }
        if self._maybe(0.4):
            room[GPU] = str(pick.randint(1, 3))
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
            "status": {"capacity": room, "allocatable": room},
        }

    def pod(self, *, priorities: bool = False) -> Obj:
        pick = self._random
        self._count += 1
        spec: Obj = {"containers": [self._container("c")], "terminationGracePeriodSeconds": 0}
        if self._maybe(0.2):
            spec["containers"].append(self._container("d", ports=False))
        if self._maybe(0.2):
            sidecar = {"restartPolicy": "Always"} if self._maybe(0.5) else {}
            spec["initContainers"] = [
                {**self._container("i", ports=False), **sidecar},
                self._container("j", ports=False),
            ]
        if self._maybe(0.1):
            # not less than any of its containers together
            spec["containers"] = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]
            spec.pop("initContainers", None)
            spec["resources"] = {"requests": {"cpu": "700m", "memory": "300Mi"}}
        if self._maybe(0.2):
            spec["nodeSelector"] = {"disk": pick.choice(DISKS)}
        spec["tolerations"] = [each for each in TOLERATIONS if self._maybe(0.2)]
        affinity = {
            **self._one(0.3, "nodeAffinity", self._node_affinity),
            **self._one(0.3, "podAffinity", self._neighbours),
            **self._one(0.3, "podAntiAffinity", self._neighbours),
        }
        if affinity:
            spec["affinity"] = affinity
        if self._maybe(0.35):
            spec["topologySpreadConstraints"] = self._spread()
        if priorities and (chosen := pick.choice(PRIORITIES)):
            spec["priorityClassName"] = chosen
        labels = {"app": pick.choice(APPS), "version": pick.choice("12")}
        metadata = {
            "name": f"{self._prefix}-p{self._count}",
            "namespace": pick.choice(self._namespaces),
            "labels": labels,
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def _one(self, chance: float, key: str, make: Any) -> Obj:
        return {key: make()} if self._maybe(chance) else {}

    def _container(self, name: str, *, ports: bool = True) -> Obj:
        pick = self._random
        requests = {
            **self._one(0.7, "cpu", lambda: pick.choice(("100m", "250m", "500m", "1", "1500m"))),
            **self._one(0.5, "memory", lambda: pick.choice(("64Mi", "256Mi", "1G"))),
            **self._one(0.1, "ephemeral-storage", lambda: pick.choice(("1Gi", "6Gi"))),
            **self._one(0.1, GPU, lambda: pick.choice(("1", "2"))),
        }
        limits = {GPU: requests[GPU]} if GPU in requests else {}
        container: Obj = {"name": name, "image": "i", "resources": {"requests": requests, "limits": limits}}
        if ports and self._maybe(0.1):
            ip = {"hostIP": "127.0.0.1"} if self._maybe(0.4) else {}
            container["ports"] = [{"containerPort": 80, "hostPort": pick.choice((8080, 9090)), **ip}]
        return container

    def _node_affinity(self) -> Obj:
        found: Obj = {}
        if self._maybe(0.8):
            terms = [self._node_term() for _ in range(self._random.randint(1, 2))]
            found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
        if self._maybe(0.4):
            preferred = [{"weight": 50, "preference": self._node_term()}]
            found["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
        return found

    def _node_term(self) -> Obj:
        pick = self._random
        if self._maybe(0.25):
            names = pick.sample([f"{self._prefix}-n{index}" for index in range(4)], 2)
            operator = pick.choice(("In", "NotIn"))
            return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": [names[0]]}]}
        choices: tuple[Obj, ...] = (
            {"key": "disk", "operator": "In", "values": ["ssd"]},
            {"key": "disk", "operator": "NotIn", "values": ["ssd"]},
            {"key": "topology.kubernetes.io/zone", "operator": "Exists"},
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]},
            {"key": "rank", "operator": "Gt", "values": ["0"]},
            {"key": "rank", "operator": "Lt", "values": ["3"]},
            {"key": "nothing", "operator": "DoesNotExist"},
        )
        return {"matchExpressions": pick.sample(choices, pick.randint(1, 2))}

    def _selector(self) -> Obj:
        pick = self._random
        choices: tuple[Obj, ...] = (
            {"matchLabels": {"app": pick.choice(APPS)}},
            {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "y"]}]},
            {"matchExpressions": [{"key": "version", "operator": "NotIn", "values": ["1"]}]},
            {},
        )
        return pick.choice(choices)

    def _neighbours(self) -> Obj:
        found: Obj = {}
        if self._maybe(0.8):
            terms = [self._pod_term() for _ in range(self._random.choice((1, 1, 2)))]
            found["requiredDuringSchedulingIgnoredDuringExecution"] = terms
        if self._maybe(0.3):
            preferred = [{"weight": 10, "podAffinityTerm": self._pod_term()}]
            found["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
        return found

    def _pod_term(self) -> Obj:
        pick = self._random
        term: Obj = {"topologyKey": pick.choice(KEYS), "labelSelector": self._selector()}
        if self._maybe(0.2):
            term["namespaces"] = [pick.choice(self._namespaces)]
        if self._maybe(0.3):
            team = {"matchLabels": {"team": pick.choice(TEAMS)}}
            term["namespaceSelector"] = team if self._maybe(0.7) else {}
        if self._maybe(0.2):
            term["matchLabelKeys"] = ["version"]
            term["labelSelector"] = {"matchLabels": {"app": pick.choice(APPS)}}
        return term

    def _spread(self) -> list[Obj]:
        pick = self._random
        found = []
        for key in pick.sample(KEYS, pick.choice((1, 1, 2))):
            hard = self._maybe(0.7)
            each: Obj = {
                "maxSkew": pick.choice((1, 1, 2)),
                "topologyKey": key,
                "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
                "labelSelector": self._selector(),
                **self._one(0.3, "nodeTaintsPolicy", lambda: pick.choice(("Honor", "Ignore"))),
                **self._one(0.3, "nodeAffinityPolicy", lambda: pick.choice(("Honor", "Ignore"))),
            }
            if hard and self._maybe(0.3):
                each["minDomains"] = pick.randint(1, 3)
            if each["labelSelector"] and self._maybe(0.2):
                each["matchLabelKeys"] = ["version"]
                each["labelSelector"] = {"matchLabels": {"app": pick.choice(APPS)}}
            found.append(each)
        return found
