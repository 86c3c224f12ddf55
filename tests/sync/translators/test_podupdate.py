"""Later only the mutable paths of a pod go out, by name, and what the host added stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sync import metadata as md
from sync.translator import Write
from sync.translators import podupdate
from sync.translators.podupdate import quantity, settle, update
from vapi.gvk import Obj


def pod(**spec: Any) -> Obj:
    return {
        "metadata": {
            "name": "web-x-default-x-vc",
            "uid": "h1",
            "labels": {"app": "web", md.MANAGED_BY: "vc"},
            "annotations": {md.KEYS: md.keys_text(["app"], ["note"], ["gate"]), "note": "n"},
        },
        "spec": {"containers": [{"name": "c", "image": "a:1"}], **spec},
    }


def spec_of(writes: Any) -> Any:
    return [(w.subresource, w.patch.get("spec")) for w in writes]


def test_an_owner_that_was_taken_off_is_put_back_and_others_stay() -> None:
    wanted, host = pod(), pod()
    anchor = {"kind": "ConfigMap", "name": "vapi-vc", "uid": "a1"}
    wanted["metadata"]["ownerReferences"] = [anchor]
    host["metadata"]["ownerReferences"] = [{"kind": "Node", "name": "n", "uid": "n1"}]
    (write,) = update(wanted, host)
    assert write.patch == {"metadata": {"uid": "h1", "ownerReferences": [anchor]}}
    host["metadata"]["ownerReferences"].append(anchor)
    assert update(wanted, host) == []


def test_a_twin_as_it_should_be_needs_no_write() -> None:
    host = pod()
    host["metadata"]["labels"]["added-by-host"] = "1"
    host["spec"]["containers"].append({"name": "sidecar", "image": "s:1"})
    host["spec"]["tolerations"] = [{"key": "added"}]
    assert update(pod(), host) == []


def test_an_image_is_patched_by_container_name() -> None:
    desired = pod(containers=[{"name": "c", "image": "a:2"}], initContainers=[{"name": "i", "image": "i:2"}])
    host = pod(initContainers=[{"name": "i", "image": "i:1"}, {"name": "mesh", "image": "m"}])
    assert spec_of(update(desired, host)) == [
        ("", {"containers": [{"name": "c", "image": "a:2"}], "initContainers": [{"name": "i", "image": "i:2"}]})
    ]


def test_a_removed_key_goes_out_as_null_and_the_hosts_own_stay() -> None:
    desired, host = pod(), pod()
    del desired["metadata"]["labels"]["app"]
    del desired["metadata"]["annotations"]["note"]
    desired["metadata"]["annotations"][md.KEYS] = md.keys_text([], [], ["gate"])
    desired["metadata"]["labels"]["new"] = "1"
    host["metadata"]["labels"]["theirs"] = "1"
    (write,) = update(desired, host)
    assert write.patch["metadata"] == {
        "uid": "h1",
        "labels": {"app": None, "new": "1"},
        "annotations": {"note": None, md.KEYS: md.keys_text([], [], ["gate"])},
    }


def test_tolerations_are_only_added() -> None:
    desired = pod(tolerations=[{"key": "mine", "operator": "Exists"}])
    host = pod(tolerations=[{"key": "theirs"}])
    assert spec_of(update(desired, host)) == [
        ("", {"tolerations": [{"key": "theirs"}, {"key": "mine", "operator": "Exists"}]})
    ]


def test_a_deadline_goes_out_and_its_absence_does_not() -> None:
    assert spec_of(update(pod(activeDeadlineSeconds=5), pod())) == [("", {"activeDeadlineSeconds": 5})]
    assert update(pod(), pod(activeDeadlineSeconds=5)) == []


def test_only_our_own_gates_are_lifted() -> None:
    host = pod(schedulingGates=[{"name": "gate"}, {"name": "queue"}])
    assert spec_of(update(pod(), host)) == [("", {"schedulingGates": [{"$patch": "delete", "name": "gate"}]})]
    assert update(pod(schedulingGates=[{"name": "gate"}]), host) == []


def test_new_ephemeral_containers_and_resources_go_through_their_subresources() -> None:
    desired = pod(
        containers=[{"name": "c", "image": "a:1", "resources": {"requests": {"cpu": "200m"}}}],
        ephemeralContainers=[{"name": "old"}, {"name": "debug", "image": "b"}],
    )
    host = pod(
        containers=[{"name": "c", "image": "a:1", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}],
        ephemeralContainers=[{"name": "old"}],
    )
    assert spec_of(update(desired, host)) == [
        ("resize", {"containers": [{"name": "c", "resources": {"requests": {"cpu": "200m"}}}]}),
        ("ephemeralcontainers", {"ephemeralContainers": [{"name": "debug", "image": "b"}]}),
    ]


def test_the_tenants_readiness_gates_go_into_the_hosts_status() -> None:
    desired = {**pod(), "status": {"conditions": [{"type": "gate.io/x", "status": "True"}]}}
    writes = list(update(desired, pod()))
    assert writes == [
        Write({"status": {"conditions": [{"type": "gate.io/x", "status": "True"}]}}, "status", optional=True)
    ]
    host = {**pod(), "status": {"conditions": [{"type": "gate.io/x", "status": "True", "lastProbeTime": None}]}}
    assert update(desired, host) == []


def test_an_answer_other_than_asked_is_noted_and_not_asked_for_again() -> None:
    desired = pod()
    answer = pod(containers=[{"name": "c", "image": "mirror/a:1"}])
    note = settle(desired, answer)
    assert note is not None
    answer["metadata"]["annotations"] |= note.patch["metadata"]["annotations"]
    assert update(desired, answer) == []
    assert settle(desired, answer) is None
    newer = pod(containers=[{"name": "c", "image": "a:2"}])
    assert spec_of(update(newer, answer)) == [("", {"containers": [{"name": "c", "image": "a:2"}]})]
    edited = copy.deepcopy(answer)
    edited["spec"]["containers"][0]["image"] = "by-hand"
    assert spec_of(update(desired, edited)) == [("", {"containers": [{"name": "c", "image": "a:1"}]})]


def test_an_answer_as_asked_needs_no_note() -> None:
    assert settle(pod(), pod(tolerations=[{"key": "added"}])) is None


@pytest.mark.parametrize(
    ("one", "other"), [("1000m", "1"), ("1Gi", "1024Mi"), ("1e3", "1k"), ("0.5", "500m"), ("odd", "odd"), (1, "1")]
)
def test_equal_quantities_are_equal_however_they_are_written(one: Any, other: Any) -> None:
    assert quantity(one) == quantity(other)


def test_different_quantities_differ() -> None:
    assert quantity("1") != quantity("1k")
    assert podupdate.quantity("") != quantity("0")
