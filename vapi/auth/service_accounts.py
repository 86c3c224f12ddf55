"""Names of service accounts as users. Source: k8s.io/apiserver authentication/serviceaccount."""

from __future__ import annotations

from functools import lru_cache

from vapi import names

PREFIX = "system:serviceaccount:"
ALL_GROUP = "system:serviceaccounts"
NAMESPACE_GROUP = "system:serviceaccounts:"


def username(namespace: str, name: str) -> str:
    return f"{PREFIX}{namespace}:{name}"


def groups(namespace: str) -> tuple[str, ...]:
    """Without system:authenticated."""
    return (ALL_GROUP, f"{NAMESPACE_GROUP}{namespace}")


@lru_cache(maxsize=4096)
def split(user: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, or None."""
    if not user.startswith(PREFIX):
        return None
    namespace, colon, name = user[len(PREFIX) :].partition(":")
    if not colon or names.dns_label(namespace) or names.dns_subdomain(name):
        return None
    return namespace, name
