"""Every example is a configuration that starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from vapi import config
from vapi.config_values import NodesMode

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_is_understood(path: Path) -> None:
    assert config.load({}, path, {}).name


def test_the_examples_of_nodes_say_what_they_are_about() -> None:
    dedicated = config.load({}, EXAMPLES / "dedicated.yaml", {})
    assert dedicated.sync_nodes_selector == {"vapi-tenant": "team-a"}
    assert dedicated.sync_nodes_tolerations[0]["effect"] == "NoSchedule"
    assert config.load({}, EXAMPLES / "virtual-nodes.yaml", {}).sync_nodes_mode is NodesMode.VIRTUAL
