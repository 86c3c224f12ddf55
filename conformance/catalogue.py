"""The official conformance tests of Kubernetes 1.37, by name: what class a test is of, and what it needs.

`data/tests.csv.gz` holds the facts: the 462 names that KubeConformance-1.37 lists, each with its sig, the class of
what has to run for it to pass, and what it asks for in a few words.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

CLASSES = ("api", "controllers", "node", "network", "storage", "sync")
"""`api`: the API server and the three controllers every namespace waits for; `controllers`: more of them, but no pod
has to run; `node`, `network`, `storage`: running pods; `sync`: our own checks."""

_TAG = re.compile(r"\[(Serial|Disruptive)\]")
_SIG = re.compile(r"\[(sig-[a-z-]+)\]")


@dataclass(frozen=True, slots=True)
class Test:
    name: str
    sig: str
    class_: str
    needs: str
    behind_a_pod: bool = False  # what it tests is the API alone, but its fixture is a running pod

    @property
    def serial(self) -> bool:
        """It changes the cluster for all: nothing else may run beside it."""
        return bool(_TAG.search(self.name))


@functools.lru_cache(maxsize=1)
def official() -> Mapping[str, Test]:
    """Name → test, in the order of the list."""
    packed = resources.files("conformance").joinpath("data/tests.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()))
    tests = (Test(r["name"], r["sig"], r["class"], r["needs"], bool(r["behind_a_pod"])) for r in rows)
    return MappingProxyType({test.name: test for test in tests})


def chosen(classes: Iterable[str], focus: str = "") -> list[Test]:
    """The official tests of these classes (`all`: of every class) whose name `focus` is found in."""
    wanted = set(CLASSES) if "all" in (classes := set(classes)) else classes
    pattern = re.compile(focus)
    return [t for t in official().values() if t.class_ in wanted and pattern.search(t.name)]


def sig_of(name: str) -> str:
    """The sig a test's name begins with; `sig-unknown` if it names none."""
    found = _SIG.match(name)
    return found[1] if found else "sig-unknown"
