"""Names of kinds and resources: group, version, kind or plural, as Kubernetes uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Obj = dict[str, Any]
"""A Kubernetes object as plain JSON values. One taken from a cache is never edited: copy first."""


@dataclass(frozen=True, slots=True, order=True)
class GroupVersion:
    group: str
    version: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @classmethod
    def parse(cls, api_version: str) -> GroupVersion:
        """From `apps/v1` or `v1`. Source: apimachinery schema.ParseGroupVersion."""
        group, _, version = api_version.rpartition("/")
        return cls(group, version)


class GVK(NamedTuple):
    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_version(self) -> GroupVersion:
        return GroupVersion(self.group, self.version)


class GVR(NamedTuple):
    """A tuple: it is hashed and compared a few dozen times a request."""

    group: str
    version: str
    resource: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_version(self) -> GroupVersion:
        return GroupVersion(self.group, self.version)

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, or `pods` in the core group, as Status messages name it."""
        return f"{self.resource}.{self.group}" if self.group else self.resource
