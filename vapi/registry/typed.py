"""Nodes: a SchemaType compiled into what field ownership asks of a value: which fields it has, and which differ.

Three questions, each answered by one walk over plain dicts, and each as a FieldSet:

* `added(value)`: a field that was not there before and now holds `value`: every
  leaf and every container on the way (what an update or create owns);
* `applied(value)`: what a server-side apply of `value` owns: leaves, list items
  and map keys, but no container that the schema declares;
* `diff(old, new)`: fields changed or added, and fields removed.

A node is None for a plain scalar: most fields are, and need no call. Types come
from the definitions and do not change; a schema that does (a CRD's) is a new
SchemaType and gets new nodes. Malformed values raise Malformed.
Source: structured-merge-diff v6, typed (compare, tofieldset, deduceAtom).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from vapi import encoding
from vapi.gvk import Obj
from vapi.registry import fieldpath
from vapi.registry.fieldpath import SELF, FieldSet, json_text
from vapi.schema.types import ListType, SchemaType, Shape

Diff: TypeAlias = tuple[FieldSet | None, FieldSet | None]
"""Changed or added, and removed, below one field; `{}` means the field itself, None nothing."""

NOTHING: Diff = (None, None)


class Malformed(ValueError):
    """A value that has not the shape its type says, or a list item without its keys."""


class Node:
    """A leaf: a scalar that JSON does not pin to one type, or an atomic list or map."""

    __slots__ = ("composite", "exact")

    def __init__(self, *, exact: bool, composite: bool) -> None:
        self.exact = exact
        """Python's `==` is enough: no field below may hold a bool in one object and a number in the other."""
        self.composite = composite

    def added(self, value: Any) -> FieldSet:
        return {}

    def applied(self, value: Any) -> FieldSet | None:
        """`{}`: the field itself; None: nothing (an empty list that is not atomic)."""
        return {}

    def diff(self, old: Any, new: Any) -> Diff:
        if old is new or (old == new and (self.exact or same(old, new))):
            return NOTHING
        return {}, None

    def child(self, element: str) -> tuple[Node | None, bool]:
        """The node below a path element, and whether it is a field that the schema declares."""
        return None, False


class MapNode(Node):
    """A struct (declared fields) or a map (any key), or both."""

    __slots__ = ("fields",)

    def __init__(self, schema: SchemaType, *, exact: bool) -> None:
        super().__init__(exact=exact, composite=True)
        self.fields = _Fields(schema)

    def added(self, value: Any) -> FieldSet:
        if not value:
            return {}
        found: FieldSet = {SELF: {}}
        fields = self.fields
        for key, item in value.items():
            element, node, _ = fields[key]
            found[element] = {} if node is None else node.added(item)
        return found

    def _below(self, value: Mapping[str, Any]) -> FieldSet:
        found = self.added(value)
        found.pop(SELF, None)
        return found

    def applied(self, value: Any) -> FieldSet | None:
        if not value:
            return {}
        found: FieldSet = {}
        fields = self.fields
        for key, item in value.items():
            element, node, declared = fields[key]
            inner = {} if node is None or item is None else node.applied(item)
            if not declared and inner != {}:
                inner = {SELF: {}, **inner} if inner else {}
            if inner is not None:
                found[element] = inner
        return found or None

    def diff(self, old: Any, new: Any) -> Diff:
        if not old or not new:
            if not old and not new:
                return ({}, None) if (old is None) != (new is None) else NOTHING
            return (None, self._below(old)) if old else (self._below(new), None)
        changed: FieldSet = {}
        removed: FieldSet = {}
        fields = self.fields
        for key, value in new.items():
            if key not in old:
                element, node, _ = fields[key]
                changed[element] = {} if node is None else node.added(value)
                continue
            before = old[key]
            if before is value:
                continue
            element, node, _ = fields[key]
            if node is None:
                if before != value:
                    changed[element] = {}
            elif not node.exact or before != value:
                gain, loss = node.diff(before, value)
                if gain is not None:
                    changed[element] = gain
                if loss is not None:
                    removed[element] = loss
        # the usual update removes nothing: then every old key was met above
        if len(old) != len(new) or any(key not in new for key in old):
            for key, value in old.items():
                if key not in new:
                    element, node, _ = fields[key]
                    removed[element] = {} if node is None else node.added(value)
        return changed or None, removed or None

    def child(self, element: str) -> tuple[Node | None, bool]:
        if element[0] != "f":
            return None, False
        _, node, declared = self.fields[element[2:]]
        return node, declared


class ListNode(Node):
    """A list whose items have an identity: a set of scalars, or maps with key fields."""

    __slots__ = ("element",)

    def __init__(self, schema: SchemaType, *, exact: bool) -> None:
        super().__init__(exact=exact, composite=True)
        self.element = node_for(schema.element) if schema.element else ANY_NODE

    def key(self, item: Any) -> str:
        """The path element of an item. Raises Malformed."""
        raise NotImplementedError

    def added(self, value: Any) -> FieldSet:
        if not value:
            return {}
        found: FieldSet = {SELF: {}}
        self._add_items(found, value)
        return found

    def _add_items(self, found: FieldSet, items: list[Any]) -> None:
        node, before = self.element, len(found)
        for item in items:
            found[self.key(item)] = {} if node is None else node.added(item)
        if len(found) - before != len(items):
            for key in self.duplicates(items):
                found[key] = {}  # an item that is there twice is owned as a whole

    def duplicates(self, items: list[Any]) -> set[str]:
        return {key for key, count in Counter(map(self.key, items)).items() if count > 1}

    def applied(self, value: Any) -> FieldSet | None:
        found: FieldSet = {}
        node = self.element
        for item in value:
            inner = None if node is None else node.applied(item)
            found[self.key(item)] = {SELF: {}, **inner} if inner else {}
        if len(found) != len(value):
            for key in self.duplicates(value):
                found[key] = {}
        return found or None

    def diff(self, old: Any, new: Any) -> Diff:
        if not old or not new:
            if not old and not new:
                return ({}, None) if (old is None) != (new is None) else NOTHING
            below: FieldSet = {}
            self._add_items(below, old or new)
            return (None, below) if old else (below, None)
        key, node = self.key, self.element
        olds, news = {key(item): item for item in old}, {key(item): item for item in new}
        if len(olds) != len(old) or len(news) != len(new):
            return self._diff_with_duplicates(old, new)
        changed: FieldSet = {}
        removed: FieldSet = {}
        for element, item in news.items():
            if element not in olds:
                changed[element] = {} if node is None else node.added(item)
            elif node is not None:
                gain, loss = node.diff(olds[element], item)
                if gain is not None:
                    changed[element] = gain
                if loss is not None:
                    removed[element] = loss
        for element, item in olds.items():
            if element not in news:
                removed[element] = {} if node is None else node.added(item)
        return changed or None, removed or None

    def _diff_with_duplicates(self, old: list[Any], new: list[Any]) -> Diff:
        """Items that share a key are one atomic value. Source: compareWalker.visitListItems."""
        changed: FieldSet = {}
        removed: FieldSet = {}
        olds, news = self._grouped(old), self._grouped(new)
        for element in olds | news:
            before, after = olds.get(element, []), news.get(element, [])
            if len(before) <= 1 and len(after) <= 1:
                gain, loss = self._diff_item(before, after)
            elif len(before) > 1 and len(after) > 1:
                gain, loss = (None if same(before, after) else {}), None
            elif len(before) > 1:
                gain, loss = self._diff_item([], after)[0], {}
            else:
                gain, loss = {}, self._diff_item(before, [])[1]
            if gain is not None:
                changed[element] = gain
            if loss is not None:
                removed[element] = loss
        return changed or None, removed or None

    def _grouped(self, items: list[Any]) -> dict[str, list[Any]]:
        grouped: dict[str, list[Any]] = {}
        for item in items:
            grouped.setdefault(self.key(item), []).append(item)
        return grouped

    def _diff_item(self, before: list[Any], after: list[Any]) -> Diff:
        node = self.element
        if before and after:
            return NOTHING if node is None else node.diff(before[0], after[0])
        if after:
            return ({} if node is None else node.added(after[0])), None
        if before:
            return None, ({} if node is None else node.added(before[0]))
        return NOTHING

    def child(self, element: str) -> tuple[Node | None, bool]:
        return (self.element, False) if element[0] == "k" else (None, False)


class SetNode(ListNode):
    __slots__ = ()

    def key(self, item: Any) -> str:
        if isinstance(item, str):
            return "v:" + json_text(item)
        if item is None:
            raise Malformed("associative list without keys has an element that's an explicit null")
        if isinstance(item, dict):
            raise Malformed("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise Malformed("not supported: associative list with lists as elements")
        return fieldpath.value_element(item)


class KeyedNode(ListNode):
    __slots__ = ("keys", "names")

    def __init__(self, schema: SchemaType, *, exact: bool) -> None:
        super().__init__(schema, exact=exact)
        self.names = schema.list_map_keys
        defaults = schema.key_defaults
        self.keys = tuple((name, f"{json_text(name)}:", defaults.get(name)) for name in sorted(self.names))

    def key(self, item: Any) -> str:
        if not isinstance(item, dict):
            what = "a null element" if item is None else "non-map elements"
            raise Malformed(f"associative list with keys may not have {what}")
        parts = []
        for name, prefix, default in self.keys:
            value = item.get(name, default)
            if value.__class__ is str:
                parts.append(prefix + json_text(value))
            elif value is not None or name in item:
                parts.append(prefix + fieldpath.json_scalar(value))
        if not parts:
            raise Malformed(
                f"associative list with keys has an element that omits all key fields "
                f"[{' '.join(map(json_text, self.names))}] "
                "(and doesn't have default values for any key fields)"
            )
        return "k:{" + ",".join(parts) + "}"


class AnyNode(Node):
    """No schema: types are deduced from the value. Maps are granular, lists atomic."""

    __slots__ = ()

    def added(self, value: Any) -> FieldSet:
        if not value or not isinstance(value, dict):
            return {}
        found: FieldSet = {SELF: {}}
        for key, item in value.items():
            found[f"f:{key}"] = self.added(item)
        return found

    def applied(self, value: Any) -> FieldSet | None:
        found = self.added(value)
        found.pop(SELF, None)
        return found

    def diff(self, old: Any, new: Any) -> Diff:
        before, after = isinstance(old, dict), isinstance(new, dict)
        if not ((before and old) or (after and new)):
            return super().diff(old, new)
        if before and after:
            return self._diff_maps(old, new)
        # one is a map with fields, the other a scalar, a list or null
        map_like = old is None or new is None
        gone = self.applied(old) if before else None
        come = self.applied(new) if after else None
        if map_like:
            return come or None, gone or None
        return ({SELF: {}, **come} if come else {}), gone or None

    def _diff_maps(self, old: Obj, new: Obj) -> Diff:
        changed: FieldSet = {}
        removed: FieldSet = {}
        for key, value in new.items():
            if key not in old:
                changed[f"f:{key}"] = self.added(value)
                continue
            gain, loss = self.diff(old[key], value)
            if gain is not None:
                changed[f"f:{key}"] = gain
            if loss is not None:
                removed[f"f:{key}"] = loss
        for key, value in old.items():
            if key not in new:
                removed[f"f:{key}"] = self.added(value)
        return changed or None, removed or None

    def child(self, element: str) -> tuple[Node | None, bool]:
        return (self, False) if element[0] == "f" else (None, False)


ANY_NODE = AnyNode(exact=False, composite=False)
_UNTYPED_SCALAR = Node(exact=False, composite=False)


class _Fields(dict[str, tuple[str, Node | None, bool]]):
    """Field name → (path element, node, declared). A declared field is kept once met, others (labels) never."""

    __slots__ = ("_schema", "_undeclared")

    def __init__(self, schema: SchemaType) -> None:
        super().__init__()
        self._schema = schema
        self._undeclared: Node | bool | None = False  # False: not yet looked up (types may refer to themselves)

    def __missing__(self, key: str) -> tuple[str, Node | None, bool]:
        declared = self._schema.fields.get(key)
        if declared is not None:
            made = self[key] = (f"f:{key}", node_for(declared), True)
            return made
        if self._undeclared is False:
            element = self._schema.element
            # a field that the schema does not know has been pruned or refused before; if not, deduce
            self._undeclared = node_for(element) if element is not None else ANY_NODE
        node = self._undeclared
        return f"f:{key}", None if node is None or isinstance(node, bool) else node, False


_PLAIN_SCALARS = frozenset(("string", "integer", "number", "boolean"))


@lru_cache(maxsize=16384)
def node_for(schema: SchemaType) -> Node | None:
    """The node of a type; None for a scalar of one JSON type. Bounded: all of Kubernetes has about 4,000."""
    match schema.shape:
        case Shape.SCALAR:
            return None if schema.json_type in _PLAIN_SCALARS else _UNTYPED_SCALAR
        case Shape.ANY:
            return ANY_NODE
    exact = not _holds_any(schema, set())
    if schema.atomic:
        return Node(exact=exact, composite=True)
    if schema.shape is not Shape.LIST:
        return MapNode(schema, exact=exact)
    match schema.list_type:
        case ListType.ATOMIC:
            return Node(exact=exact, composite=True)
        case ListType.SET:
            return SetNode(schema, exact=exact)
        case ListType.MAP:
            return KeyedNode(schema, exact=exact)


def _holds_any(schema: SchemaType, seen: set[int]) -> bool:
    """Whether some field below may change between true and 1 without changing under `==`."""
    if id(schema) in seen or schema.name.endswith(".FieldsV1"):
        return False  # managedFields are never compared
    seen.add(id(schema))
    if schema.shape is Shape.ANY:
        return True
    below = [*schema.fields.values(), *((schema.element,) if schema.element else ())]
    return any(_holds_any(child, seen) for child in below)


def same(left: Any, right: Any) -> bool:
    """JSON equality: as `==`, but true is not 1. Source: value.Equals (1 equals 1.0)."""
    if left is right:
        return True
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and len(left) == len(right)
            and all(key in right and same(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


# --- whole objects -------------------------------------------------------------------------------


def compare(old: Obj, new: Obj, schema: SchemaType) -> tuple[FieldSet, FieldSet]:
    """(changed or added, removed) fields. Raises Malformed."""
    try:
        changed, removed = root(schema).diff(old, new)
    except (AttributeError, TypeError, RecursionError) as error:
        # a scalar where the type has a map or list, or a thousand levels: too rare to look for on the hot path
        raise Malformed(str(error)) from error
    return changed or {}, removed or {}


MOST_KNOWN_BYTES = 8 << 10


def added(zero: Obj, new: Obj, schema: SchemaType) -> tuple[FieldSet, FieldSet]:
    """As `compare` of a kind's zero object with a new one; specs of one template are walked once. Raises Malformed."""
    spec, node = new.get("spec"), root(schema)
    if not spec or not isinstance(node, MapNode) or "spec" not in schema.fields:
        return compare(zero, new, schema)
    below = node.fields["spec"][1]
    try:
        text = encoding.dumps(spec)
        if below is None or len(text) > MOST_KNOWN_BYTES:
            return compare(zero, new, schema)
        gain, loss = _spec_diff(below, encoding.dumps(zero.get("spec")), text)
    except (AttributeError, TypeError, RecursionError):
        return compare(zero, new, schema)
    changed, removed = compare(
        {key: value for key, value in zero.items() if key != "spec"},
        {key: value for key, value in new.items() if key != "spec"},
        schema,
    )
    if gain is not None:
        changed["f:spec"] = gain
    if loss is not None:
        removed["f:spec"] = loss
    return changed, removed


@lru_cache(maxsize=256)
def _spec_diff(node: Node, zero: bytes, spec: bytes) -> Diff:
    """Sets are values, so whoever asks may have the same. Bounded: a large Pod's is about 20 KB."""
    return node.diff(encoding.loads(zero), encoding.loads(spec))


def applied(config: Obj, schema: SchemaType) -> FieldSet:
    """What applying `config` owns, nothing stripped. Raises Malformed."""
    try:
        return root(schema).applied(config) or {}
    except (AttributeError, TypeError, RecursionError) as error:
        raise Malformed(str(error)) from error


def root(schema: SchemaType) -> Node:
    return node_for(schema) or ANY_NODE
