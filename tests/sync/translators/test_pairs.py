"""Every `pairs/<plural>/<case>.virtual.yaml` becomes its `.host.yaml`, and the virtual object stays as it is.

A new pair: write the virtual file, run `python -m tests.sync.translators.test_pairs`, read what came.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import yaml

from sync.translator import Context, ServiceLink
from sync.translators.table import BY_RESOURCE
from sync.workloads.rows import ROWS
from vapi.gvk import Obj

PAIRS = Path(__file__).parent.parent / "pairs"

NAMESPACE_LABELS = {
    "default": {"kubernetes.io/metadata.name": "default"},
    "team": {"tier": "gold"},
    "a": {},
}

CONTEXT = Context(
    cluster="vc",
    host_namespace="host-ns",
    anchor_uid="anchor-uid",
    store_id="store-1",
    api_server_ip="10.0.0.1",
    service_account="vapi-vc-workload",
    namespace_labels=lambda namespace: NAMESPACE_LABELS[namespace],
    namespaces=NAMESPACE_LABELS.items,
    service_links=lambda _namespace: [ServiceLink("my-db", "10.0.0.9", (("sql", 5432, "TCP"), ("", 53, "UDP")))],
    host_pod_uid=lambda _namespace, name: "host-uid" if name == "web" else "",
)
CONTEXTS = {
    "dedicated": dataclasses.replace(
        CONTEXT,
        node_selector={"pool": "a"},
        tolerations=({"key": "dedicated", "operator": "Equal", "value": "a", "effect": "NoSchedule"},),
    ),
    "virtual-nodes": dataclasses.replace(CONTEXT, virtual_nodes=True, chosen_node=lambda _pod: "node-1"),
}
"""Of cases with settings of their own, by name."""


def translate(path: Path) -> Obj:
    virtual = yaml.safe_load(path.read_text())
    rows = {**{gvr.resource: row for gvr, row in BY_RESOURCE.items()}, **ROWS}
    row = rows[path.parent.name]
    before = copy.deepcopy(virtual)
    desired = row.to_host(virtual, CONTEXTS.get(path.name.partition(".")[0], CONTEXT))
    assert virtual == before
    return row.creation(desired)


VIRTUALS = sorted(PAIRS.glob("*/*.virtual.yaml"))


@pytest.mark.parametrize("path", VIRTUALS, ids=lambda p: f"{p.parent.name}/{p.name.partition('.')[0]}")
def test_a_virtual_object_becomes_its_host_object(path: Path) -> None:
    expected = yaml.safe_load(path.with_name(path.name.replace(".virtual.", ".host.")).read_text())
    assert translate(path) == expected


def write_pairs() -> None:
    """By hand, to look at the difference in git."""
    for path in VIRTUALS:
        text = yaml.safe_dump(translate(path), sort_keys=False, width=110)
        path.with_name(path.name.replace(".virtual.", ".host.")).write_text(text)


if __name__ == "__main__":
    write_pairs()
