"""Every answer tells the FlowSchema of its request, as kube-apiserver chooses it."""

from __future__ import annotations

import pytest

from tests.planes import plane
from vapi.auth import bootstrap
from vapi.authorizer import User
from vapi.clock import SystemClock
from vapi.endpoints.flow import LEVELS, SCHEMAS, FlowSchemas
from vapi.endpoints.request import parse_path
from vapi.plane import ControlPlane

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
NODE = User("system:node:n", groups=("system:nodes", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))
ACCOUNT = User("system:serviceaccount:a:b", groups=("system:serviceaccounts", "system:authenticated"))
SOMEBODY = User("jane", groups=("system:authenticated",))
NOBODY = User("system:anonymous", groups=("system:unauthenticated",))

PODS, EVENTS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/events"

CHOSEN = {
    "the admin": (ADMIN, "GET", PODS, "exempt"),
    "a probe": (NOBODY, "GET", "/healthz", "probes"),
    "a node's status": (NODE, "PATCH", "/api/v1/nodes/n/status", "system-node-high"),
    "a node": (NODE, "GET", PODS, "system-nodes"),
    "a leader": (
        SCHEDULER,
        "PUT",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/l",
        "system-leader-election",
    ),
    "the scheduler": (SCHEDULER, "GET", PODS, "kube-scheduler"),
    "a ServiceAccount": (ACCOUNT, "GET", PODS, "service-accounts"),
    "a person": (SOMEBODY, "GET", PODS, "global-default"),
    "anybody": (NOBODY, "GET", "/version", "global-default"),
}


@pytest.mark.parametrize(("user", "method", "path", "schema"), CHOSEN.values(), ids=CHOSEN.keys())
async def test_the_schema_is_the_one_of_kubernetes(user: User, method: str, path: str, schema: str) -> None:
    async with plane() as server:
        flows = await following(server)
        told = dict(flows.headers(user, parse_path(method, path)))
        assert told["X-Kubernetes-Pf-Flowschema-Uid"] == uid(server, schema)
        assert told == dict(flows.headers(user, parse_path(method, path)))


async def test_a_schema_of_somebodys_own_counts_from_its_creation() -> None:
    async with plane() as server:
        flows = await following(server)
        asked = parse_path("GET", PODS)
        before = flows.headers(SOMEBODY, asked)
        rule = {
            "subjects": [{"kind": "User", "user": {"name": "jane"}}],
            "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["default"]}],
        }
        level = {"priorityLevelConfiguration": {"name": "workload-high"}, "matchingPrecedence": 5, "rules": [rule]}
        client = server.client("t")
        made = await client.create(SCHEMAS, {"metadata": {"name": "mine"}, "spec": level})
        after = dict(flows.headers(SOMEBODY, asked))
        assert after["X-Kubernetes-Pf-Flowschema-Uid"] == made["metadata"]["uid"]
        entry = server.registry.cached(LEVELS, "", "workload-high")
        assert entry is not None
        assert after["X-Kubernetes-Pf-Prioritylevel-Uid"] == entry.uid
        assert flows.headers(SOMEBODY, parse_path("GET", EVENTS)) == before
        await client.delete(SCHEMAS, "", "mine")
        assert flows.headers(SOMEBODY, asked) == before


async def test_tunnels_and_logs_belong_to_none() -> None:
    async with plane() as server:
        flows = await following(server)
        for subresource in ("exec", "log", "proxy"):
            assert flows.headers(SOMEBODY, parse_path("GET", f"{PODS}/p/{subresource}")) == ()


async def following(server: ControlPlane) -> FlowSchemas:
    await bootstrap.ensure_bootstrap(server.client("kube-apiserver"), SystemClock())
    flows = FlowSchemas()
    flows.attach(server.registry)
    return flows


def uid(server: ControlPlane, schema: str) -> str:
    entry = server.registry.cached(SCHEMAS, "", schema)
    assert entry is not None
    return entry.uid
