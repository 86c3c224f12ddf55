"""Host names: the vectors that vCluster users know, and no two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import names

NAME = "my-vcluster"


@pytest.mark.parametrize(
    ("name", "namespace", "host_name"),
    [
        ("nginx", "default", "nginx-x-default-x-my-vcluster"),
        (
            "my-very-long-deployment-name-7c5ddbdf54-abcde",
            "production",
            "my-very-long-deployment-name-7c5ddbdf54-abcde-x-prod-fa556c28b9",
        ),
        (
            "a.very.long.dotted.configmap.name.that.ends.with.dot",
            "ns",
            "a.very.long.dotted.configmap.name.that.ends.with.dot-48b774b6d2",
        ),
    ],
)
def test_host_names_are_those_that_vcluster_users_know(name: str, namespace: str, host_name: str) -> None:
    assert names.host_name(name, namespace, NAME) == host_name


def test_a_name_of_63_characters_stays_whole_and_one_of_64_is_cut() -> None:
    fits = "n" * (63 - len("-x-ns-x-my-vcluster"))
    assert names.host_name(fits, "ns", NAME) == f"{fits}-x-ns-x-my-vcluster"
    cut = names.host_name(fits + "n", "ns", NAME)
    assert len(cut) == 63
    assert cut.startswith(fits)


def test_a_dot_at_the_cut_is_dropped() -> None:
    cut = names.host_name("a" * 51 + ".b", "ns", NAME)
    assert re.fullmatch(r"a{51}-[0-9a-f]{10}", cut)


def test_what_could_be_read_in_two_ways_is_hashed() -> None:
    pairs = [("a-x-b", "c"), ("a", "b-x-c"), ("a-x", "b"), ("a", "x-b"), ("a", "b")]
    assert len({names.host_name(name, namespace, NAME) for name, namespace in pairs}) == len(pairs)


def test_cluster_scoped_names_carry_prefix_host_namespace_and_cluster() -> None:
    assert names.host_cluster_name("gold", "team-a", NAME) == "vapi-gold-x-team-a-x-my-vcluster"
    assert len(names.host_cluster_name("g" * 60, "team-a", NAME)) == 63


def test_a_derived_name_never_meets_a_tenants_object() -> None:
    assert names.derived_name("web", "default", NAME, "token") != names.host_name("web-token", "default", NAME)


def test_namespace_labels_are_hashed_keys_under_our_domain() -> None:
    assert (
        names.namespace_label("kubernetes.io/metadata.name")
        == "ns.vapi.dev/cf1227b7b2"[:12] + (names.namespace_label("kubernetes.io/metadata.name")[12:])
    )
    assert re.fullmatch(r"ns\.vapi\.dev/[0-9a-f]{10}", names.namespace_label("team"))
    assert names.namespace_label("a") != names.namespace_label("b")


_labels = st.text("ax-", min_size=1, max_size=9).filter(lambda s: s[0] != "-" and s[-1] != "-")
_clusters = _labels.filter(lambda s: "-x-" not in s)
_triples = st.tuples(_labels, _labels, _clusters)


@given(_triples, _triples)
def test_host_names_are_injective(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (names.host_name(*one) == names.host_name(*other)) == (one == other)


_long = st.text("abx-.", min_size=1, max_size=120).map(lambda s: "a" + s.replace("..", "a").replace(".-", "b") + "z")


@given(_long, _labels, _clusters)
def test_host_names_are_dns_names_of_at_most_63_characters(name: str, namespace: str, cluster: str) -> None:
    host_name = names.host_name(name, namespace, cluster)
    assert len(host_name) <= 63
    assert ".-" not in host_name.replace(name, "")
    assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", host_name)
