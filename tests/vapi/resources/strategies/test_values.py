"""Forms of small texts."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.resources.strategies import cron, names_of_signers, values

IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.0.0.1", ""),
        ("FE80:0::1", ""),
        ("010.0.0.1", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        ("x", IP),
        ("fe80::1%eth0", IP),
    ],
)
def test_addresses_may_be_spelled_as_one_likes_but_not_ambiguously(text: str, problem: str) -> None:
    assert values.ip(text) == problem


@given(st.ip_addresses())
def test_an_address_in_its_canonical_form_is_a_name(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    assert bool(values.ip_name(str(address))) == mapped


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_has_no_bits_beyond_its_prefix(address: ipaddress.IPv4Address, length: int) -> None:
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    assert values.canonical_cidr(str(network)) == ""
    same = network.network_address == address
    assert (values.cidr(f"{address}/{length}") == "") == same


@pytest.mark.parametrize(
    ("name", "kept"), [("a.b-c_D", True), (".", False), ("..", False), ("..a", False), ("a b", False)]
)
def test_keys_of_config_maps_are_names_of_files(name: str, kept: bool) -> None:
    assert (values.config_key(name) == "") == kept


@given(st.tuples(*(st.integers(low, high) for low, high in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)))))
def test_five_numbers_in_their_ranges_are_a_schedule(fields: tuple[int, ...]) -> None:
    assert cron.schedule(" ".join(map(str, fields))) == ""
    assert cron.schedule(" ".join(f"{field}-{field},*/2" for field in fields)) == ""


@given(st.text())
def test_any_text_is_a_schedule_or_not(text: str) -> None:
    assert isinstance(cron.schedule(text), str)


def test_bundles_are_named_after_their_signer() -> None:
    assert names_of_signers.bundle_name("example.com:x:v1", "example.com/x") == ""
    assert "prefix example.com:x:" in names_of_signers.bundle_name("v1", "example.com/x")
    assert "must not have" in names_of_signers.bundle_name("example.com:x:v1", "")
