"""No name in a PodSpec is forgotten: each name-bearing field of the schema is renamed, handled by hand, or may stay."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from sync.translator import CLAIMS, CONFIGMAPS, SECRETS, Context, Ref
from sync.translators import podnames, pods
from vapi.gvk import GVR, Obj

PACKAGE = importlib.util.find_spec("kubernetes_validate")
SUFFIX = "v1.37.0-local/_definitions.json"

NAME_BEARING = re.compile(
    r"(?i)(name|names|nameservers|endpoints|namespaces|serviceaccount|subdomain|namespace|podgroup)(\[\])?$|selector$"
)
"""Of the last part of a path: fields that hold a name, and selectors (which hold labels of a tenant's namespace)."""


@lru_cache
def definitions() -> Any:
    assert PACKAGE is not None and PACKAGE.origin is not None
    path = Path(PACKAGE.origin).parent / "kubernetes-json-schema" / SUFFIX
    found = json.loads(path.read_text())
    return found.get("definitions") or found["$defs"]


def paths(name: str, prefix: str = "", stack: tuple[str, ...] = ()) -> Iterator[str]:
    """Every path below a definition, inner ones too; what has no fields is a leaf."""
    for field, schema in definitions()[name].get("properties", {}).items():
        path = f"{prefix}{field}"
        while schema.get("items"):
            path, schema = f"{path}[]", schema["items"]
        yield path
        reference = schema.get("$ref", "").rpartition("/")[2]
        if reference and reference not in stack:
            yield from paths(reference, f"{path}.", (*stack, reference))


def known(path: str) -> bool:
    """In a table, or below what a table handles whole."""
    if path in podnames.RENAMED:
        return True
    ancestors = [path[: m.start()] for m in re.finditer(r"\.", path)] + [path]
    return any(
        a in podnames.SPECIAL or any(fnmatch.fnmatchcase(a, p.replace("[]", "[[]]")) for p in podnames.KEPT)
        for a in ancestors
    )


def test_every_name_bearing_field_of_a_pod_spec_is_known() -> None:
    bearing = [p for p in paths("io.k8s.api.core.v1.PodSpec") if NAME_BEARING.search(p.rpartition(".")[2])]
    assert len(bearing) > 100
    assert [p for p in bearing if not known(p)] == []


@pytest.mark.parametrize("path", sorted(podnames.RENAMED))
def test_every_renamed_path_is_in_the_schema(path: str) -> None:
    assert path in set(paths("io.k8s.api.core.v1.PodSpec"))


def nested(path: str, name: str) -> Obj:
    """A spec with `name` at `path` and nothing else."""
    value: Any = name
    for part in reversed(path.split(".")):
        value = {part[:-2]: [value]} if part.endswith("[]") else {part: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("path", "gvr"), sorted(podnames.RENAMED.items()))
def test_each_path_is_renamed_and_referred_to(path: str, gvr: GVR) -> None:
    spec = nested(path, "mine")
    assert podnames.rename(spec, lambda _gvr, name: f"{name}-there") == nested(path, "mine-there")
    assert spec == nested(path, "mine")
    assert list(podnames.named(spec)) == [(gvr, "mine")]


def test_an_empty_name_is_no_name() -> None:
    spec = nested("volumes[].configMap.name", "")
    assert podnames.rename(spec, lambda _gvr, name: f"{name}-there") == spec
    assert list(podnames.named(spec)) == []


def test_references_are_configmaps_secrets_and_claims_each_once() -> None:
    virtual: Obj = {
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {
            "volumes": [{"configMap": {"name": "a"}}, {"persistentVolumeClaim": {"claimName": "data"}}],
            "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}]}],
        },
    }
    virtual["spec"]["volumes"].append({"name": "tmp", "ephemeral": {"volumeClaimTemplate": {}}})
    names = {Ref(CLAIMS, "ns", "data"), Ref(CLAIMS, "ns", "web-tmp")}
    assert set(pods.references(virtual)) == {Ref(CONFIGMAPS, "ns", "a"), Ref(SECRETS, "ns", "b")} | names
    assert pods.to_host({**virtual, "metadata": {**virtual["metadata"], "uid": "u"}}, Context("vc", "h"))["spec"][
        "volumes"
    ] == [
        {"configMap": {"name": "a-x-ns-x-vc"}},
        {"persistentVolumeClaim": {"claimName": "data-x-ns-x-vc"}},
        {"name": "tmp", "persistentVolumeClaim": {"claimName": "web-tmp-x-ns-x-vc"}},
    ]
