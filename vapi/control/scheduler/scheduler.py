"""The controller: places the pods of `default-scheduler` one after the other, by priority and then by age."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.informer import Name
from vapi.control.scheduler.binder import Binder, RegistryBinder
from vapi.gvk import Obj

SCHEDULER_NAME = "default-scheduler"


class Scheduler(Controller[Name]):
    """Keys are pods. `binder`: the registry's if there is none; `serves(node)`: whether pods may go to this Node."""

    name = "scheduler"

    def __init__(
        self,
        context: Context,
        *,
        binder: Binder | None = None,
        serves: Callable[[Obj], bool] = lambda _node: True,
    ) -> None:
        super().__init__(context)
        self._binder = binder or RegistryBinder(context.client)
        self._serves = serves

    def sources(self) -> Sources[Name]:
        return {kinds.PODS: own_name}

    def all_keys(self) -> Iterable[Name]:
        return names(e for e in self.client.entries(kinds.PODS) if not e.fields.get("spec.nodeName"))

    async def reconcile(self, key: Name) -> None:
        """Being written: places nobody yet."""
