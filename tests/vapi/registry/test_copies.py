"""Copies of what the host has already: they keep their uid and age, and their mark is the server's alone."""

from __future__ import annotations

from tests.planes import PODS, plane, pod
from vapi.authorizer import User
from vapi.gvk import Obj
from vapi.registry.caller import Caller
from vapi.resources.strategies.mirrors import HOST_UID, is_child

UID = "6c1f2a52-0d7b-4f3a-9a59-3f1d7d6d1f11"


def copied() -> Obj:
    obj = pod("web")
    obj["metadata"] |= {
        "uid": UID,
        "creationTimestamp": "2025-01-01T00:00:00Z",
        "annotations": {HOST_UID: f"{UID}/{UID}"},
    }
    return obj


async def test_a_copy_keeps_its_uid_and_age() -> None:
    async with plane() as p:
        made = await p.client("vapi-syncer").copy(PODS, copied())
        assert (made["metadata"]["uid"], made["metadata"]["creationTimestamp"]) == (UID, "2025-01-01T00:00:00Z")
        assert is_child(made)


async def test_who_creates_an_object_chooses_no_uid() -> None:
    async with plane() as p:
        made = await p.client("vapi-syncer").create(PODS, copied())
        assert made["metadata"]["uid"] != UID
        assert not is_child(made)


async def test_a_client_neither_takes_the_mark_off_nor_puts_it_on() -> None:
    async with plane() as p:
        row = p.client("tester").row(PODS)
        marked = await p.client("vapi-syncer").copy(PODS, copied())
        del marked["metadata"]["annotations"]
        written = await p.registry.update(Caller(User("jane")), row, "default", "web", marked)
        assert is_child(written.entry.obj())
        own = await p.client("tester").create(PODS, pod("own"))
        uid = own["metadata"]["uid"]
        own["metadata"]["annotations"] = {HOST_UID: f"{uid}/{uid}", "mine": "1"}
        written = await p.registry.update(Caller(User("jane")), row, "default", "own", own)
        assert written.entry.obj()["metadata"]["annotations"] == {"mine": "1"}
