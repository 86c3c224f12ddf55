"""The whole chain without a listener: verbs, refusals and texts (golden/api_errors, auth)."""

from __future__ import annotations

import asyncio

import pytest

from tests.vapi.endpoints.servers import CONFIGMAPS, PARTIAL, TABLE, api, configmap
from vapi import encoding
from vapi.endpoints.http import LARGE_BODY_BYTES

NOT_FOUND = {"message": "the server could not find the requested resource", "reason": "NotFound", "details": {}}


async def test_a_created_object_is_read_back_as_it_was_answered() -> None:
    async with api() as server:
        created = await server.create(CONFIGMAPS, configmap("a", x="1"))
        assert created.status == 201
        read = await server.get(f"{CONFIGMAPS}/a")
        assert (read.status, read.json) == (200, created.json)
        assert read.json["kind"] == "ConfigMap"
        assert read.json["metadata"]["resourceVersion"].isdigit()
        assert read.response.content_type == "application/json"
        assert read.headers("Cache-Control") == ["no-cache, private"]


async def test_items_of_a_list_have_no_kind_and_the_list_has() -> None:
    async with api() as server:
        for name in ("b", "a"):
            await server.create(CONFIGMAPS, configmap(name))
        listed = (await server.get(CONFIGMAPS + "/")).json
        assert listed["kind"] == "ConfigMapList"
        assert listed["apiVersion"] == "v1"
        assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
        assert all("kind" not in item and "apiVersion" not in item for item in listed["items"])
        assert listed["metadata"].keys() == {"resourceVersion"}


async def test_a_list_in_pages_counts_what_remains() -> None:
    async with api() as server:
        for name in "abc":
            await server.create(CONFIGMAPS, configmap(name))
        first = (await server.get(f"{CONFIGMAPS}?limit=2")).json
        assert first["metadata"]["remainingItemCount"] == 1
        rest = (await server.get(f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")).json
        assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
        assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}


async def test_an_empty_list_has_items() -> None:
    async with api() as server:
        assert (await server.get(f"{CONFIGMAPS}?labelSelector=nope")).json["items"] == []


async def test_put_patch_and_delete() -> None:
    async with api() as server:
        created = (await server.create(CONFIGMAPS, configmap("a", x="1"))).json
        created["data"] = {"x": "2"}
        assert (await server.send("PUT", f"{CONFIGMAPS}/a", created)).json["data"] == {"x": "2"}
        merged = await server.send(
            "PATCH", f"{CONFIGMAPS}/a", {"data": {"y": "3"}}, content_type="application/merge-patch+json"
        )
        assert (merged.status, merged.json["data"]) == (200, {"x": "2", "y": "3"})
        gone = await server.send("DELETE", f"{CONFIGMAPS}/a", {"propagationPolicy": "Background"})
        assert gone.json == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]},
        }
        assert (await server.get(f"{CONFIGMAPS}/a")).status == 404


async def test_a_deleted_collection_is_answered_as_a_list() -> None:
    async with api() as server:
        for name in "ab":
            await server.create(CONFIGMAPS, configmap(name))
        gone = await server.send("DELETE", f"{CONFIGMAPS}?fieldSelector=metadata.name%3Da", {})
        assert gone.json["kind"] == "ConfigMapList"
        assert [item["metadata"]["name"] for item in gone.json["items"]] == ["a"]
        assert [i["metadata"]["name"] for i in (await server.get(CONFIGMAPS)).json["items"]] == ["b"]


async def test_a_dry_run_answers_what_would_be_without_a_version() -> None:
    async with api() as server:
        dry = await server.create(f"{CONFIGMAPS}?dryRun=All", configmap("a"))
        assert dry.status == 201
        assert "resourceVersion" not in dry.json["metadata"]
        assert (await server.get(f"{CONFIGMAPS}/a")).status == 404


async def test_the_field_manager_is_the_user_agent_up_to_its_slash() -> None:
    async with api() as server:
        created = await server.create(CONFIGMAPS, configmap("a", x="1"), headers={"User-Agent": "Python-urllib/3"})
        assert created.json["metadata"]["managedFields"][0]["manager"] == "Python-urllib"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/foo", "plain"),
        ("GET", "/apis/foo.io/v1/foos", "plain"),
        ("GET", "/apis/foo/v1", "plain"),
        ("GET", "/livez/nope", "plain"),
        ("GET", "/api/v1/foos", 404),
        ("GET", "/api//v1", 404),
        ("GET", "/apis/apps/v9/deployments", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/configmaps/c", 404),
        ("POST", f"{CONFIGMAPS}/c1/status", 404),
        ("GET", "/api/v1/namespaces/default/pods/p/foo", 404),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/d/foo", 404),
        ("POST", f"{CONFIGMAPS}/c1", 405),
        ("PUT", CONFIGMAPS, 405),
        ("OPTIONS", CONFIGMAPS, 405),
        ("HEAD", f"{CONFIGMAPS}/c1", 405),
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("POST", "/version", 405),
    ],
)
async def test_what_is_not_there_is_refused_in_one_of_three_ways(method: str, path: str, status: int | str) -> None:
    async with api() as server:
        answer = await server.send(method, path, {} if method in ("POST", "PUT") else None)
        if status == "plain":
            assert (answer.status, answer.body) == (404, b"404 page not found\n")
            assert answer.response.content_type == "text/plain; charset=utf-8"
        else:
            assert answer.status == status
            assert answer.json["details"] == {}
            assert answer.json["reason"] == ("NotFound" if status == 404 else "MethodNotAllowed")


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("?limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("?timeoutSeconds=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("?labelSelector=a%3D%3D%3Db", 400, "unable to parse requirement: found '=', expected: identifier"),
        (
            "?fieldSelector=data.a%3D1",
            400,
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("?fieldSelector=foo", 400, "invalid selector: 'foo'; can't understand 'foo'"),
        (
            "?sendInitialEvents=true",
            422,
            'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden '
            "for list",
        ),
        (
            "?watch=1&sendInitialEvents=true&timeoutSeconds=1",
            422,
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires '
            "setting resourceVersionMatch to NotOlderThan",
        ),
    ],
)
async def test_options_of_reads_that_are_wrong_are_refused(target: str, code: int, message: str) -> None:
    async with api() as server:
        answer = await server.get(CONFIGMAPS + target)
        assert (answer.status, answer.message) == (code, message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("dryRun=Foo", 'dryRun: Unsupported value: ["Foo"]: supported values: "All"'),
        (
            "fieldValidation=Foo",
            'fieldValidation: Unsupported value: "Foo": supported values: "", "Ignore", "Strict", "Warn"',
        ),
        ("fieldManager=" + "x" * 129, "fieldManager: Too long: may not be more than 128 bytes"),
    ],
)
async def test_options_of_writes_that_are_wrong_are_refused(query: str, message: str) -> None:
    async with api() as server:
        answer = await server.create(f"{CONFIGMAPS}?{query}", configmap("a"))
        assert answer.status == 422
        assert answer.message == f'CreateOptions.meta.k8s.io "" is invalid: {message}'
        assert answer.json["details"]["kind"] == "CreateOptions"


@pytest.mark.parametrize(
    ("content_type", "query", "message"),
    [
        (
            "application/apply-patch+yaml",
            "",
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        ),
        (
            "application/merge-patch+json",
            "?force=true",
            'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
        ),
    ],
)
async def test_options_of_patches_that_are_wrong_are_refused(content_type: str, query: str, message: str) -> None:
    async with api() as server:
        answer = await server.send("PATCH", f"{CONFIGMAPS}/a{query}", {}, content_type=content_type)
        assert (answer.status, answer.message) == (422, message)


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", None])
async def test_a_patch_of_no_known_type_is_415(content_type: str | None) -> None:
    async with api() as server:
        answer = await server.send("PATCH", f"{CONFIGMAPS}/a", b"{}", content_type=content_type)
        assert (answer.status, answer.message) == (415, "415: Unsupported Media Type")
        assert answer.json["details"] == {}


async def test_a_body_of_no_known_type_is_415_and_one_without_a_type_is_json() -> None:
    async with api() as server:
        refused = await server.send("POST", CONFIGMAPS, b"x", content_type="text/plain")
        assert refused.status == 415
        assert refused.message.endswith(
            "accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
        assert "details" not in refused.json
        assert (await server.send("POST", CONFIGMAPS, b'{"metadata":{"name":"a"}}')).status == 201


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"propagationPolicy": "Foo"},
            'propagationPolicy: Unsupported value: "Foo": supported values: "Foreground", "Background", "Orphan", '
            '"nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
        ({"dryRun": ["Foo"]}, 'dryRun: Unsupported value: ["Foo"]: supported values: "All"'),
    ],
)
async def test_options_of_deletes_that_are_wrong_are_refused(body: dict[str, object], message: str) -> None:
    async with api() as server:
        answer = await server.send("DELETE", f"{CONFIGMAPS}/a", body)
        assert (answer.status, answer.message) == (422, f'DeleteOptions.meta.k8s.io "" is invalid: {message}')


async def test_delete_options_of_another_kind_are_refused() -> None:
    async with api() as server:
        answer = await server.send("DELETE", f"{CONFIGMAPS}/a", {"kind": "ConfigMap", "apiVersion": "v1"})
        assert answer.status == 400
        assert answer.message == (
            'no kind "ConfigMap" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'
        )


async def test_strict_decoding_refuses_and_lenient_decoding_warns() -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"fv","foo":"x"},"data":{"a":"1","a":"2"}}'
    async with api() as server:
        strict = await server.send("POST", f"{CONFIGMAPS}?fieldValidation=Strict", body)
        assert strict.status == 400
        assert strict.message.endswith('strict decoding error: unknown field "metadata.foo", duplicate field "data.a"')
        warned = await server.send("POST", CONFIGMAPS, body)
        assert warned.headers("Warning") == [
            '299 - "unknown field \\"metadata.foo\\""',
            '299 - "duplicate field \\"data.a\\""',
        ]


@pytest.mark.parametrize(
    ("method", "path", "message", "details"),
    [
        (
            "GET",
            CONFIGMAPS,
            'configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the '
            'namespace "default"',
            {"kind": "configmaps"},
        ),
        (
            "GET",
            "/api/v1/nodes",
            'nodes is forbidden: User "alice" cannot list resource "nodes" in API group "" at the cluster scope',
            {"kind": "nodes"},
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/log",
            'pods "x" is forbidden: User "alice" cannot get resource "pods/log" in API group "" in the namespace '
            '"default"',
            {"name": "x", "kind": "pods"},
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x/exec?command=ls",
            'pods "x" is forbidden: User "alice" cannot create resource "pods/exec" in API group "" in the namespace '
            '"default"',
            {"name": "x", "kind": "pods"},
        ),
        ("GET", "/metrics", 'forbidden: User "alice" cannot get path "/metrics"', {}),
        (
            "GET",
            f"{CONFIGMAPS}?watch=1&fieldSelector=metadata.name%3Dc1",
            'configmaps "c1" is forbidden: User "alice" cannot watch resource "configmaps" in API group "" in the '
            'namespace "default"',
            {"name": "c1", "kind": "configmaps"},
        ),
    ],
)
async def test_what_rbac_does_not_allow_is_403(method: str, path: str, message: str, details: object) -> None:
    async with api() as server:
        answer = await server.send(method, path, as_user="alice")
        assert (answer.status, answer.message, answer.json["details"]) == (403, message, details)


async def test_a_bad_token_is_401() -> None:
    async with api() as server:
        answer = await server.get("/version", as_user="not-a-token")
        assert answer.status == 401
        assert answer.json == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        }


async def test_impersonation_acts_as_the_other_user_and_groups_alone_are_refused() -> None:
    async with api() as server:
        as_bob = await server.get("/api/v1/nodes", headers={"Impersonate-User": "bob"})
        assert as_bob.message.startswith('nodes is forbidden: User "bob" cannot list resource')
        alone = await server.get("/api/v1/nodes", headers={"Impersonate-Group": "g"})
        assert alone.status == 400
        by_alice = await server.get(CONFIGMAPS, as_user="alice", headers={"Impersonate-User": "bob"})
        assert 'User "alice" cannot impersonate-on:user-info:list resource "configmaps"' in by_alice.message


async def test_audit_ids_are_kept_and_made() -> None:
    async with api() as server:
        assert (await server.get("/version", headers={"Audit-ID": "mine"})).headers("Audit-Id") == ["mine"]
        first, second = [(await server.get("/version")).headers("Audit-Id")[0] for _ in range(2)]
        assert first != second
        assert len(first) == 36


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        (
            "application/foo",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf",
        ),
        (
            "application/json;as=Foo;g=meta.k8s.io;v=v1",
            "only the following media types are accepted: application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf",
        ),
    ],
)
async def test_what_cannot_be_answered_is_406(accept: str, message: str) -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1"))
        answer = await server.get(f"{CONFIGMAPS}/c1", accept=accept)
        assert (answer.status, answer.message) == (406, message)


async def test_a_watch_in_yaml_is_406_in_yaml() -> None:
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1", accept="application/yaml")
        assert answer.response.content_type == "application/yaml"
        assert answer.body.decode() == (
            "apiVersion: v1\ncode: 406\nkind: Status\nmessage: 'only the following media types are accepted: "
            "application/json;stream=watch,\n  application/vnd.kubernetes.protobuf;stream=watch'\nmetadata: {}\n"
            "reason: NotAcceptable\nstatus: Failure\n"
        )


async def test_yaml_is_written_as_the_server_writes_it() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1", a="1", text="x\ny\n"))
        lines = (await server.get(f"{CONFIGMAPS}/c1", accept="application/yaml")).body.decode().splitlines()
        assert lines[:7] == [
            "apiVersion: v1",
            "data:",
            '  a: "1"',
            "  text: |",
            "    x",
            "    y",
            "kind: ConfigMap",
        ]


async def test_a_body_in_yaml_is_read() -> None:
    async with api() as server:
        made = await server.send(
            "POST",
            CONFIGMAPS,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
            content_type="application/yaml",
        )
        assert made.status == 201


async def test_metadata_alone() -> None:
    async with api() as server:
        created = (await server.create(CONFIGMAPS, configmap("c1", a="1"))).json
        one = (await server.get(f"{CONFIGMAPS}/c1", accept=PARTIAL)).json
        assert one == {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": created["metadata"],
        }
        many = (await server.get(CONFIGMAPS, accept=PARTIAL.replace("Metadata;", "MetadataList;"))).json
        assert many["kind"] == "PartialObjectMetadataList"
        assert many["items"] == [one]


@pytest.mark.parametrize(
    ("include", "expected"), [("", "PartialObjectMetadata"), ("Object", "ConfigMap"), ("None", None)]
)
async def test_tables_bring_what_was_asked_for(include: str, expected: str | None) -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1", a="1"))
        table = (await server.get(f"{CONFIGMAPS}?includeObject={include}", accept=TABLE)).json
        assert table["kind"] == "Table"
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
        (row,) = table["rows"]
        assert row["cells"][:2] == ["c1", 1]
        assert (row["object"] or {"kind": None})["kind"] == expected


async def test_an_unknown_include_object_is_400() -> None:
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}?includeObject=Foo", accept=TABLE)
        assert (answer.status, answer.message) == (400, 'unrecognized includeObject value: "Foo"')


async def test_errors_are_a_status_where_a_table_was_asked_for() -> None:
    async with api() as server:
        answer = await server.get("/api/v1/nodes/nope", accept=f"{TABLE},application/json")
        assert (answer.status, answer.json["kind"]) == (404, "Status")


async def test_protobuf_alone_is_answered_in_json() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1"))
        answer = await server.get(f"{CONFIGMAPS}/c1", accept="application/vnd.kubernetes.protobuf")
        assert (answer.status, answer.response.content_type) == (200, "application/json")


async def test_pretty_is_indented() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1"))
        assert b'\n  "kind": "ConfigMap"' in (await server.get(f"{CONFIGMAPS}/c1?pretty=true")).body
        assert b"\n  " in (await server.get(f"{CONFIGMAPS}/c1", headers={"User-Agent": "curl/8"})).body
        assert b"\n" not in (await server.get(f"{CONFIGMAPS}/c1?pretty=0", headers={"User-Agent": "curl/8"})).body


@pytest.mark.parametrize("accept", ["application/json", f"{TABLE},application/json"], ids=["list", "table"])
async def test_a_pretty_list_is_the_whole_list_indented(accept: str) -> None:
    async with api() as server:
        empty = await server.get(f"{CONFIGMAPS}?pretty=true&labelSelector=no", accept=accept)
        assert empty.body == encoding.dumps_pretty(empty.json) + b"\n"
        for number in range(40):
            await server.create(CONFIGMAPS, configmap(f"c{number}", a="one\n  two" * number, b="[]"))
        listed = await server.get(f"{CONFIGMAPS}?pretty=true", accept=accept)
        assert len(listed.json.get("items") or listed.json["rows"]) == 40
        assert listed.body == encoding.dumps_pretty(listed.json) + b"\n"


async def test_a_version_of_the_future_is_504_with_retry_after() -> None:
    async with api() as server:
        answer = await server.get(f"{CONFIGMAPS}/c1?resourceVersion=99999999999")
        assert answer.status == 504
        assert answer.headers("Retry-After") == ["1"]


async def test_endpoints_are_deprecated_with_a_warning() -> None:
    async with api() as server:
        answer = await server.get("/api/v1/namespaces/default/endpoints")
        assert answer.headers("Warning") == [
            '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
        ]


async def test_a_tunnel_without_a_host_is_503() -> None:
    async with api() as server:
        answer = await server.get("/api/v1/namespaces/default/services/s/proxy/")
        assert answer.status == 503
        assert answer.message == 'no endpoints available for service "s"'


async def test_large_patches_go_one_after_the_other_and_all_arrive() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c1"))
        large = {key: key * (LARGE_BODY_BYTES + 1) for key in "abc"}
        merge = {"Content-Type": "application/merge-patch+json"}
        patches = [{"data": {key: value}} for key, value in large.items()]
        answers = await asyncio.gather(
            *(server.send("PATCH", f"{CONFIGMAPS}/c1", patch, headers=merge) for patch in patches)
        )
        assert [answer.status for answer in answers] == [200, 200, 200]
        stored = (await server.get(f"{CONFIGMAPS}/c1")).json["data"]
        assert {key: len(value) for key, value in stored.items() if key in large} == dict.fromkeys(
            large, LARGE_BODY_BYTES + 1
        )
