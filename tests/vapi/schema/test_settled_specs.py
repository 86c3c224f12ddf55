"""A stored Pod whose spec was seen before is defaulted as one that was not."""

from __future__ import annotations

import copy

import pytest

from tests.planes import schemas
from vapi.gvk import GVK, Obj
from vapi.schema import defaults, godecode

POD = GVK("", "v1", "Pod")
STATUS: Obj = {"podIP": "10.0.0.1", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}


def _pod(**more: object) -> Obj:
    spec: Obj = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "resourceVersion": "7"}, "spec": spec}


def _long_way(obj: Obj) -> Obj:
    filled = copy.deepcopy(obj)
    defaults.apply_defaults(POD, filled)
    type_ = schemas().types.for_gvk(POD)
    assert type_ is not None
    godecode.complete(filled, type_)
    return filled


@pytest.mark.parametrize("given", [_pod(), _pod(hostNetwork=True), _pod(serviceAccount="a"), _pod(resources={})])
@pytest.mark.parametrize("status", [None, {}, STATUS])
def test_the_result_is_that_of_all_defaults_again(given: Obj, status: Obj | None) -> None:
    obj = copy.deepcopy(given) if status is None else {**copy.deepcopy(given), "status": copy.deepcopy(status)}
    for _ in range(3):  # the first is not settled, the second is found to be, the third is known
        expected = _long_way(obj)
        defaults.default_and_complete(POD, obj, schemas=schemas())
        assert obj == expected
        if status is not None:
            obj["status"] = copy.deepcopy(status)
