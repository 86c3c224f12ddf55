"""What every namespace gets: the default service account and the root CA."""

from __future__ import annotations

from tests.vapi.control.cluster import ROOT_CA, cluster
from vapi.control import kinds


async def test_every_namespace_has_a_default_service_account_and_gets_it_back() -> None:
    async with cluster("service-account-controller") as it:
        assert it.has(kinds.SERVICE_ACCOUNTS, "default")
        await it.client.delete(kinds.SERVICE_ACCOUNTS, "default", "default")
        await it.settle()
        assert it.has(kinds.SERVICE_ACCOUNTS, "default")


async def test_the_root_ca_is_published_and_kept_equal() -> None:
    async with cluster("root-ca-certificate-publisher") as it:
        config_map = await it.get(kinds.CONFIG_MAPS, "kube-root-ca.crt")
        assert config_map["data"] == {"ca.crt": ROOT_CA}
        config_map["data"] = {"ca.crt": "forged", "more": "x"}
        await it.client.update(kinds.CONFIG_MAPS, config_map)
        await it.settle()
        assert (await it.get(kinds.CONFIG_MAPS, "kube-root-ca.crt"))["data"] == {"ca.crt": ROOT_CA}
