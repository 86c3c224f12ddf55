"""Specs that are remembered by their bytes get the answers of the rules themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.planes import schemas
from vapi.gvk import GVK, Obj
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import known, spec, warnings
from vapi.schema import defaults, podspec

POD = GVK("", "v1", "Pod")


def _spec(volume: str = "kube-api-access-bcdfg", mounted: str = "", **more: Any) -> Obj:
    container: Obj = {"name": "c", "image": "i", "volumeMounts": [{"name": mounted or volume, "mountPath": "/t"}]}
    wanted: Obj = {"containers": [container], "volumes": [{"name": volume, "emptyDir": {}}], **more}
    obj: Obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": wanted}
    defaults.default_and_complete(POD, obj, schemas=schemas())
    return wanted


def _found(check: Any, wanted: Obj, pod_name: str = "p") -> Causes:
    causes: Causes = []
    check(causes, "spec", wanted, is_pod=True, pod_name=pod_name)
    return causes


GOOD = [_spec(), _spec("kube-api-access-zz999"), _spec("data"), _spec("kube-api-access-aaaaa")]
BAD = [
    _spec(mounted="kube-api-access-aaaaa"),
    _spec("kube-api-access-BCDFG"),
    _spec(mounted="kube-api-access-ghjkl"),
    _spec(restartPolicy="Sometimes"),
    _spec("x" * 64),
    _spec(nodeSelector={"": "x"}),
]


@pytest.mark.parametrize("wanted", [*GOOD, *BAD])
def test_what_is_said_is_what_the_rules_say_the_first_time_and_the_second(wanted: Obj) -> None:
    expected = _found(spec.validate, wanted)
    assert _found(known.validate, wanted) == expected
    assert _found(known.validate, wanted) == expected
    assert bool(expected) == (wanted in BAD)


def test_specs_that_differ_in_the_random_name_of_the_tokens_volume_alone_are_one() -> None:
    assert podspec.stand_in(GOOD[0]) == podspec.stand_in(GOOD[1])
    assert podspec.stand_in(GOOD[0]) != podspec.stand_in(GOOD[2])


def test_a_spec_that_holds_the_name_that_stands_in_has_no_stand_in() -> None:
    assert podspec.stand_in(BAD[0]) == b""


def test_large_specs_and_volumes_named_after_the_pod_are_not_remembered() -> None:
    assert podspec.stand_in(_spec(hostname="x" * podspec.MOST_BYTES)) == b""
    claim: Obj = {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}
    assert podspec.stand_in({"volumes": [{"name": "v", "ephemeral": claim}]}) == b""


def test_warnings_of_a_known_spec_are_said_every_time() -> None:
    loud = _spec(imagePullSecrets=[{"name": "a"}, {"name": "a"}])
    obj: Obj = {"metadata": {"name": "p"}, "spec": loud}
    assert len(warnings.of_pod(obj, None)) == 1
    assert warnings.of_pod(obj, None) == warnings.of_pod(obj, None)
