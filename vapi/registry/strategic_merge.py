"""Strategic merge patch: kubectl's default patch, which merges lists by key as the schema says. Pure.

Directives: `$patch: replace|delete` in a map or list item,
`$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`, `$retainKeys`.
null deletes a key. Lists without `merge` strategy are replaced. Items that only
the live list has keep their place among their live neighbours.
Errors carry upstream's words and codes; most are a 500 without reason there, too.
Source: apimachinery util/strategicpatch (StrategicMergeMapPatch), util/mergepatch.
"""

from __future__ import annotations

from typing import Any

from vapi import errors
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry import gotext
from vapi.registry.typed import same
from vapi.schema.types import SchemaType, Shape

PATCH = "$patch"
DELETE, REPLACE, MERGE = "delete", "replace", "merge"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList"
SET_ORDER = "$setElementOrder"

REJECTED = "the server rejected our request due to an error in our request"


def strategic_merge(live: Obj, patch: Any, schema: SchemaType) -> Obj:
    """`live` with `patch` merged in; the answer shares unchanged parts with both. Raises ApiError."""
    if patch is None:
        return live
    if not isinstance(patch, dict):
        raise errors.bad_request(
            f"json: cannot unmarshal {gotext.json_kind(patch)} into Go value of type map[string]interface {{}}"
        )
    return _merge_map(live, patch, schema)


# --- errors --------------------------------------------------------------------------------------


def _failed(text: str) -> ApiError:
    return errors.bare_error(500, text)


def rejected() -> ApiError:
    """422 with empty details: how a GenericServerResponse of that code looks."""
    return ApiError(422, "Invalid", REJECTED, {})


def _no_merge_key(item: Any, key: str) -> ApiError:
    return _failed(f"map: {gotext.text(item)} does not contain declared merge key: {key}")


def _bad_type(directive: Any, patch: Any) -> ApiError:
    return _failed(f"unknown patch type: {gotext.as_string(directive)} in map: {gotext.text(patch)}")


def _bad_argument(expected: Any, actual: Any) -> ApiError:
    return _failed(f"expected a {gotext.type_name(expected)}, but received a {gotext.type_name(actual)}")


# --- schema --------------------------------------------------------------------------------------


def _field(schema: SchemaType | None, key: str) -> SchemaType | None:
    """The type of a field of a map or struct; None below what has no schema. Raises ApiError for unknown fields."""
    if schema is None or schema.shape is Shape.ANY:
        return None
    found = schema.fields.get(key) or schema.element
    if found is None and schema.shape is Shape.STRUCT:
        name = schema.name.rpartition(".")[2]
        raise _failed(f'unable to find api field in struct {name} for the json field "{key}"')
    return found


def _strategy(schema: SchemaType | None) -> str:
    """merge, replace or "" (`retainKeys` is only for whoever makes the patch)."""
    strategies = schema.patch_strategy - {"retainKeys"} if schema is not None else ()
    return next(iter(strategies), "")


# --- maps ----------------------------------------------------------------------------------------


def _merge_map(live: Obj, patch: Obj, schema: SchemaType | None) -> Obj:
    if PATCH in patch:
        return _replaced_map(patch)
    merged = _retained(live, patch)
    done = _merge_ordered_lists(merged, patch, schema)
    for key, value in patch.items():
        if key in done or key == RETAIN_KEYS:
            continue
        if key.startswith(DELETE_FROM):
            _delete_from_list(merged, _directive_field(key, DELETE_FROM), value, schema)
        else:
            _merge_key(merged, key, value, schema)
    return merged


def _replaced_map(patch: Obj) -> Obj:
    directive = patch[PATCH]
    if directive == REPLACE:
        return {key: value for key, value in patch.items() if key != PATCH}
    if directive == DELETE:
        return {}
    raise _bad_type(directive, patch)


def _merge_key(merged: Obj, key: str, value: Any, schema: SchemaType | None) -> None:
    if value is None:
        merged.pop(key, None)
        return
    if key in merged and type(merged[key]) is type(value):
        if isinstance(value, dict):
            field = _field(schema, key)
            merged[key] = value if _strategy(field) == REPLACE else _merge_map(merged[key], value, field)
            return
        if isinstance(value, list):
            field = _field(schema, key)
            merged[key] = _merge_list(merged[key], value, field) if _strategy(field) == MERGE else value
            return
        merged[key] = value
        return
    value = _without_nulls(value)
    if isinstance(value, dict) and PATCH in value:
        merged.pop(key, None)
    else:
        merged[key] = _without_directives(value)


def _retained(live: Obj, patch: Obj) -> Obj:
    """A copy of `live`, with only the keys that `$retainKeys` lists, if the patch has that directive."""
    if RETAIN_KEYS not in patch:
        return dict(live)
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list):
        raise errors.bad_request("invalid patch format of retainKeys")
    for key, value in patch.items():
        directive = key == RETAIN_KEYS or key.startswith((DELETE_FROM, SET_ORDER))
        if value is not None and not directive and key not in keys:
            raise errors.bad_request("invalid patch format of retainKeys")
    return {key: value for key, value in live.items() if key in keys}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> Any:
    """Without maps that hold `$patch`, at any depth."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not (isinstance(item, dict) and PATCH in item)}
        return {key: _without_directives(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_directives(item) for item in value if not (isinstance(item, dict) and PATCH in item)]
    return value


def _directive_field(key: str, prefix: str) -> str:
    """The field in `$setElementOrder/<field>`. Raises ApiError."""
    directive, slash, field = key.partition("/")
    if not slash or directive != prefix:
        what = "primitive list" if prefix == DELETE_FROM else "setElementOrder list"
        raise errors.bad_request(f"invalid patch format of {what}")
    return field


# --- lists ---------------------------------------------------------------------------------------


def _delete_from_list(merged: Obj, key: str, gone: Any, schema: SchemaType | None) -> None:
    live = merged.get(key)
    if gone is None:
        merged.pop(key, None)
    if not isinstance(live, list) or not isinstance(gone, list):
        return
    if not live and not gone:
        return
    if _element_type(live, gone) is dict:
        merged[key] = _merge_list(live, gone, _field(schema, key))
    else:
        merged[key] = [item for item in live if not _holds(gone, item)]


def _merge_list(live: list[Any], patch: list[Any], schema: SchemaType | None) -> list[Any]:
    """A list with merge strategy: by key if its items are maps, else as a set."""
    if not live and not patch:
        return live
    if _element_type(live, patch) is not dict:
        merged = _deduplicated([*live, *patch])
        return _ordered(merged, patch, live, "")
    key = schema.patch_merge_key if schema is not None else ""
    if not key:
        raise _failed("cannot merge lists without merge key for struct")
    live, patch = _apply_list_directives(live, patch, key)
    merged = _merge_items(live, patch, key, schema)
    return _ordered(merged, patch, live, key)


def _apply_list_directives(live: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """(live items left, plain items of the patch) after `$patch` items. A replace leaves only the patch's, as live."""
    plain, replace = [], False
    for item in patch:
        if PATCH not in item:
            plain.append(item)
        elif item[PATCH] == DELETE:
            if key not in item:
                raise _no_merge_key(item, key)
            live = [old for old in live if key not in old or not same(old[key], item[key])]
        elif item[PATCH] == REPLACE:
            replace = True
        elif item[PATCH] == MERGE:
            raise _failed("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_type(item[PATCH], item)
    return (plain, []) if replace else (live, plain)


def _merge_items(live: list[Any], patch: list[Any], key: str, schema: SchemaType | None) -> list[Any]:
    merged = list(live)
    element = schema.element if schema is not None else None
    for item in patch:
        if key not in item:
            raise _no_merge_key(item, key)
        index = _find(merged, item[key], key)
        if index < 0:
            merged.append(item)
        else:
            merged[index] = _merge_map(merged[index], item, element)
    return merged


def _merge_ordered_lists(merged: Obj, patch: Obj, schema: SchemaType | None) -> set[str]:
    """Merge the lists that have `$setElementOrder`, into `merged`; returns the patch's keys dealt with."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith(SET_ORDER):
            continue
        done.add(directive)
        if not isinstance(order, list):
            raise _bad_argument([], order)
        key = _directive_field(directive, SET_ORDER)
        live, sent = merged.get(key), patch.get(key)
        for value, present in ((live, key in merged), (sent, key in patch)):
            if present and not isinstance(value, list):
                raise _bad_argument([], value)
        field = _field(schema, key)
        merge_key = field.patch_merge_key if field is not None else ""
        _check_order(sent or [], order, merge_key)
        before = live or []
        if key in merged and key in patch:
            both = sent or []
            if _strategy(field) == MERGE:
                both = _merge_list(before, both, field)
                before = _order_left_behind(before, sent or [], merge_key)
        elif key in merged:
            both = live or []
        elif key in patch:
            both = _without_directives(sent)
        else:
            continue
        _element_type(live or [], sent or [])
        merged[key] = _ordered(both, order, before, merge_key)
        done.add(key)
    return done


def _order_left_behind(live: list[Any], patch: list[Any], key: str) -> list[Any]:
    """The live order as upstream sees it after the merge, which works in the live list's own memory.

    A deleted item leaves its place to those behind it, and new items go into
    the places so freed: a live-only item may then stand before a new one
    (recorded from a real server; only when one patch deletes and adds).
    """
    if not key:
        return live
    slots, length = list(live), len(live)
    for item in patch:
        if item.get(PATCH) == DELETE:
            while (index := _find(slots[:length], item[key], key)) >= 0:
                slots[index : length - 1] = slots[index + 1 : length]
                length -= 1
        elif PATCH in item:
            return slots  # a replace: what is new goes elsewhere
    for item in patch:
        if PATCH in item or _find(slots[:length], item[key], key) >= 0:
            continue
        if length == len(slots):
            break  # no room left: upstream moves to new memory
        slots[length] = item
        length += 1
    return slots


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """The items of the patch must stand in `order`, in that order; deletions do not count."""
    if not patch or not order:
        return
    items = [item for item in patch if not (isinstance(item, dict) and PATCH in item)] if key else patch
    at = 0
    for wanted in order:
        if at == len(items):
            return
        if _equal_key(items[at], wanted, key):
            at += 1
    if at < len(items):
        raise _failed(
            f"The order in patch list:\n{gotext.text(patch)}\n doesn't match {SET_ORDER} list:\n{gotext.text(order)}\n"
        )


def _equal_key(left: Any, right: Any, key: str) -> bool:
    if not key:
        return same(left, right)
    for item in (left, right):
        if not isinstance(item, dict):
            raise _bad_argument({}, item)
        if key not in item:
            raise _no_merge_key(item, key)
    return same(left[key], right[key])


def _element_type(*lists: list[Any]) -> type:
    """The one JSON type of all items. Raises ApiError if there are several, lists, or no items."""
    types = {type(item) for items in lists for item in items}
    if list in types:
        raise rejected()  # lists of lists are not supported
    if not types:
        raise _failed("no elements in any of the given slices")
    if len(types) > 1:
        raise _failed(f"list element types are not identical: {gotext.text(list(lists))}")
    return types.pop()


# --- order ---------------------------------------------------------------------------------------


def _ordered(items: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """Items of `order` in its order, the others among them where live had them. Source: normalizeElementOrder."""
    if key:
        for item in (*items, *order, *live):
            if not isinstance(item, dict):
                raise _bad_argument({}, item)
            if key not in item:
                raise _no_merge_key(item, key)
    wanted = _Positions(order, key)
    before = _Positions(live, key)
    ours = sorted((item for item in items if wanted.of(item) >= 0), key=wanted.of)
    others = sorted((item for item in items if wanted.of(item) < 0), key=before.of)
    merged: list[Any] = []
    at = 0
    for item in ours:
        place = before.of(item)
        while at < len(others) and 0 <= before.of(others[at]) < place:
            merged.append(others[at])
            at += 1
        merged.append(item)
    return merged + others[at:]


class _Positions:
    """Where an item (its key) first stands in a list; -1: nowhere."""

    def __init__(self, items: list[Any], key: str) -> None:
        self._key = key
        self._places: dict[tuple[type, Any], int] = {}
        for index, item in enumerate(items):
            self._places.setdefault(self._identity(item), index)

    def of(self, item: Any) -> int:
        return self._places.get(self._identity(item), -1)

    def _identity(self, item: Any) -> tuple[type, Any]:
        value = item[self._key] if self._key else item
        if isinstance(value, dict | list):
            value = gotext.text(value)  # not a key at all; Go would panic
        return type(value), value


def _find(items: list[Any], value: Any, key: str) -> int:
    return next((i for i, item in enumerate(items) if key in item and same(item[key], value)), -1)


def _holds(items: list[Any], value: Any) -> bool:
    return any(same(item, value) for item in items)


def _deduplicated(items: list[Any]) -> list[Any]:
    seen: set[tuple[type, Any]] = set()
    kept = []
    for item in items:
        identity = (type(item), item)
        if identity not in seen:
            seen.add(identity)
            kept.append(item)
    return kept
