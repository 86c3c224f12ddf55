"""Names of signers (`example.com/name`) and of the ClusterTrustBundles that belong to them.

Source: pkg/apis/core/validation/names.go (1.37).
"""

from __future__ import annotations

from vapi import names
from vapi.errors import field_invalid, field_required, field_too_long
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_MAX = names.MAX_SUBDOMAIN + 1 + names.MAX_SUBDOMAIN + names.MAX_LABEL + 1


def is_kubernetes(name: str) -> bool:
    host = name.partition("/")[0]
    return host == "kubernetes.io" or host.endswith(".kubernetes.io")


def signer_name(causes: Causes, path: str, name: str) -> None:
    if not name:
        causes.append(field_required(path))
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        causes.append(field_invalid(path, name, _FORM))
        return
    if len(domain) > names.MAX_SUBDOMAIN:
        causes.append(field_too_long(path, names.MAX_SUBDOMAIN))
    labels = domain.split(".")
    for label in labels:
        if problem := checks.dns_label_problem(label):
            causes.append(field_invalid(path, domain, f'validating label "{label}": {problem}'))
            break
    if len(labels) == 1:
        detail = "should be a domain with at least two segments separated by dots"
        causes.append(field_invalid(path, domain, detail))
    for label in rest.split("."):
        if problem := checks.dns_subdomain_problem(label):
            causes.append(field_invalid(path, rest, f'validating label "{label}": {problem}'))
            break
    if len(name) > _MAX:
        causes.append(field_too_long(path, _MAX))


def signer_in(bundle: str) -> str:
    """The signer that a bundle's name begins with, or ""."""
    head, colon, _ = bundle.rpartition(":")
    return head.replace(":", "/") if colon else ""


def bundle_name(name: str, signer: str) -> str:
    """Why `name` is none for a bundle of `signer` ("": of none), or ""."""
    if not signer:
        if ":" in name:
            return 'ClusterTrustBundle without signer name must not have ":" in its name'
        return names.dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
    return names.dns_subdomain(name.removeprefix(prefix))
