"""Hosts of the integration tier: started once, for whoever asks first, and ended with the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.host_cluster import HostCluster, host_cluster


@pytest.fixture(scope="session")
def node_host() -> Iterator[HostCluster]:
    """One whose pods really run."""
    with host_cluster(node=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def api_host() -> Iterator[HostCluster]:
    """One without nodes: its pods stay Pending."""
    with host_cluster(node=False) as cluster:
        yield cluster
