"""A small life of objects around the pure functions, to replay recorded exchanges.

What the registry does besides (defaults, numbers, uids) is taken from the
recorded answer; what is compared is the error, or the merged fields and the managedFields.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from vapi.gvk import GVK, GroupVersion, Obj
from vapi.registry import apply, managed_fields, patch, scale_fields
from vapi.registry.fieldpath import FieldSet
from vapi.registry.patch import PatchType
from vapi.registry.zero_objects import zero_object
from vapi.schema.schemas import Schemas, load_schemas
from vapi.schema.types import SchemaType

DATA = Path(__file__).parent / "data"
NOW = "2026-01-01T00:00:00Z"
AGENT = "Python-urllib"
RESET: Mapping[str, FieldSet] = {"": {"f:status": {}}, "status": {"f:spec": {}, "f:metadata": {"f:labels": {}}}}
REPLICAS: scale_fields.Paths = {"apps/v1": ("f:spec", "f:replicas")}


@functools.cache
def schemas() -> Schemas:
    return load_schemas()


def schema_of(gvk: GVK) -> SchemaType:
    return schemas().definitions.for_gvk(gvk)


def zero_of(gvk: GVK) -> Obj:
    return zero_object(schemas().types.for_gvk(gvk))


def recorded(file: str) -> list[Any]:
    exchanges: list[Any] = json.loads((DATA / file).read_text())
    return exchanges


def content(obj: Obj) -> Obj:
    return managed_fields.with_entries(obj, [])


def entries(obj: Obj) -> list[Obj]:
    found: list[Obj] = obj["metadata"].get("managedFields", [])
    return found


class Life:
    """Objects by path; `play` sends one recorded request and gives back what was computed."""

    def __init__(self) -> None:
        self._objects: dict[str, Obj] = {}

    def play(self, exchange: Obj) -> Obj:
        """The computed object (or Scale's parent). Raises ApiError; `exchange` holds the recorded answer."""
        request, answer = exchange["request"], exchange["response"]
        url = urlsplit(request["path"])
        options = {key: values[0] for key, values in parse_qs(url.query).items()}
        if request["method"] == "POST":
            return self._create(url.path, request["body"], answer, options)
        for subresource in ("scale", "status"):
            if url.path.endswith(f"/{subresource}"):
                path = url.path.removesuffix(f"/{subresource}")
                return self._change(path, subresource, request, answer, options)
        return self._change(url.path, "", request, answer, options)

    def _create(self, path: str, body: Obj, answer: Obj, options: Mapping[str, str]) -> Obj:
        gvk = _gvk(body)
        made = managed_fields.track_update(
            old=None,
            new=content(answer),
            schema=schema_of(gvk),
            manager=options.get("fieldManager", AGENT),
            api_version=gvk.api_version,
            now=NOW,
            zero=zero_of(gvk),
            ignored=RESET[""],
        )
        obj = managed_fields.with_entries(answer, made)
        self._objects[f"{path}/{obj['metadata']['name']}"] = obj
        return obj

    def _change(self, path: str, subresource: str, request: Obj, answer: Obj, options: Mapping[str, str]) -> Obj:
        live = self._objects.get(path)
        if subresource == "scale" and live is not None:
            return self._scale(path, live, request, answer, options)
        obj = self._written(live, subresource, request, answer, options)
        if "dryRun" not in options:
            self._objects[path] = obj
        return obj

    def _written(
        self, live: Obj | None, subresource: str, request: Obj, answer: Obj, options: Mapping[str, str]
    ) -> Obj:
        """What is stored: content of the recorded answer, after a look whether the computed fields are in it."""
        body = request["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        type_ = PatchType.MERGE if request["method"] == "PUT" else patch.patch_type(request["contentType"])
        manager = options.get("fieldManager", "" if type_ is PatchType.APPLY else AGENT)
        force = options.get("force")
        patch.check_options(type_, field_manager=manager, force=None if force is None else force == "true")
        parsed = patch.parse(type_, raw, load_yaml=yaml.safe_load)
        # kind and version of the URL: recorded answers and live objects have them
        gvk = _gvk(live or answer) if (live or answer.get("kind") != "Status") else GVK("", "v1", "ConfigMap")
        if "/deployments/" in request["path"]:
            gvk = GVK("apps", "v1", "Deployment")
        common: dict[str, Any] = {
            "schema": schema_of(gvk),
            "manager": manager,
            "subresource": subresource,
            "now": NOW,
            "zero": zero_of(gvk),
            "ignored": RESET[subresource],
        }
        if type_ is PatchType.APPLY:
            merged = apply.apply(live=live, config=parsed.value, gvk=gvk, force=force == "true", **common)
            _check_contained(merged, answer)
            return managed_fields.with_entries(answer, entries(merged))
        assert live is not None
        patched = body if request["method"] == "PUT" else patch.apply_patch(live, parsed, common["schema"]).obj
        if request["method"] != "PUT":
            _check_contained(patched, answer, but_for_status=not subresource)
        new = {**answer, "metadata": {**answer["metadata"], "managedFields": patched["metadata"].get("managedFields")}}
        made = managed_fields.track_update(old=live, new=new, api_version=gvk.api_version, **common)
        return managed_fields.keep_times(live, managed_fields.with_entries(answer, made))

    def _scale(self, path: str, live: Obj, request: Obj, answer: Obj, options: Mapping[str, str]) -> Obj:
        gvk = GVK("autoscaling", "v1", "Scale")
        before = {**answer, "spec": {"replicas": live["spec"]["replicas"]}}
        old = managed_fields.with_entries(before, scale_fields.to_scale(entries(live), REPLICAS))
        common: dict[str, Any] = {
            "schema": schema_of(gvk),
            "manager": options["fieldManager"],
            "subresource": "scale",
            "now": NOW,
            "zero": zero_of(gvk),
        }
        if request["contentType"] == PatchType.APPLY:
            force = options.get("force") == "true"
            made = entries(apply.apply(live=old, config=request["body"], gvk=gvk, force=force, **common))
        else:
            made = managed_fields.track_update(old=old, new=answer, api_version="autoscaling/v1", **common)
        moved = scale_fields.to_parent(entries(live), made, api_version="apps/v1", paths=REPLICAS)
        obj = managed_fields.with_entries({**live, "spec": {**live["spec"], **answer["spec"]}}, moved)
        self._objects[path] = obj
        return obj


def _gvk(obj: Obj) -> GVK:
    version = GroupVersion.parse(obj["apiVersion"])
    return GVK(version.group, version.version, obj["kind"])


_DEFAULTS = """
resources terminationMessagePath terminationMessagePolicy imagePullPolicy restartPolicy dnsPolicy
terminationGracePeriodSeconds securityContext schedulerName strategy revisionHistoryLimit
progressDeadlineSeconds replicas status protocol targetPort clusterIPs type sessionAffinity ipFamilies
ipFamilyPolicy internalTrafficPolicy lastUpdateTime lastTransitionTime
"""
_DEFAULTED = frozenset(_DEFAULTS.split())


def _check_contained(computed: Obj, answer: Obj, *, but_for_status: bool = True) -> None:
    """Every computed field is in the answer, and the answer has nothing else but defaults."""
    ignored = {"metadata", "status"} if but_for_status else {"metadata"}
    for key in (computed.keys() | answer.keys()) - ignored:
        if key in computed or key not in _DEFAULTED:
            _contained(computed.get(key), answer.get(key), key)
    for key in ("labels", "annotations", "finalizers"):
        _contained(computed["metadata"].get(key), answer["metadata"].get(key), key)


def _contained(computed: Any, answer: Any, path: str) -> None:
    if isinstance(computed, dict) and isinstance(answer, dict):
        for key in computed.keys() | answer.keys():
            if key in computed or key not in _DEFAULTED:
                _contained(computed.get(key), answer.get(key), f"{path}.{key}")
    elif isinstance(computed, list) and isinstance(answer, list):
        assert len(computed) == len(answer), path
        for index, (left, right) in enumerate(zip(computed, answer, strict=True)):
            _contained(left, right, f"{path}[{index}]")
    else:
        assert (computed or None) == (answer or None), path
