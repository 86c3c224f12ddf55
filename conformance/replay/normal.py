"""What differs from run to run, turned into what does not: uids, times, versions, addresses, what controllers write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
AGE = re.compile(r"(\d+[smhdy])+( ago)?|<invalid>")
JWT = re.compile(r"eyJ[\w-]{20,}\.eyJ[\w-]+\.[\w-]+")
PEM = re.compile(r"-----BEGIN .*|LS0tLS1CRUdJTi.*", re.S)
JWT_BASE64 = re.compile(r"ZXlK[\w+/=]{40,}")
ANY_VERSION, ANY_IP, ANY_NODE_PORT = "1000", "10.96.0.0", 30000
ADDRESS_KEYS = {"clusterIP", "clusterIPs", "ip"}

# What varies inside messages, YAML and names that the server made up.
_TEXT = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(current: )\d+", r"\g<1>" + ANY_VERSION),
        (r"(too old resource version: \d+ \()\d+", r"\g<1>" + ANY_VERSION),
        (r"(ResourceVersion in object meta: )\d+", r"\g<1>" + ANY_VERSION),
        (r"(ResourceVersion in record \()\d+", r"\g<1>" + ANY_VERSION),
        (r'(resourceVersion(?:: "|\\+":\\+"))\d+', r"\g<1>" + ANY_VERSION),
        (r'(in scheme \\")[^"\\]+', r"\1pkg/api/legacyscheme/scheme.go:30"),  # depends on how it was built
        (r"(object not decodable revision=)\d+", r"\g<1>" + ANY_VERSION),
        (r"(kube-api-access-)[a-z0-9]{5}\b", r"\1xxxxx"),
        (r"(apiserver-)[a-z2-7]{26}", r"\1xxxxx"),
        (r"(JTI=|X509SHA256=)[\w-]+", r"\1<id>"),
        (r"(is not in the valid range\. The range of valid IPs is )[\d./]+", r"\g<1>10.96.0.0/16"),
    )
)

# Objects that controllers write to while a check runs: which keys of their status are not the client's doing.
_CONTROLLERS = {"kube-controller-manager", "kube-scheduler", "kubelet"}
_REPLICAS = {"observedGeneration", "replicas", "fullyLabeledReplicas"}
_CONTROLLED: Mapping[str, set[str]] = {
    "Deployment": {"observedGeneration", "replicas", "updatedReplicas", "unavailableReplicas", "terminatingReplicas"},
    "ReplicaSet": _REPLICAS,
    "ReplicationController": _REPLICAS,
    "StatefulSet": {"observedGeneration", "currentRevision", "updateRevision"},
    "Job": {"conditions", "startTime", "active", "ready", "terminating", "uncountedTerminatedPods"},
    "Namespace": {"conditions"},
    "Scale": set(),
    "PodDisruptionBudget": set(),
    "ResourceQuota": set(),
    "CustomResourceDefinition": set(),
    "CertificateSigningRequest": set(),
}
_CONTROLLER_CONDITIONS = {"Progressing", "Available", "ReplicaFailure"}
_CONTROLLER_ANNOTATIONS = {"deployment.kubernetes.io/revision"}


class Normaliser:
    """One for each file: it numbers uids and versions in order of appearance, so that equal ones stay equal."""

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        """`names`: as the server knows them → as the recording does."""
        self._names = dict(names or {})
        self._uids: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def text(self, text: str) -> str:
        for there, here in self._names.items():
            text = text.replace(there, here)
        text = UUID.sub(self._numbered, text)
        text = TIME.sub(lambda m: "2026-01-01T00:00:00" + re.sub(r"\d", "0", m[1] or "") + "Z", text)
        for pattern, replacement in _TEXT:
            text = pattern.sub(replacement, text)
        return JWT.sub("<jwt>", text)

    def body(self, raw: bytes, sent: str = "") -> Any:
        """A body as it stands in a recording: a value if it is JSON, else text.

        `sent` is the request: addresses and ports that it asked for are no accident and stay.
        """
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return f"({raw[:4]!r}, binary)"
        try:
            self._names |= _generated_names(json.loads(text))
            return self._clean(json.loads(self.text(text)), sent=sent)
        except ValueError:
            return self.text(text)

    def _numbered(self, found: re.Match[str]) -> str:
        return self._uids.setdefault(found[0], f"00000000-0000-4000-8000-{len(self._uids) + 1:012d}")

    def _clean(self, value: Any, *, key: str = "", kind: str = "", sent: str = "") -> Any:
        if isinstance(value, list):
            items = [self._clean(v, key=key, kind=kind, sent=sent) for v in value]
            return sorted(items, key=_field_set_order) if key == "managedFields" else items
        if isinstance(value, str):
            return _scalar(value, key=key, sent=sent)
        if not isinstance(value, dict):
            return ANY_NODE_PORT if key == "nodePort" and str(value) not in sent else value
        inherited = kind.removesuffix("List") if key in ("metadata", "items") else ""
        kind = value["kind"] if isinstance(value.get("kind"), str) else inherited
        value = _without_controllers(value, kind)
        _order_and_age(value, kind)
        if key == "metadata" and "resourceVersion" in value:
            value["resourceVersion"] = self._version(value, kind)
        return {k: self._clean(v, key=k, kind=kind, sent=sent) for k, v in value.items()}

    def _version(self, metadata: Mapping[str, Any], kind: str) -> str:
        """Versions of objects that only the client writes are numbered, so that a write that changes nothing shows."""
        if "uid" not in metadata or kind in _CONTROLLED or kind == "Pod":
            return ANY_VERSION
        return self._versions.setdefault(metadata["resourceVersion"], str(1001 + len(self._versions)))


def _scalar(value: str, *, key: str, sent: str) -> str:
    if PEM.match(value):
        return "<pem>"
    if JWT_BASE64.fullmatch(value):
        return "<jwt>"
    if key in ADDRESS_KEYS and re.match(r"\d+\.", value) and value not in sent:
        return ANY_IP
    return "<continue>" if key == "continue" and value else value


def _order_and_age(value: dict[str, Any], kind: str) -> None:
    """Rules of a rules review come in the order of a Go map; the ages in a Table grow."""
    if kind == "SelfSubjectRulesReview":
        for rules in ("resourceRules", "nonResourceRules"):
            value.get("status", {}).get(rules, []).sort(key=json.dumps)
    if kind == "Table":
        for row in value.get("rows") or []:
            row["cells"] = ["0s" if isinstance(c, str) and AGE.fullmatch(c) else c for c in row.get("cells", ())]


def _generated_names(value: Any) -> dict[str, str]:
    """Names that the server made out of generateName → what they are called in a recording."""
    if isinstance(value, list):
        return _merged(_generated_names(x) for x in value)
    if not isinstance(value, dict):
        return {}
    start, name = value.get("generateName"), value.get("name")
    own = {name: start + "xxxxx"} if start and name and name != start else {}
    return own | _merged(_generated_names(x) for x in value.values())


def _merged(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    return {key: value for part in parts for key, value in part.items()}


def _without_controllers(value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A copy of a JSON object without what controllers wrote into it."""
    out = dict(value)
    if "managedFields" in out:
        out["managedFields"] = [m for m in out["managedFields"] if m.get("manager") not in _CONTROLLERS]
    annotations = out.get("annotations")
    if isinstance(annotations, dict) and _CONTROLLER_ANNOTATIONS & set(annotations):
        out["annotations"] = {k: v for k, v in annotations.items() if k not in _CONTROLLER_ANNOTATIONS}
        if not out["annotations"]:
            del out["annotations"]
    if kind in _CONTROLLED and isinstance(out.get("status"), dict):
        out["status"] = _clients_status(out["status"], kind)
    return out


def _clients_status(status: Mapping[str, Any], kind: str) -> dict[str, Any]:
    own = {k: v for k, v in status.items() if k not in _CONTROLLED[kind]}
    if kind == "Deployment" and "conditions" in own:
        kept = [c for c in own.pop("conditions") if c.get("type") not in _CONTROLLER_CONDITIONS]
        own |= {"conditions": kept} if kept else {}
    return own


def _field_set_order(entry: Mapping[str, Any]) -> list[str]:
    """managedFields are sorted by time among other things, and a second may pass anywhere."""
    return [str(entry.get(k)) for k in ("operation", "manager", "subresource", "apiVersion")]
