"""The list of official tests."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from conformance import catalogue
from conformance.checks.table import CHECKS


def test_each_class_has_the_tests_that_the_list_of_1_37_gives_it() -> None:
    counts = Counter(test.class_ for test in catalogue.official().values())
    assert counts == {"api": 120, "controllers": 32, "node": 198, "network": 33, "storage": 79}


@pytest.mark.parametrize(
    ("classes", "focus", "count"),
    [
        (["api"], "", 120),
        (["api", "controllers"], "", 152),
        (["all"], "", 462),
        (["api"], "Lease", 1),
        (["sync"], "", 0),
    ],
    ids=["one", "two", "all", "focus", "ours"],
)
def test_tests_are_chosen_by_class_and_name(classes: list[str], focus: str, count: int) -> None:
    assert len(catalogue.chosen(classes, focus)) == count


def test_serial_and_disruptive_tests_run_alone() -> None:
    assert 20 < sum(test.serial for test in catalogue.official().values()) < 60


def test_the_sig_of_a_test_stands_at_its_beginning() -> None:
    assert all(catalogue.sig_of(name) == test.sig for name, test in catalogue.official().items())
    assert catalogue.sig_of("nothing") == "sig-unknown"


def test_every_check_of_ours_names_its_group_first() -> None:
    groups = {name.partition("]")[0].removeprefix("[") for name in CHECKS}
    assert groups == {
        *("pods", "services", "configs", "volumes", "policies", "nodes", "events", "classes", "dns"),
        *("workloads", "drift"),
    }


def test_every_line_of_the_checklist_stands_in_one_check() -> None:
    """Those of this list; what is left out stands in the table's docstring."""
    lines = [line for name in CHECKS for line in _lines(name)]
    assert len(lines) == len(set(lines))
    for group, last, missing in (
        ("POD", 25, {21}),
        ("SVC", 28, {10, 12}),
        ("VOL", 6, set()),
        ("NODE", 3, set()),
        ("CLS", 14, set()),
        ("DNS", 2, set()),
        ("SCH", 3, set()),
    ):
        assert {f"{group}-{n}" for n in set(range(1, last + 1)) - missing} <= set(lines)


def _lines(name: str) -> list[str]:
    """`POD-8 … POD-10` are three."""
    found = re.findall(r"([A-Z]+)-(\d+)(?: … [A-Z]+-(\d+))?", name)
    return [f"{group}-{n}" for group, first, last in found for n in range(int(first), int(last or first) + 1)]
