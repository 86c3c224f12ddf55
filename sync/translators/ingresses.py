"""Ingresses: what they name by its host names, their class as it is, and the load balancer's addresses back.

The class is the host's: one that the tenant does not see keeps the Ingress here, with
an event. Names stand in annotations too: those that nginx and the AWS load balancer
controller read, and whatever the operator declares. Source: sync-behaviour, "Ingresses".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from sync.translator import (
    CONFIGMAPS,
    INGRESSCLASSES,
    SECRETS,
    SERVICES,
    Context,
    Ref,
    Translator,
    Untranslatable,
    Withheld,
)
from sync.translators import services
from vapi import encoding
from vapi.gvk import GVK, GVR, Obj

INGRESSES = GVR("networking.k8s.io", "v1", "ingresses")
GVK_INGRESS = GVK("networking.k8s.io", "v1", "Ingress")

CLASS_ANNOTATION = "kubernetes.io/ingress.class"

_NGINX = "nginx.ingress.kubernetes.io/"
_ALB = "alb.ingress.kubernetes.io/"

NAMING: Mapping[str, GVR] = MappingProxyType(
    {
        _NGINX + "auth-proxy-set-headers": CONFIGMAPS,
        _NGINX + "auth-secret": SECRETS,
        _NGINX + "auth-tls-secret": SECRETS,
        _NGINX + "default-backend": SERVICES,
        _NGINX + "fastcgi-params-configmap": CONFIGMAPS,
        _NGINX + "proxy-ssl-secret": SECRETS,
    }
)
"""Annotation → the kind whose `name` or `namespace/name` is its value.
Source: kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations."""

KEYED = (_ALB + "actions.", _ALB + "conditions.")
"""Prefixes of annotations whose key ends in the name of a Service, with JSON that names more."""
JSON_NAMING: Mapping[str, GVR] = MappingProxyType({"serviceName": SERVICES, "secretName": SECRETS})
"""Field of such JSON, at any depth → kind. Source: kubernetes-sigs.github.io/aws-load-balancer-controller."""
IN_JSON = (*KEYED, _ALB + "auth-idp-oidc")

WRITER = "vapi-syncer"
"""Field manager of what the syncer writes in the tenant."""
MAX_KEY = 63
"""Characters of an annotation's key after its prefix."""


def to_host(virtual: Obj, context: Context, naming: Mapping[str, GVR] = NAMING) -> Obj:
    """Raises Untranslatable, Withheld."""
    check_class(virtual, context)
    spec, namespace = virtual.get("spec") or {}, virtual["metadata"]["namespace"]
    twin = context.host_metadata(virtual, GVK_INGRESS)
    twin["annotations"] = _annotations(twin["annotations"], context, namespace, naming)
    return {
        "apiVersion": GVK_INGRESS.api_version,
        "kind": GVK_INGRESS.kind,
        "metadata": twin,
        "spec": _spec(spec, context, namespace),
    }


def check_class(virtual: Obj, context: Context) -> None:
    """No class is the host's default one; the older annotation names one as well. Raises Withheld."""
    metadata = virtual["metadata"]
    annotated = (metadata.get("annotations") or {}).get(CLASS_ANNOTATION)
    name = (virtual.get("spec") or {}).get("ingressClassName") or annotated
    why = context.withheld_class(INGRESSCLASSES, name) if name else ""
    if why:
        raise Withheld(f'did not sync ingress "{metadata["name"]}" to host because {why}')


def _spec(spec: Obj, context: Context, namespace: str) -> Obj:
    translated = dict(spec)
    if spec.get("defaultBackend"):
        translated["defaultBackend"] = _backend(spec["defaultBackend"], context, namespace)
    if spec.get("tls"):
        translated["tls"] = [
            {**t, "secretName": context.host_name(t["secretName"], namespace)} if t.get("secretName") else t
            for t in spec["tls"]
        ]
    if spec.get("rules"):
        translated["rules"] = [_rule(r, context, namespace) for r in spec["rules"]]
    return translated


def _rule(rule: Obj, context: Context, namespace: str) -> Obj:
    http = rule.get("http")
    if not http:
        return rule
    paths = [{**p, "backend": _backend(p["backend"], context, namespace)} for p in http.get("paths") or ()]
    return {**rule, "http": {**http, "paths": paths}}


def _backend(backend: Obj, context: Context, namespace: str) -> Obj:
    """A Service, or any other object of the namespace."""
    if backend.get("service"):
        service = backend["service"]
        return {**backend, "service": {**service, "name": _new_name(SERVICES, service["name"], namespace, context)}}
    if backend.get("resource"):
        resource = backend["resource"]
        return {**backend, "resource": {**resource, "name": context.host_name(resource["name"], namespace)}}
    return backend


def _new_name(kind: GVR, name: str, namespace: str, context: Context) -> str:
    if kind == SERVICES and (namespace, name) == services.OWN:
        return context.cluster
    return context.host_name(name, namespace)


# --- annotations ----------------------------------------------------------------------------------------


def _annotations(
    annotations: Mapping[str, str], context: Context, namespace: str, naming: Mapping[str, GVR]
) -> dict[str, str]:
    """With every name in keys and values translated. Raises Untranslatable."""
    translated = {}
    for key, value in annotations.items():
        if key in naming:
            value = _value(key, value, naming[key], context, namespace)
        elif key.startswith(IN_JSON):
            value = _json(value, context, namespace)
        translated[_key(key, context, namespace)] = value
    return translated


def _value(key: str, value: str, kind: GVR, context: Context, namespace: str) -> str:
    where, slash, name = value.rpartition("/")
    if not name or "/" in where or (slash and not where):
        raise Untranslatable(f'annotation {key}: "{value}" is neither a name nor namespace/name')
    renamed = _new_name(kind, name, where or namespace, context)
    return f"{context.host_namespace}/{renamed}" if slash else renamed


def _key(key: str, context: Context, namespace: str) -> str:
    prefix = next((p for p in KEYED if key.startswith(p)), None)
    if prefix is None:
        return key
    service = key.removeprefix(prefix)
    renamed = prefix + _new_name(SERVICES, service, namespace, context)
    if len(renamed.rpartition("/")[2]) > MAX_KEY:
        raise Untranslatable(f"annotation {key}: with the Service's name on the host it is longer than {MAX_KEY}")
    return renamed


def _json(text: str, context: Context, namespace: str) -> str:
    """What is no JSON, the load balancer's controller will refuse itself."""
    try:
        value = encoding.loads(text)
    except ValueError:
        return text
    return encoding.dumps(_renamed(value, context, namespace)).decode()


def _renamed(value: Any, context: Context, namespace: str) -> Any:
    if isinstance(value, list):
        return [_renamed(each, context, namespace) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        k: _new_name(JSON_NAMING[k], v, namespace, context)
        if k in JSON_NAMING and isinstance(v, str) and v
        else _renamed(v, context, namespace)
        for k, v in value.items()
    }


# --- what goes out with it ------------------------------------------------------------------------------


def references(virtual: Obj, naming: Mapping[str, GVR] = NAMING) -> Iterable[Ref]:
    """Secrets and ConfigMaps; Services go out anyway."""
    metadata = virtual["metadata"]
    namespace = metadata["namespace"]
    found = {
        Ref(SECRETS, namespace, t["secretName"])
        for t in (virtual.get("spec") or {}).get("tls") or ()
        if t.get("secretName")
    }
    for key, value in (metadata.get("annotations") or {}).items():
        if key in naming:
            where, _, name = value.rpartition("/")
            found.add(Ref(naming[key], where or namespace, name))
        elif key.startswith(IN_JSON):
            found.update(Ref(SECRETS, namespace, name) for name in _secrets_in(value))
    return {ref for ref in found if ref.name and ref.resource != SERVICES}


def _secrets_in(text: str) -> Iterator[str]:
    try:
        todo = [encoding.loads(text)]
    except ValueError:
        return
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            name = value.get("secretName")
            if isinstance(name, str):
                yield name
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)


def status(virtual: Obj, host: Obj) -> Obj | None:
    """The host's addresses; where it has none, ours of before go, and what others wrote in the tenant stays.

    A tenant may run an ingress controller of its own; whose the status is, managedFields tell.
    """
    theirs: Obj = host.get("status") or {}
    if (theirs.get("loadBalancer") or {}).get("ingress"):
        return theirs
    managers = virtual["metadata"].get("managedFields") or ()
    if any(m.get("manager") == WRITER and m.get("subresource") == "status" for m in managers):
        return {"loadBalancer": {}}
    return None


def translator(naming: Mapping[str, GVR] = NAMING) -> Translator:
    """`naming`: instead of NAMING."""
    return Translator(
        resource=INGRESSES,
        gvk=GVK_INGRESS,
        to_host=partial(to_host, naming=naming),
        references=partial(references, naming=naming),
        admit=check_class,
        status=status,
        keeps_body=True,
        # not the class: the host fills in its default one
        exact=("spec.rules", "spec.tls", "spec.defaultBackend"),
    )


TRANSLATOR = translator()
