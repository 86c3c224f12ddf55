"""How endpoints are spread over slices."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vapi.control.endpointslice_plan import Group, Plan, plan
from vapi.gvk import Obj

PORTS: list[Obj] = [{"name": "http", "port": 80, "protocol": "TCP"}]


def endpoint(name: str) -> Obj:
    return {"addresses": [f"10.0.0.{len(name)}"], "targetRef": {"uid": name}}


def group(*names: str, ports: list[Obj] = PORTS) -> Group:
    return Group("IPv4", ports, {name: endpoint(name) for name in names})


def existing(name: str, *names: str, ports: list[Obj] = PORTS) -> Obj:
    endpoints = [endpoint(each) for each in names]
    return {"metadata": {"name": name}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}


def outcome(made: Plan) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Writes (slice or "+" → uids), kept and deleted slices."""
    writes = {}
    for number, each in enumerate(made.writes):
        name = each.slice["metadata"]["name"] if each.slice else f"+{number}"
        writes[name] = [found["targetRef"]["uid"] for found in each.endpoints]
    return writes, [each["metadata"]["name"] for each in made.keep], [each["metadata"]["name"] for each in made.delete]


def test_nothing_changes_when_all_is_right() -> None:
    assert outcome(plan([existing("s", "a", "b")], [group("a", "b")], 3)) == ({}, ["s"], [])


def test_new_endpoints_go_where_something_changes_anyway() -> None:
    slices = [existing("s1", "a", "b"), existing("s2", "c", "gone")]
    assert outcome(plan(slices, [group("a", "b", "c", "d")], 3)) == ({"s2": ["c", "d"]}, ["s1"], [])


def test_new_endpoints_fill_the_fullest_slice_that_takes_all_of_them() -> None:
    slices = [existing("s1", "a"), existing("s2", "b", "c")]
    assert outcome(plan(slices, [group("a", "b", "c", "d")], 3)) == ({"s2": ["b", "c", "d"]}, ["s1"], [])


def test_what_fits_nowhere_makes_a_new_slice() -> None:
    assert outcome(plan([existing("s", "a", "b", "c")], [group("a", "b", "c", "d")], 3)) == ({"+0": ["d"]}, ["s"], [])


def test_no_endpoints_leave_one_empty_slice() -> None:
    assert outcome(plan([], [group(ports=[])], 3)) == ({"+0": []}, [], [])
    assert outcome(plan([existing("s", ports=[])], [group(ports=[])], 3)) == ({}, ["s"], [])


def test_slices_with_other_ports_are_written_over() -> None:
    made = plan([existing("s", "a", ports=[])], [group("a")], 3)
    assert outcome(made) == ({"s": ["a"]}, [], [])
    assert made.writes[0].ports == PORTS


def test_slices_of_no_group_are_deleted() -> None:
    assert outcome(plan([existing("s", "a")], [], 3)) == ({}, [], ["s"])


names = st.sets(st.integers(0, 40).map(lambda number: f"e{number}"), max_size=30)


@given(first=names, second=names, third=names)
def test_every_endpoint_is_in_exactly_one_slice_and_no_slice_is_too_full(
    first: set[str], second: set[str], third: set[str]
) -> None:
    slices: list[Obj] = []
    for number, wanted in enumerate((first, second, third)):
        made = plan(slices, [group(*sorted(wanted))], 5)
        gone = [each["metadata"]["name"] for each in made.delete]
        slices = [each for each in slices if each["metadata"]["name"] not in gone]
        for index, each in enumerate(made.writes):
            if each.slice is None:
                slices.append(existing(f"s{number}-{index}"))
                each.slice = slices[-1]
            each.slice.update(ports=each.ports, endpoints=list(each.endpoints))
        found = [each["targetRef"]["uid"] for one in slices for each in one["endpoints"]]
        assert sorted(found) == sorted(wanted)
        assert all(len(each["endpoints"]) <= 5 for each in slices)
        assert slices
        again = plan(slices, [group(*sorted(wanted))], 5)
        assert not again.writes
        assert not again.delete
