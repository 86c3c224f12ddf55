"""Every pair of states of a mirror and its original has a plan, and nobody's own object is touched."""

from __future__ import annotations

from itertools import product

import pytest

from sync.mirror_plan import (
    MIRROR_PLAN,
    HostOriginal,
    MirrorAction,
    TenantDeletes,
    VirtualMirror,
    host_original,
    mirror_plan,
    virtual_mirror,
)


@pytest.mark.parametrize(("deletes", "virtual", "host"), list(product(TenantDeletes, VirtualMirror, HostOriginal)))
def test_every_pair_of_states_has_a_plan(deletes: TenantDeletes, virtual: VirtualMirror, host: HostOriginal) -> None:
    assert mirror_plan(virtual, host, deletes=deletes) is MIRROR_PLAN[deletes][virtual][host]


@pytest.mark.parametrize(("deletes", "host"), list(product(TenantDeletes, HostOriginal)))
def test_an_object_of_the_tenants_own_is_never_touched(deletes: TenantDeletes, host: HostOriginal) -> None:
    assert mirror_plan(VirtualMirror.OWN, host, deletes=deletes) in {MirrorAction.NOTHING, MirrorAction.CONFLICT}


@pytest.mark.parametrize(("virtual", "host"), list(product(VirtualMirror, HostOriginal)))
def test_nothing_is_deleted_on_the_host_that_is_put_back(virtual: VirtualMirror, host: HostOriginal) -> None:
    assert mirror_plan(virtual, host, deletes=TenantDeletes.PUT_BACK) is not MirrorAction.DELETE_HOST


@pytest.mark.parametrize(("deletes", "virtual"), list(product(TenantDeletes, VirtualMirror)))
def test_no_mirror_outlives_its_original(deletes: TenantDeletes, virtual: VirtualMirror) -> None:
    assert mirror_plan(virtual, HostOriginal.ABSENT, deletes=deletes) in {
        MirrorAction.NOTHING,
        MirrorAction.END_VIRTUAL,
        MirrorAction.RELEASE_VIRTUAL,
    }


@pytest.mark.parametrize(
    ("source", "deleting", "host_uid", "removed", "state"),
    [
        pytest.param(None, False, "h1", "", VirtualMirror.ABSENT, id="nothing there"),
        pytest.param(None, False, "h1", "h1", VirtualMirror.REMOVED, id="deleted by the tenant"),
        pytest.param(None, False, "h2", "h1", VirtualMirror.ABSENT, id="the tenant deleted the one before"),
        pytest.param(None, False, "", "", VirtualMirror.ABSENT, id="nothing anywhere"),
        pytest.param("", False, "h1", "", VirtualMirror.OWN, id="own"),
        pytest.param("", True, "h1", "", VirtualMirror.OWN, id="own and deleting"),
        pytest.param("h1", False, "h1", "", VirtualMirror.MIRROR, id="mirror"),
        pytest.param("h1", False, "h2", "", VirtualMirror.OTHER, id="mirror of the one before"),
        pytest.param("h1", False, "", "", VirtualMirror.OTHER, id="mirror of what is gone"),
        pytest.param("h1", True, "h1", "", VirtualMirror.DELETING, id="the tenant deletes it"),
    ],
)
def test_the_state_of_a_mirror_follows_from_what_it_shows(
    *, source: str | None, deleting: bool, host_uid: str, removed: str, state: VirtualMirror
) -> None:
    assert virtual_mirror(source=source, deleting=deleting, host_uid=host_uid, removed=removed) is state


@pytest.mark.parametrize(
    ("source", "deleting", "state"),
    [
        pytest.param("h1", False, VirtualMirror.ENDED, id="the tenant says that it has ended"),
        pytest.param("h1", True, VirtualMirror.DELETING, id="and deletes it"),
        pytest.param("h2", False, VirtualMirror.OTHER, id="of one that is gone"),
        pytest.param("", False, VirtualMirror.OWN, id="own"),
    ],
)
def test_what_a_tenant_calls_ended_is_told_from_what_has_ended(
    *, source: str, deleting: bool, state: VirtualMirror
) -> None:
    assert virtual_mirror(source=source, deleting=deleting, host_uid="h1", ended=True) is state


def test_what_a_tenant_calls_ended_is_replaced_by_what_made_it_and_nothing_else_is() -> None:
    assert {
        deletes: mirror_plan(VirtualMirror.ENDED, HostOriginal.PRESENT, deletes=deletes) for deletes in TenantDeletes
    } == {TenantDeletes.FORWARD: MirrorAction.DELETE_HOST, TenantDeletes.PUT_BACK: MirrorAction.CONVERGE_VIRTUAL}


@pytest.mark.parametrize(
    ("uid", "deleting", "state"),
    [
        ("", False, HostOriginal.ABSENT),
        ("", True, HostOriginal.ABSENT),
        ("h1", False, HostOriginal.PRESENT),
        ("h1", True, HostOriginal.DELETING),
    ],
)
def test_the_state_of_an_original_is_its_own(*, uid: str, deleting: bool, state: HostOriginal) -> None:
    assert host_original(uid=uid, deleting=deleting) is state
