"""Where webhooks are called: of admission and of CRD conversion. Source: k8s.io/apiserver pkg/util/webhook (1.37)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from vapi import names
from vapi.errors import field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

_FORM = "; desired format: https://host[/path]"
_ACCEPTED = ("v1", "v1beta1")


def client(causes: Causes, path: str, config: Obj) -> None:
    """Exactly one of url and service."""
    url, place = config.get("url"), config.get("service")
    if (url is None) == (place is None):
        causes.append(field_required(path, "exactly one of url or service is required"))
    elif url is not None:
        _url(causes, f"{path}.url", url)
    else:
        _service(causes, f"{path}.service", config["service"])


def _url(causes: Causes, path: str, url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        causes.append(field_required(path, f'url must be a valid URL: parse "{url}": {error}{_FORM}'))
        return
    if parts.scheme != "https":
        causes.append(field_invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    user, _, host = parts.netloc.rpartition("@")
    if not host:
        causes.append(field_invalid(path, host, f"host must be specified{_FORM}"))
    if user:
        causes.append(field_invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        causes.append(field_invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        causes.append(field_invalid(path, parts.query, "query parameters are not permitted in the URL"))


def _service(causes: Causes, path: str, service: Obj) -> None:
    # upstream's callers give the two the wrong way round
    checks.required(causes, f"{path}.name", service.get("namespace"))
    checks.required(causes, f"{path}.namespace", service.get("name"))
    port = service.get("port", 0)
    if not 1 <= port <= checks.MAX_PORT:
        causes.append(field_invalid(f"{path}.port", port, f"port is not valid: {checks.PORT_RANGE}"))
    _url_path(causes, f"{path}.path", service.get("path") or "/")


def _url_path(causes: Causes, path: str, wanted: str) -> None:
    if wanted == "/":
        return
    if wanted == "//":
        causes.append(field_invalid(path, wanted, "segment[0] may not be empty"))
        return
    if not wanted.startswith("/"):
        causes.append(field_invalid(path, wanted, "must start with a '/'"))
    for index, segment in enumerate(wanted[1:].removesuffix("/").split("/")):
        if not segment:
            causes.append(field_invalid(path, wanted, f"segment[{index}] may not be empty"))
        elif problem := checks.dns_subdomain_problem(segment):
            causes.append(field_invalid(path, wanted, f"segment[{index}]: {problem}"))


def review_versions(causes: Causes, path: str, versions: Sequence[str], detail: str = "") -> None:
    """`detail`: said when there is none."""
    if not versions:
        causes.append(field_required(path, detail))
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            causes.append(field_invalid(f"{path}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        checks.text(causes, f"{path}[{index}]", version, names.dns1035_label(version))
    if not seen.intersection(_ACCEPTED):
        causes.append(field_invalid(path, versions, f"must include at least one of {', '.join(_ACCEPTED)}"))


ADMISSION_NEEDS = f"must specify one of {', '.join(_ACCEPTED)}"
