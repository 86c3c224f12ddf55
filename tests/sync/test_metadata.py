"""What goes along with an object to the host, and what stays."""

from __future__ import annotations

import pytest

from sync import metadata as md
from vapi.gvk import GVK, Obj

NOTHING = md.KeyPatterns()


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("vapi.dev/managed-by", True),
        ("vapi.dev/anything", True),
        ("ns.vapi.dev/0123456789", True),
        ("vapi.development/x", False),
        ("notvapi.dev/x", False),
        ("vapi.dev", False),
        ("app", False),
    ],
)
def test_keys_under_our_domain_are_reserved(key: str, ours: bool) -> None:
    assert md.reserved(key) is ours


def test_tenant_keys_under_our_domain_never_leave() -> None:
    virtual: Obj = {
        "metadata": {
            "labels": {"app": "web", "vapi.dev/managed-by": "other", "ns.vapi.dev/0123456789": "x"},
            "annotations": {"note": "n", "vapi.dev/object-uid": "forged", md.LAST_APPLIED: "{}"},
        }
    }
    assert md.tenant_labels(virtual, NOTHING) == {"app": "web"}
    assert md.tenant_annotations(virtual, NOTHING) == {"note": "n"}


def test_keys_that_the_host_owns_do_not_go_out() -> None:
    virtual: Obj = {"metadata": {"labels": {"a.io/x": "1", "b": "2"}, "annotations": {"c.io/y": "3"}}}
    owned = md.KeyPatterns(labels=("a.io/*",), annotations=("c.io/y",))
    assert md.tenant_labels(virtual, owned) == {"b": "2"}
    assert md.tenant_annotations(virtual, owned) == {}


def test_the_mark_is_void_under_another_uid() -> None:
    virtual: Obj = {"metadata": {"uid": "u1", "annotations": {md.HOST_UID: md.make_mark("u1", "h1")}}}
    assert md.marked_host_uid(virtual) == "h1"
    virtual["metadata"]["uid"] = "u2"
    assert md.marked_host_uid(virtual) == ""


def test_equal_objects_have_equal_hashes() -> None:
    assert md.desired_hash({"a": 1, "b": {"c": [1], "d": 2}}) == md.desired_hash({"b": {"d": 2, "c": [1]}, "a": 1})
    assert md.desired_hash({"a": 1}) != md.desired_hash({"a": True})


def test_sent_keys_survive_the_round_trip_and_broken_text_is_nothing() -> None:
    text = md.keys_text(["b", "a"], ["n"], ["g"])
    host: Obj = {"metadata": {"annotations": {md.KEYS: text}}}
    assert md.sent_keys(host) == md.SentKeys(frozenset("ab"), frozenset("n"), frozenset("g"))
    assert md.sent_keys({"metadata": {"annotations": {md.KEYS: "{"}}}) == md.SentKeys()
    assert md.sent_keys({"metadata": {"annotations": {md.KEYS: "[]"}}}) == md.SentKeys()
    assert md.sent_keys({"metadata": {}}) == md.SentKeys()


def test_kind_text_has_no_version() -> None:
    assert md.kind_text(GVK("", "v1", "Pod")) == "Pod"
    assert md.kind_text(GVK("apps", "v1", "Deployment")) == "Deployment.apps"
