"""A copy of a host's node warns its writers; a tenant's own does not."""

from __future__ import annotations

import pytest

from vapi.gvk import GVK
from vapi.resources.strategies import strategy_for
from vapi.resources.strategies.mirrors import EDITABLE, MIRROR


@pytest.mark.parametrize(
    ("labels", "warned"), [({MIRROR: "true"}, 1), ({MIRROR: EDITABLE}, 0), ({"a": "b"}, 0), (None, 0)]
)
def test_only_a_copy_warns(labels: dict[str, str] | None, warned: int) -> None:
    node = {"metadata": {"name": "n", **({"labels": labels} if labels else {})}}
    assert len(strategy_for(GVK("", "v1", "Node"), "nodes").warnings(node, node)) == warned
