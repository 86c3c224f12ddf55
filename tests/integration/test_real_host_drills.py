"""Drills on a real host: tenants and vandals at random, kill -9 in between, two virtual clusters of the same names.

One seed of each, short; `DRILL_STEPS` and `DRILL_SEED` make it longer by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host_cluster import HostCluster
from tests.integration.api import Api
from tests.integration.drill_checks import log_problems, problems
from tests.integration.drills import Drill
from tests.integration.tenants import Tenant, containers, tenant
from tests.vapi_process import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SEED = int(os.environ.get("DRILL_SEED", "5"))
STEPS = int(os.environ.get("DRILL_STEPS", "40"))
"""Before each kill."""
KILLS = 2
PAUSE_S = 0.03
QUIET_S = 150.0
"""A Job that fails waits longer and longer, and a claim takes its provisioner 5 s."""
KINDS = ("deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs")


def ways(host: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        text for kind in KINDS for text in (f"--workloads-{kind}", "host" if kind in host else "virtual")
    )  # fmt: skip


@contextlib.contextmanager
def drilled(
    host: HostCluster, directory: Path, *, name: str, seed: int, host_way: tuple[str, ...] = (), foreigners: bool = True
) -> Iterator[Drill]:
    advertise = host.our_address()
    with tenant(host, directory, name=name, advertise=advertise, arguments=ways(host_way)) as one:
        drill = Drill(one, Api(host.kubeconfig), seed, frozenset(host_way), foreigners)
        with contextlib.closing(drill):
            drill.seed_objects()
            yield drill


def with_kills(drill: Drill) -> None:
    for _ in range(KILLS):
        work = threading.Thread(target=drill.run, args=(STEPS,), kwargs={"pause_s": PAUSE_S})
        work.start()
        time.sleep(drill.random.uniform(0.2, STEPS * PAUSE_S))
        drill.tenant.vapi.kill()
        drill.tenant.vapi.start()
        work.join()
    drill.run(STEPS, pause_s=PAUSE_S)


def settled(drill: Drill) -> None:
    """Foreign objects are as they were made; without them all that a tenant has is on the host, once."""
    try:
        assert [p for p in problems(drill) if p.startswith("foreign")] == []
        drill.remove_foreigners()
        drill.foreign.clear()
        until(lambda: problems(drill), lambda found: not found, timeout_s=QUIET_S)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *drill.done])) from None
    assert log_problems(drill.tenant.vapi.log()) == []


@pytest.mark.parametrize("host_way", [(), KINDS], ids=["virtual", "host"])
def test_whatever_is_done_on_both_sides_each_object_has_its_one_twin(
    node_host: HostCluster, tmp_path: Path, host_way: tuple[str, ...]
) -> None:
    with drilled(node_host, tmp_path, name="drill", seed=SEED, host_way=host_way) as drill:
        with_kills(drill)
        settled(drill)


def test_two_virtual_clusters_of_the_same_names_do_not_mix_and_one_goes_without_a_trace(
    node_host: HostCluster, tmp_path: Path
) -> None:
    with (
        drilled(
            node_host, tmp_path, name="left", seed=SEED, host_way=("deployments", "jobs"), foreigners=False
        ) as left,
        drilled(node_host, tmp_path, name="right", seed=SEED + 1, foreigners=False) as right,
    ):
        others = [threading.Thread(target=with_kills, args=(drill,)) for drill in (left, right)]
        for each in others:
            each.start()
        for each in others:
            each.join()
        settled(left)
        settled(right)
        running = containers(_lasting(right.tenant))
        claims = _claims(left)
        left.host.call("DELETE", f"/api/v1/namespaces/{left.tenant.namespace}/configmaps/vapi-{left.tenant.name}")
        until(lambda: _remains(left.tenant), lambda found: found == claims, timeout_s=90)
        assert problems(right) == []
        assert containers(_lasting(right.tenant)) == running


def _lasting(one: Tenant) -> list[Any]:
    """Pods that no Job ends."""
    return [p for p in one.listed("pods", "-A") if "job-name" not in p["metadata"]["labels"]]


def _claims(drill: Drill) -> list[str]:
    found = drill.host.items(f"/api/v1/namespaces/{drill.tenant.namespace}/persistentvolumeclaims")
    return sorted(f"persistentvolumeclaims/{claim['metadata']['name']}" for claim in found)


EVERY_NAMESPACE_HAS = ("configmaps/kube-root-ca.crt", "serviceaccounts/default")
PASSING = ("events", "leases", "pods.metrics.k8s.io")


def _remains(one: Tenant) -> list[str]:
    """Everything in its namespace of the host, of any kind."""
    listed = one.host.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in listed if kind.split(".")[0] not in PASSING]
    found = json.loads(one.host_kubectl("get", ",".join(kinds), "-o", "json", timeout_s=60))["items"]
    plural = {each.split(".")[0] for each in kinds}
    names = sorted(f"{_plural(each['kind'], plural)}/{each['metadata']['name']}" for each in found)
    return [name for name in names if name not in EVERY_NAMESPACE_HAS]


def _plural(kind: str, plurals: set[str]) -> str:
    lower = kind.lower()
    return next((p for p in (f"{lower}s", f"{lower}es", f"{lower[:-1]}ies", lower) if p in plurals), lower)
