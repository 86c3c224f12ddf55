"""Unlabelled: children on the host that lost their label while nobody looked, which no watch by that label tells of.

Only a start meets them: a mirror is there, and nobody has told of its original. One list a kind tells of them all.
"""

from __future__ import annotations

from sync import metadata as md
from sync.state import Engine
from sync.workloads.children import Children, Key


class Unlabelled:
    """Runs on the loop."""

    def __init__(self, engine: Engine, children: Children) -> None:
        self._engine = engine
        self._children = children
        self._found: dict[Key, str] = {}
        """Of mirrors that are to be looked at still."""

    async def host_name(self, key: Key) -> str:
        """Of the original of that uid; "": there is none without our label. Raises ClusterError."""
        if key not in self._found:
            context = self._engine.context
            await self._engine.limiter.take(2)
            found = await self._engine.host.list(
                key[0], context.host_namespace, label_selector=f"{md.MANAGED_BY}!={context.cluster}"
            )
            names = {obj["metadata"]["uid"]: obj["metadata"]["name"] for obj in found}
            for each in (key, *self._children.all_keys()):
                if each[0] == key[0] and not self._children.host_name(each):
                    self._found[each] = names.get(each[1], "")
        return self._found.pop(key, "")
