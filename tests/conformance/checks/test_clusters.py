"""Virtual clusters that checks start beside the one under test: by a command, once each, and taken away at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from conformance.checks.clusters import Clusters
from conformance.checks.setting import Unmet

COMMAND = """\
#!/bin/sh
echo "$1 starts" >>{log}
[ "$1" = plain ] || exit 2
echo '{{"kubeconfig": "{kubeconfig}", "namespace": "there", "name": "it"}}'
cat >/dev/null
echo "$1 ends" >>{log}
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def clusters(tmp_path: Path, log: Path) -> Iterator[Clusters]:
    kubeconfig, command = tmp_path / "kubeconfig", tmp_path / "start"
    part = {"name": "x"}
    kubeconfig.write_text(
        yaml.dump(
            {
                "current-context": "x",
                "contexts": [{**part, "context": {"cluster": "x", "user": "x"}}],
                "clusters": [{**part, "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{**part, "user": {"token": "t"}}],
            }
        )
    )
    command.write_text(COMMAND.format(log=log, kubeconfig=kubeconfig))
    command.chmod(0o755)
    made = Clusters(str(command), client.ApiClient())
    yield made
    made.close()


def test_a_variant_is_started_once_and_taken_away_at_the_end(clusters: Clusters, log: Path) -> None:
    first, second = clusters.cluster("plain"), clusters.cluster("plain")
    assert first is second
    assert (first.below.namespace, first.below.cluster) == ("there", "it")
    clusters.close()
    assert log.read_text().splitlines() == ["plain starts", "plain ends"]


def test_what_the_command_does_not_know_is_unmet_each_time_and_tried_once(clusters: Clusters, log: Path) -> None:
    for _ in range(2):
        with pytest.raises(Unmet, match="odd"):
            clusters.cluster("odd")
    assert log.read_text().splitlines() == ["odd starts"]
