"""kill -9 under load, on a real host with a node: nothing acknowledged is lost, nothing doubled, nothing restarted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etcd_server import find_etcd, single
from tests.host_cluster import HostCluster
from tests.integration.load import Load, Watch
from tests.integration.tenants import Tenant, configmap, containers, deployment, pod, tenant
from tests.vapi_process import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

KILLS = 3
LOAD_S = 1.5
MOST_PODS = 24
"""The node takes 110, and each costs it a second."""
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture(params=["sqlite", "etcd"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite"
        return
    if find_etcd() is None:
        pytest.skip("no etcd binary")
    member = single(tmp_path / "etcd")
    try:
        yield f"etcd=http://{member.address}"
    finally:
        member.stop()


def mixed(number: int) -> tuple[str, dict[str, Any]]:
    """Mostly ConfigMaps; now and then a pod that names the one before (a kill may have taken it), or a Deployment."""
    if number % 10 == 3 and number < 10 * MOST_PODS:
        named = {"envFrom": [{"configMapRef": {"name": f"load-{number - 1}", "optional": True}}]}
        if number % 40 == 3:
            return DEPLOYMENTS, deployment(f"load-{number}", 1)
        return PODS, pod(f"load-{number}", container=named)
    return CONFIGMAPS, configmap(f"load-{number}", number=str(number))


def test_kill_9_under_load_loses_doubles_and_restarts_nothing(
    node_host: HostCluster, tmp_path: Path, store: str
) -> None:
    arguments = ("--store", store)
    with tenant(node_host, tmp_path, name="k", advertise=node_host.our_address(), arguments=arguments) as one:
        one.vapi.apply(deployment("web", 3))
        one.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        before = containers(one.listed("pods", "-l", "app=web"))
        load = Load(one.vapi, mixed)
        began = int(one.vapi.call("GET", CONFIGMAPS)["metadata"]["resourceVersion"])
        watch = Watch(one.vapi, CONFIGMAPS, began)
        with watch.running():
            with load.running(6):
                for _ in range(KILLS):
                    time.sleep(LOAD_S)
                    one.vapi.kill()
                    one.vapi.start()
            wrote = {a.uid for a in load.acknowledged if a.path.startswith(CONFIGMAPS + "/")}
            until(lambda: wrote <= {uid for _, kind, uid in watch.told if kind == "ADDED"})
        assert load.refused == []
        assert len(load.acknowledged) > 100
        _nothing_is_lost(one, load)
        _the_watch_went_on(watch)
        _everything_is_on_the_host_once(one)
        assert containers(one.listed("pods", "-l", "app=web")) == before


def _nothing_is_lost(one: Tenant, load: Load) -> None:
    kept = {
        (collection, item["metadata"]["name"]): item["metadata"]["uid"]
        for collection in (CONFIGMAPS, PODS, DEPLOYMENTS)
        for item in one.vapi.call("GET", collection)["items"]
    }
    for written in load.acknowledged:
        collection, _, name = written.path.rpartition("/")
        assert kept.get((collection, name)) == written.uid, written


def _the_watch_went_on(watch: Watch) -> None:
    assert watch.failures == []
    revisions = [revision for revision, _, _ in watch.told]
    assert revisions == sorted(set(revisions))


def _everything_is_on_the_host_once(one: Tenant) -> None:
    def pods() -> tuple[list[str], list[str]]:
        here = sorted(p["metadata"]["uid"] for p in one.listed("pods", "-A"))
        there = sorted(t["metadata"]["annotations"]["vapi.dev/object-uid"] for t in one.twins("pods"))
        return here, there

    until(pods, lambda both: both[0] == both[1] and len(both[0]) > 3)

    def running() -> list[Any]:
        return [p["metadata"]["name"] for p in one.listed("pods") if p["status"]["phase"] != "Running"]

    until(running, lambda waiting: not waiting, timeout_s=90)
    for each in one.listed("deployments"):
        owned = one.listed("pods", "-l", f"app={each['metadata']['name']}")
        assert len(owned) == each["spec"]["replicas"]
    assert all(restarts == 0 for found in containers(one.listed("pods")).values() for _, restarts in found)
