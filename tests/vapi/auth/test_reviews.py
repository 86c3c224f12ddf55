"""Reviews: the recorded requests get the recorded answers."""

from __future__ import annotations

import copy
import re

import pytest

from tests.vapi.auth.rbac_objects import GROUP, binding, role, rule, user
from tests.vapi.auth.shelf import CATALOG, Shelf, pod, service_account
from tests.vapi.control.clock import FakeClock
from tests.vapi.schema.golden import recorded
from vapi import encoding
from vapi.auth import bootstrap, certificates, jwt_keys
from vapi.auth.authenticator import Authenticator
from vapi.auth.rbac import Rbac
from vapi.auth.reviews import review_table
from vapi.auth.token_requests import TokenRequests
from vapi.auth.tokens import PODS, TokenSigner, TokenVerifier
from vapi.authorizer import User
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.caller import Caller
from vapi.registry.virtual import Call, Reply
from vapi.resources.resource import Verb

AUTH = recorded("auth_1.37.json")
BEHAVIOUR = recorded("api_behaviour_1.37.json")
NS = "replay-auth"
ALICE = User("alice", "alice-uid", ("devs", "system:authenticated"))
ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
_JWT = re.compile(r"eyJ[\w-]{20,}\.eyJ[\w-]+\.[\w-]+")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_JTI = re.compile(r"JTI=[\w-]+")
_UID = re.compile(r"00000000-0000-4000-8000-\d{12}|[\w-]+-uid(?=\")")


class Server:
    """An API server's auth, with what the recorded namespace held."""

    def __init__(self) -> None:
        clock = FakeClock()
        keys = jwt_keys.from_pem((certificates.key_pem(certificates.new_key()),))
        self.shelf = Shelf(
            *(o for o in bootstrap.objects() if o["apiVersion"].startswith("rbac")),
            role(
                "manager",
                rule("get,list", "", "configmaps"),
                rule("get,list,create,update,patch", GROUP, "roles,rolebindings"),
                in_namespace=NS,
            ),
            binding("manager", "manager", user("alice"), in_namespace=NS),
            service_account(in_namespace=NS),
            pod("bound", NS),
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bound", "namespace": NS}},
        )
        rbac = Rbac()
        rbac.attach(self.shelf)
        signer = TokenSigner(keys, clock)
        self.table = review_table(
            rbac=rbac,
            authorizer=rbac,
            authenticator=Authenticator(TokenVerifier(keys, self.shelf, clock), clock),
            tokens=TokenRequests(self.shelf, signer, clock),
            clock=clock,
        )

    async def post(self, path: str, body: Obj, *, who: User = ADMIN) -> Reply:
        """A POST as the endpoints would pass it on."""
        parts = path.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        resource, name, subresource = (*rest, "", "")[:3]
        caller = Caller(who, field_manager="Python-urllib")
        row = CATALOG.row(group, version, resource)
        call = Call(caller, row, subresource, Verb.CREATE, namespace, name, copy.deepcopy(body))
        return await self.table[group, resource, subresource](call)


def normal(answer: Obj) -> Obj:
    """What differs from run to run taken out, as replay.py does it."""
    text = encoding.dumps(answer).decode()
    for pattern, by in ((_JWT, "<jwt>"), (_TIME, "2026-01-01T00:00:00Z"), (_JTI, "JTI=<id>"), (_UID, "<uid>")):
        text = pattern.sub(by, text)
    loaded: Obj = encoding.loads(text)
    for rules in ("resourceRules", "nonResourceRules"):
        if rules in (loaded.get("status") or {}) and isinstance(loaded["status"], dict):
            loaded["status"][rules].sort(key=str)
    return loaded


async def answered(server: Server, exchange: Obj, **replaced: str) -> tuple[int, Obj]:
    body = exchange["request"]["body"]
    for key, value in replaced.items():
        body = {**body, "spec": {**body["spec"], key: value}}
    who = ALICE if exchange.get("as") == "alice" else ADMIN
    try:
        reply = await server.post(exchange["request"]["path"], body, who=who)
    except ApiError as error:
        return error.code, normal(error.status())
    return reply.code, normal(reply.obj)


@pytest.mark.parametrize(
    "index",
    [2, 17, 23, 24, 25, 27, 28, 29, 30, 31, 34, 35, 38, 39, 40, 41, 42, 43, 46, 48, 52],
    ids=lambda index: AUTH[index]["title"],
)
async def test_recorded_requests_get_the_recorded_answers(index: int) -> None:
    exchange = AUTH[index]
    assert await answered(Server(), exchange) == (exchange["status"], normal(exchange["response"]))


@pytest.mark.parametrize("index", [88, 89, 91, 94, 95, 96, 97], ids=lambda index: BEHAVIOUR[index]["title"])
async def test_recorded_behaviour_is_ours(index: int) -> None:
    exchange = BEHAVIOUR[index]
    text = encoding.dumps(exchange).decode().replace("replay-behaviour", "replay-other")
    exchange = encoding.loads(text)
    server = Server()
    server.shelf.put(service_account(in_namespace="replay-other"))
    code, answer = await answered(server, exchange)
    if "loose" in exchange:
        exchange["response"]["status"]["userInfo"].pop("extra")
    assert (code, answer) == (exchange["status"], normal(exchange["response"]))


async def test_a_token_bound_to_a_secret_says_so() -> None:
    exchange = copy.deepcopy(AUTH[45])
    exchange["request"]["body"]["spec"]["boundObjectRef"]["uid"] = "bound-uid"
    assert await answered(Server(), exchange) == (201, normal(exchange["response"]))


async def test_a_review_of_a_token_says_for_whom_it_is() -> None:
    server = Server()
    issued = await server.post(AUTH[35]["request"]["path"], AUTH[35]["request"]["body"])
    answer = await answered(server, AUTH[37], token=issued.obj["status"]["token"])
    assert answer == (201, normal(AUTH[37]["response"]))


async def test_a_review_of_a_token_whose_pod_is_gone_says_why_not() -> None:
    server = Server()
    issued = await server.post(AUTH[48]["request"]["path"], AUTH[48]["request"]["body"])
    server.shelf.drop(PODS, NS, "bound")
    answer = await answered(server, AUTH[51], token=issued.obj["status"]["token"])
    assert answer == (201, normal(AUTH[51]["response"]))


async def test_a_review_for_another_audience_says_which_it_has() -> None:
    server = Server()
    path = f"/api/v1/namespaces/{NS}/serviceaccounts/default/token"
    issued = await server.post(path, {"spec": {}})
    answer = await answered(server, BEHAVIOUR[92], token=issued.obj["status"]["token"])
    assert answer == (201, normal(BEHAVIOUR[92]["response"]))


async def test_a_review_about_a_path_is_allowed_for_a_reason() -> None:
    code, answer = await answered(Server(), AUTH[26])
    assert (code, answer["status"]["allowed"]) == (201, True)
    assert answer["status"]["reason"].startswith("RBAC: allowed by ClusterRoleBinding")
    assert answer["metadata"] == AUTH[26]["response"]["metadata"]


async def test_the_fields_come_in_kubernetes_order() -> None:
    spec = {"user": "u", "resourceAttributes": {"verb": "get", "namespace": "n", "resource": "pods", "name": ""}}
    reply = await Server().post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
    assert list(reply.obj) == ["kind", "apiVersion", "metadata", "spec", "status"]
    assert list(reply.obj["spec"]) == ["resourceAttributes", "user"]
    assert list(reply.obj["spec"]["resourceAttributes"]) == ["namespace", "verb", "resource"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"resourceAttributes": {"fieldSelector": {}}}, "spec.resourceAttributes.fieldSelector.requirements"),
        (
            {"resourceAttributes": {"labelSelector": {"rawSelector": "a", "requirements": [{}]}}},
            "spec.resourceAttributes.labelSelector.rawSelector",
        ),
    ],
)
async def test_selectors_of_a_review_are_checked(spec: Obj, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        await Server().post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})
    assert caught.value.code == 422
    assert caught.value.details is not None
    assert caught.value.details["causes"][0]["field"] == field


async def test_a_review_takes_no_metadata() -> None:
    body = {"metadata": {"name": "x"}, "spec": {"resourceAttributes": {"verb": "get"}}}
    with pytest.raises(ApiError, match="metadata: Invalid value"):
        await Server().post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)


async def test_rules_cannot_be_reviewed_without_a_namespace() -> None:
    with pytest.raises(ApiError, match="no namespace on request"):
        await Server().post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {}})


async def test_a_token_request_for_an_account_of_another_uid_conflicts() -> None:
    path = f"/api/v1/namespaces/{NS}/serviceaccounts/default/token"
    with pytest.raises(ApiError) as caught:
        await Server().post(path, {"metadata": {"uid": "other"}, "spec": {}})
    assert caught.value.code == 409
    assert "the UID in the token request (other) does not match" in caught.value.message
