"""Our scheduler's decisions beside those of the real kube-scheduler, on random clusters of fake nodes.

One pod after the other: where the real one puts it is for ours a best place too (among
equals it draws lots); where it puts it nowhere, ours says the same in the same words.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.host_cluster import HostCluster, host_cluster
from tests.integration.random_clusters import TEAMS, World
from vapi.control.pods import FINISHED
from vapi.control.scheduler import preemption, scoring
from vapi.control.scheduler.assessment import Assessment
from vapi.control.scheduler.node import node_spec
from vapi.control.scheduler.preemption import Question
from vapi.control.scheduler.state import ClusterState, Demands, pod_info
from vapi.gvk import Obj

MISSING = "no Python client of Kubernetes (PyPI: kubernetes)"
config = pytest.importorskip("kubernetes.config", reason=MISSING)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NAMESPACES = ("sched-a", "sched-b")
PRIORITIES = {"small": 100, "large": 1000}
PODS_EACH = 25
DECIDES_S = 20.0


class Conflict(Exception):
    """Somebody else wrote meanwhile."""


class Real:
    """Raw objects over one connection."""

    def __init__(self, kubeconfig: str) -> None:
        self._api = config.new_client_from_config(config_file=kubeconfig)

    def call(self, method: str, path: str, body: Obj | None = None, **query: str) -> Any:
        """Raises Conflict for a 409, AssertionError for other refusals."""
        answer = self._api.rest_client.pool_manager.request(
            method,
            f"{self._api.configuration.host}{path}?{urlencode(query)}",
            body=json.dumps(body) if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        if answer.status == 409:
            raise Conflict
        assert answer.status < 300, answer.data
        return json.loads(answer.data)

    def gone_wait(self, path: str) -> None:
        until = time.monotonic() + DECIDES_S
        while self.call("GET", path)["items"]:
            assert time.monotonic() < until, f"{path} stay"
            time.sleep(0.02)

    def add_node(self, node: Obj) -> None:
        """Ready at once, and without the taint that every new Node gets."""
        self.call("POST", "/api/v1/nodes", node)
        ready = {"type": "Ready", "status": "True", "reason": "Fake"}
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        self._edit(path, "/status", {"status": {**node["status"], "conditions": [ready]}})
        self._edit(path, "", {"spec": node["spec"]})

    def _edit(self, path: str, subresource: str, change: Obj) -> None:
        while True:
            with contextlib.suppress(Conflict):
                now = self.call("GET", path)
                changed = {key: {**(now.get(key) or {}), **value} for key, value in change.items()}
                self.call("PUT", f"{path}{subresource}", {**now, **changed})
                return

    def decided(self, pod: Obj) -> Obj:
        """Once it is bound, or said to be unschedulable."""
        metadata = self.call("POST", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pod)["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        until = time.monotonic() + DECIDES_S
        while True:
            found: Obj = self.call("GET", path)
            if found["spec"].get("nodeName") or refusal(found):
                return found
            assert time.monotonic() < until, "the real scheduler does not decide"
            time.sleep(0.01)

    def end(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self.call("DELETE", path, gracePeriodSeconds="0")

    def clear(self) -> None:
        for namespace in NAMESPACES:
            path = f"/api/v1/namespaces/{namespace}/pods"
            self.call("DELETE", path, gracePeriodSeconds="0")
            self.gone_wait(path)
        self.call("DELETE", "/api/v1/nodes")
        self.gone_wait("/api/v1/nodes")


def refusal(pod: Obj) -> str:
    """The message of PodScheduled=False."""
    for each in pod["status"].get("conditions") or ():
        if each["type"] == "PodScheduled" and each["status"] == "False":
            assert each["reason"] == "Unschedulable"
            return str(each["message"])
    return ""


@pytest.fixture(scope="module")
def real() -> Iterator[Real]:
    """A host of its own: what others do on theirs would be decided here as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HOST_KUBECONFIG", raising=False)
        with host_cluster(node=False) as cluster:
            made = prepared(cluster)
            stop_controllers(cluster)
            yield made


def stop_controllers(cluster: HostCluster) -> None:
    """They would taint nodes that no kubelet speaks for."""
    assert cluster.directory is not None
    rows = [line.split() for line in (cluster.directory / "pids").read_text().splitlines()]
    for pid, what in rows:
        if what == "kube-controller-manager":
            os.kill(int(pid), signal.SIGKILL)


def prepared(cluster: HostCluster) -> Real:
    made = Real(str(cluster.kubeconfig))
    for namespace, team in zip(NAMESPACES, TEAMS, strict=True):
        made.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": {"team": team}}})
    for name, value in PRIORITIES.items():
        made.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value})
    for namespace in NAMESPACES:
        until = time.monotonic() + DECIDES_S
        while not made.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts")["items"]:
            assert time.monotonic() < until
            time.sleep(0.1)
    return made


@dataclass(frozen=True, slots=True)
class Decision:
    """`best`: nodes that are equally good. `places`: where it might take others' places → how many would go.

    With resources of its own, not its containers', upstream scores a pod by its containers alone: then all that fit.
    """

    best: list[str]
    message: str
    places: Mapping[str, int] = field(default_factory=dict)


class Ours:
    """Our scheduler's view of the same cluster: what it would do with a pod, without doing it."""

    def __init__(self, real: Real) -> None:
        self.state = ClusterState()
        self._demands = Demands()
        namespaces = real.call("GET", "/api/v1/namespaces")["items"]
        self._labels = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in namespaces}
        self.see(real)

    def see(self, real: Real) -> None:
        """Nodes and pods as they are now."""
        for node in real.call("GET", "/api/v1/nodes")["items"]:
            self.state.put_node(node_spec(node))
        now = {}
        for namespace in NAMESPACES:
            for pod in real.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]:
                if pod["status"].get("phase") not in FINISHED:
                    now[namespace, pod["metadata"]["name"]] = pod
        for key in [key for key in self.state.pods if key not in now]:
            self.state.drop_pod(key)
        for pod in now.values():
            self.state.put_pod(pod_info(pod, self._demands))

    async def decide(self, pod: Obj) -> Decision:
        waiting = {**pod, "spec": {**pod["spec"], "nodeName": ""}, "status": {}}
        info = pod_info(waiting, self._demands)
        assessment = Assessment(info.demand, lambda namespace: self._labels[namespace])
        outcome = assessment.outcome(info, self.state.nodes)
        if outcome.fitting:
            totals = scoring.totals(info.demand, "", outcome.fitting, outcome.pairs, {})
            enough = 0 if "resources" in pod["spec"] else max(totals)
            scored = zip(outcome.fitting, totals, strict=True)
            return Decision([each.node.name for each, total in scored if total >= enough], "")
        question = Question(info, assessment, self.state.nodes, outcome.pairs, outcome.verdict)
        found = await preemption.search(question)
        message = outcome.verdict.message(found.message)
        if found.candidate is None:
            return Decision([], message)
        candidates, _ = await preemption.candidates(question)
        places = {each.node: len(each.victims) for each in preemption.least_harmful(candidates)}
        return Decision([], message, places)


@pytest.mark.parametrize("seed", range(10))
async def test_where_the_real_one_puts_a_pod_ours_would_too(real: Real, seed: int) -> None:
    ours, world = new_cluster(real, seed)
    for _ in range(PODS_EACH):
        decided = real.decided(world.pod())
        decision = await ours.decide(decided)
        chosen, said = decided["spec"].get("nodeName", ""), refusal(decided)
        if chosen:
            assert chosen in decision.best, (chosen, decision, decided["spec"])
        else:
            assert (decision.best, decision.message) == ([], said), (said, decision, decided["spec"])
            real.end(decided)
        ours.see(real)


PLACE = re.compile(r"found a potential placement for pod on node (\S+), preempting (\d+) victims$")


@pytest.mark.parametrize("seed", range(100, 108))
async def test_the_real_one_takes_the_same_places(real: Real, seed: int) -> None:
    """Pods end at once here, so the real one is done with the place when its condition is seen."""
    ours, world = new_cluster(real, seed)
    for _ in range(PODS_EACH):
        decided = real.decided(world.pod(priorities=True))
        decision = await ours.decide(decided)
        said = refusal(decided)
        place = PLACE.search(said)
        if place is not None:
            assert decision.places.get(place[1]) == int(place[2]), (said, decision, decided["spec"])
        elif said:
            assert decision.message == said, (said, decision, decided["spec"])
        else:
            assert decision.best or decision.places, decided["spec"]
        if said:
            real.end(decided)
        settle(real)
        ours.see(real)


def new_cluster(real: Real, seed: int) -> tuple[Ours, World]:
    real.clear()
    world = World(seed, NAMESPACES)
    for node in world.nodes():
        real.add_node(node)
    return Ours(real), world


def settle(real: Real) -> None:
    """Until nobody is ending."""
    for namespace, _ in itertools.product(NAMESPACES, range(100)):
        pods = real.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        if not any("deletionTimestamp" in each["metadata"] for each in pods):
            break
        time.sleep(0.02)
