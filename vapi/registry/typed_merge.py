"""What server-side apply does to values by schema: check a configuration, merge it in, take fields out.

All functions are pure; results share unchanged parts with their arguments.
Source: structured-merge-diff v6, typed (merge, remove, validate, reconcile_schema).
"""

from __future__ import annotations

from typing import Any

from vapi.registry import fieldpath, gotext
from vapi.registry.fieldpath import SELF, FieldSet, is_member
from vapi.registry.typed import AnyNode, ListNode, Malformed, MapNode, Node, node_for
from vapi.schema.types import ListType, SchemaType, Shape

# --- merge ---------------------------------------------------------------------------------------


def merge(node: Node | None, live: Any, config: Any) -> Any:
    """`config` over `live`, both present: nothing is removed, leaves take config's value.

    null where the schema has a map or a list with keys leaves live's items
    alone. Raises Malformed.
    """
    if isinstance(node, AnyNode):
        if isinstance(live, dict) and live and (config is None or isinstance(config, dict)):
            return _merge_maps(node, live, config)
        return config
    if isinstance(node, MapNode):
        return _merge_maps(node, live, config)
    if isinstance(node, ListNode):
        return _merge_lists(node, live, config)
    return config


def _merge_maps(node: Node, live: Any, config: Any) -> Any:
    if not config:
        return live or config
    if not live:
        return config
    merged = dict(live)
    for key, value in config.items():
        merged[key] = merge(node.child(f"f:{key}")[0], live[key], value) if key in live else value
    return merged


def _merge_lists(node: ListNode, live: Any, config: Any) -> Any:
    if not config:
        return live or config
    if not live:
        return config
    keys = [node.key(item) for item in live]
    lives: dict[str, Any] = {}
    for key, item in zip(keys, live, strict=True):
        lives[key] = None if key in lives else item  # twice there: not merged, replaced
    configs = {node.key(item): item for item in config}

    def merged(key: str) -> Any:
        before = lives.get(key)
        return configs[key] if before is None else merge(node.element, before, configs[key])

    out: list[Any] = []
    for index, key in _interleaved(keys, list(configs)):
        out.append(merged(key) if index is None else live[index])
    return out


def _interleaved(lives: list[str], configs: list[str]) -> list[tuple[int | None, str]]:
    """The order of a merged list: config's for its own items, live's for the rest.

    Live-only items come before the next shared item that follows them in live,
    if config's order allows it. An index means "take live's item as it is", None
    "take config's, merged". Source: mergingWalker.visitListItems.
    """
    shared_live, wanted = set(lives), set(configs)
    shared = [key for key in configs if key in shared_live]
    taken: set[str] = set()
    order: list[tuple[int | None, str]] = []
    at_live = at_config = at_shared = 0
    while at_live < len(lives) or at_config < len(configs):
        next_shared = shared[at_shared] if at_shared < len(shared) else None
        if at_live < len(lives) and at_config < len(configs):
            key = lives[at_live]
            if key == configs[at_config]:
                order.append((None, key))
                taken.add(key)
                at_live, at_config, at_shared = at_live + 1, at_config + 1, at_shared + 1
                continue
            if key in wanted and next_shared is not None and next_shared != key:
                at_live += 1  # shared, but its turn comes later or has been
                continue
        if at_live < len(lives):
            key = lives[at_live]
            if key not in wanted:
                order.append((at_live, key))
                at_live += 1
                continue
            if key in taken:
                at_live += 1
        if at_config < len(configs):
            key = configs[at_config]
            order.append((None, key))
            taken.add(key)
            at_config += 1
            if key == next_shared:
                at_shared += 1
    return order


# --- remove --------------------------------------------------------------------------------------


class _Emptied(dict[str, Any]):
    """What is left of a map or list whose last field was removed: null to whoever compares it. Never filled."""


EMPTIED = _Emptied()


def remove(node: Node | None, value: Any, fields: FieldSet, *, emptied: Any = None) -> Any:
    """`value` without the fields, items and keys that are members of `fields`; `emptied` if nothing is left of it."""
    if isinstance(node, ListNode):
        return _remove_items(node, value, fields, emptied)
    if isinstance(node, MapNode) or (isinstance(node, AnyNode) and isinstance(value, dict)):
        return _remove_keys(node, value, fields, emptied)
    return emptied if node is not None and isinstance(value, list | dict) else value  # atomic: as a whole


def _remove_keys(node: Node, value: Any, fields: FieldSet, emptied: Any) -> Any:
    if not value:
        return emptied
    kept: dict[str, Any] = {}
    for key, item in value.items():
        element = f"f:{key}"
        below = fields.get(element)
        if below is None:
            kept[key] = item
        elif not is_member(below):
            kept[key] = remove(node.child(element)[0], item, below, emptied=emptied)
    return kept or emptied


def _remove_items(node: ListNode, value: Any, fields: FieldSet, emptied: Any) -> Any:
    if not value:
        return emptied
    kept = []
    for item in value:
        below = fields.get(node.key(item))
        if below is None:
            kept.append(item)
        elif not is_member(below):
            kept.append(remove(node.element, item, below, emptied=emptied) or {})
    return kept or emptied


def without_emptied(value: Any) -> Any:
    """`value` without what `remove` left `EMPTIED` in it. Upstream leaves null, which decoding into Go types drops."""
    if isinstance(value, dict):
        return {key: without_emptied(item) for key, item in value.items() if item is not EMPTIED}
    return [without_emptied(item) for item in value] if isinstance(value, list) else value


# --- sets under a schema -------------------------------------------------------------------------


def with_named_fields(node: Node | None, fields: FieldSet) -> FieldSet:
    """`fields` and every field declared in the schema on the way to them. Source: EnsureNamedFieldsAreMembers."""
    ensured: FieldSet = {}
    for element, below in fields.items():
        if not below:
            ensured[element] = below
            continue
        child, declared = node.child(element) if node is not None else (None, False)
        inner = with_named_fields(child, below)
        if declared and SELF not in inner:
            inner = {SELF: {}, **inner}
        ensured[element] = inner
    return ensured


def reconcile(node: Node | None, fields: FieldSet) -> FieldSet:
    """`fields` for the present schema: what became atomic since they were written is owned as a whole.

    Returns `fields` itself if nothing changes.
    """
    rest = fields
    for element, below in fields.items():
        if not below or node is None:
            continue
        child, _ = node.child(element)
        if child is None:
            continue
        atomic = child.composite and not isinstance(child, MapNode | ListNode)
        fixed: FieldSet = {} if atomic else reconcile(child, below)
        if fixed is not below:
            if rest is fields:
                rest = dict(fields)
            rest[element] = fixed
    return rest


# --- validation ----------------------------------------------------------------------------------


def validation_error(config: Any, schema: SchemaType) -> str:
    """What is wrong with an applied configuration, in the words of kube-apiserver; "" if nothing.

    Source: typed.AsTyped; ValidationErrors.Error.
    """
    found = _validate(config, schema, "")
    lines = [f"{path}: {text}" if path else text for path, text in found]
    return lines[0] if len(lines) == 1 else "\n".join(["errors:", *(f"  {line}" for line in lines)]) if lines else ""


def _validate(value: Any, schema: SchemaType, path: str) -> list[tuple[str, str]]:
    if value is None:
        return []
    match schema.shape:
        case Shape.SCALAR:
            text = _scalar_error(value, schema.json_type)
            return [(path, text)] if text else []
        case Shape.LIST:
            return _validate_list(value, schema, path)
        case Shape.MAP | Shape.STRUCT:
            return _validate_map(value, schema, path)
        case Shape.ANY:
            return []


def _validate_map(value: Any, schema: SchemaType, path: str) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(path, f"expected map, got &{{{gotext.text(value)}}}")]
    found: list[tuple[str, str]] = []
    for key, item in value.items():
        child = schema.fields.get(key) or schema.element
        if child is None:
            found.append((f"{path}.{key}", "field not declared in schema"))
            return found
        found += _validate(item, child, f"{path}.{key}")
    return found


def _validate_list(value: Any, schema: SchemaType, path: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        return [(path, f"expected list, got &{{{gotext.text(value)}}}")]
    node = node_for(schema) if schema.list_type is not ListType.ATOMIC else None
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        where = f"[{index}]"
        if isinstance(node, ListNode):
            try:
                key = node.key(item)
            except Malformed as error:
                found.append((path, f"element {index}: {error}"))
                return found
            where = fieldpath.describe((key,))
            if key in seen:
                found.append((path, f"duplicate entries for key {where}"))
            seen.add(key)
        if schema.element is not None:
            found += _validate(item, schema.element, path + where)
    return found


def _scalar_error(value: Any, json_type: str) -> str:
    if json_type == "string":
        is_text = isinstance(value, str)
        return "" if is_text else f"expected string, got &value.valueUnstructured{{Value:{gotext.syntax(value)}}}"
    if json_type == "boolean":
        return "" if isinstance(value, bool) else f"expected boolean, got &{{{gotext.text(value)}}}"
    if json_type in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if is_number else f"expected numeric (int or float), got {gotext.type_name(value)}"
    return "" if isinstance(value, str | int | float) else f"expected any scalar, got &{{{gotext.text(value)}}}"
