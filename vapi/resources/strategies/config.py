"""ConfigMaps and Secrets: keys, sizes, types, and what stays when they are immutable.

Source: pkg/apis/core/validation, pkg/registry/core/{configmap,secret} (1.37).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache

from vapi.errors import Cause, field_forbidden, field_invalid, field_required, field_too_long
from vapi.gvk import Obj
from vapi.resources.strategies import checks, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import WriteContext
from vapi.schema import godecode, jsontext

MAX_BYTES = 1 << 20
SERVICE_ACCOUNT = "kubernetes.io/service-account.name"
_STAYS = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"

_key_problem = lru_cache(maxsize=4096)(values.config_key)


def decoded_length(text: str) -> int:
    """Bytes that a canonical base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def _keys(causes: Causes, path: str, found: Mapping[str, str]) -> None:
    for key in found:
        if problem := _key_problem(key):
            causes.append(field_invalid(f"{path}[{key}]", key, problem))


def validate_config_map(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    _keys(causes, "data", data)
    causes.extend(
        field_invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary
    )
    _keys(causes, "binaryData", binary)
    size = sum(map(_utf8_length, data.values())) + sum(map(decoded_length, binary.values()))
    if size > MAX_BYTES:
        causes.append(field_too_long("[]", MAX_BYTES))
    return causes


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def validate_config_map_update(new: Obj, old: Obj) -> Sequence[Cause]:
    return _frozen(new, old, ("data", "binaryData"))


def _frozen(new: Obj, old: Obj, fields: Sequence[str]) -> list[Cause]:
    if not old.get("immutable"):
        return []
    causes = [] if new.get("immutable") else [field_forbidden("immutable", _STAYS)]
    changed = [name for name in fields if (new.get(name) or {}) != (old.get(name) or {})]
    return causes + [field_forbidden(name, _STAYS) for name in changed]


# --- Secrets --------------------------------------------------------------------------------------


def prepare_secret_update(new: Obj, old: Obj, _context: WriteContext) -> None:
    if not new.get("type"):
        new["type"] = old.get("type", "Opaque")


def validate_secret(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    data = obj.get("data") or {}
    _keys(causes, "data", data)
    if sum(map(decoded_length, data.values())) > MAX_BYTES:
        causes.append(field_too_long("data", MAX_BYTES))
    match obj.get("type", ""):
        case "kubernetes.io/service-account-token":
            if not (obj["metadata"].get("annotations") or {}).get(SERVICE_ACCOUNT):
                causes.append(field_required(f"metadata.annotations[{SERVICE_ACCOUNT}]"))
        case "kubernetes.io/dockercfg":
            _json(causes, data, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            _json(causes, data, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                causes += [field_required("data[username]"), field_required("data[password]")]
        case "kubernetes.io/ssh-auth":
            checks.required(causes, "data[ssh-privatekey]", data.get("ssh-privatekey"))
        case "kubernetes.io/tls":
            causes += [field_required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return causes


def _json(causes: Causes, data: Mapping[str, str], key: str) -> None:
    if key not in data:
        causes.append(field_required(f"data[{key}]"))
        return
    try:
        value = jsontext.parse(base64.b64decode(data[key]))
    except jsontext.JsonSyntaxError as error:
        causes.append(field_invalid(f"data[{key}]", _REDACTED, str(error)))
        return
    if value is not None and not isinstance(value, jsontext.JsonObject):
        kind = godecode.json_kind(value)
        detail = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        causes.append(field_invalid(f"data[{key}]", _REDACTED, detail))


def validate_secret_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.immutable(causes, "type", new.get("type", ""), old.get("type", ""))
    return causes + _frozen(new, old, ("data",))
