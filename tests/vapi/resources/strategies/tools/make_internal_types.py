"""Make `vapi/resources/strategies/data/internal_types.json`: how Kubernetes' internal types print themselves.

    python -m tests.vapi.resources.strategies.tools.make_internal_types \\
        GOMOD/k8s.io/kubernetes@v1.37.1/pkg/apis GOMOD/k8s.io/apiextensions-apiserver@v0.37.1/pkg/apis \\
        vapi/schema/data/gotypes.json.gz vapi/resources/strategies/data/internal_types.json

Some refusals show a whole internal struct, as JSON under its Go names and in
their order. Only facts are taken: names, types, order. Result:
{"core.PodSpec": [[Go name, JSON name in the public version, type, embedded], …]}; a type is a prefix of
`*`, `[]` and `map ` and then string, number, bool, Quantity, Time, IntOrString, raw or the name of a struct.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PUBLIC = {
    "apiextensions": "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
    "autoscaling": "k8s.io/api/autoscaling/v2",
}
META = "k8s.io/apimachinery/pkg/apis/meta/v1"
GROUPS = (
    "admissionregistration",
    "apps",
    "autoscaling",
    "batch",
    "certificates",
    "coordination",
    "core",
    "discovery",
    "flowcontrol",
    "networking",
    "node",
    "policy",
    "rbac",
    "resource",
    "scheduling",
    "storage",
    "storagemigration",
)
ROOTS = (
    "admissionregistration.AuditAnnotation",
    "admissionregistration.MatchCondition",
    "admissionregistration.ParamKind",
    "admissionregistration.ParamRef",
    "apiextensions.CustomResourceDefinitionVersion",
    "apiextensions.ValidationRule",
    "apps.DaemonSetUpdateStrategy",
    "apps.DeploymentStrategy",
    "apps.RollingUpdateStatefulSetStrategy",
    "apps.StatefulSetUpdateStrategy",
    "autoscaling.CrossVersionObjectReference",
    "batch.PodFailurePolicyRule",
    "batch.PodFailurePolicy",
    "batch.SuccessPolicy",
    "batch.UncountedTerminatedPods",
    "certificates.CertificateSigningRequestCondition",
    "certificates.CertificateSigningRequestSpec",
    "core.ConfigMapVolumeSource",
    "core.EphemeralContainer",
    "core.NodeAddress",
    "core.PersistentVolumeClaim",
    "core.PodTemplateSpec",
    "core.PersistentVolumeSource",
    "core.ScopeSelector",
    "core.ServicePort",
    "core.Taint",
    "core.Toleration",
    "core.TypedLocalObjectReference",
    "core.VolumeNodeAffinity",
    "flowcontrol.FlowDistinguisherMethod",
    "flowcontrol.FlowSchemaSpec",
    "flowcontrol.PriorityLevelConfigurationSpec",
    "networking.IngressClassParametersReference",
    "networking.ParentReference",
    "networking.ServiceCIDRSpec",
    "policy.PodDisruptionBudgetSpec",
    "rbac.RoleRef",
    "metav1.Condition",
    "metav1.LabelSelector",
    "resource.ResourceClaimSpec",
    "resource.ResourceClaimTemplateSpec",
    "storage.CSINodeDriver",
    "storage.TokenRequest",
    "storage.VolumeAttachmentSpec",
    "storagemigration.StorageVersionMigrationSpec",
)
_SCALARS = {"string", "bool", "int32", "int64", "int", "uint8", "byte", "float64", "uint32"}
_SPECIAL = {
    "resource.Quantity": "Quantity",
    "metav1.Time": "Time",
    "metav1.MicroTime": "Time",
    "metav1.Duration": "string",
    "metav1.FieldsV1": "raw",
    "intstr.IntOrString": "IntOrString",
    "runtime.RawExtension": "raw",
    "runtime.Object": "raw",
    "types.UID": "string",
    "types.NodeName": "string",
    "apiextensions.JSON": "raw",
    "[]byte": "string",
}
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
_NAMED = re.compile(r"^type (\w+) ([\w\[\].*]+)$", re.M)
_FIELD = re.compile(r"^\t(\w+(?:, \w+)*)?\s*([\w\[\].*{}]+)?\s*(`[^`]*`)?\s*(?://.*)?$")


def _packages(kubernetes: Path, extensions: Path) -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        yield group, "\n".join(p.read_text() for p in sorted((kubernetes / group).glob("*.go")) if _wanted(p))
    folder = extensions / "apiextensions"
    yield "apiextensions", "\n".join(p.read_text() for p in sorted(folder.glob("*.go")) if _wanted(p))


def _wanted(path: Path) -> bool:
    return not path.name.endswith("_test.go") and not path.name.startswith("zz_")


class Sources:
    def __init__(self, kubernetes: Path, extensions: Path, public: dict[str, Any]) -> None:
        self.structs: dict[str, str] = {}
        self.named: dict[str, str] = {}
        self.public = public
        for package, text in _packages(kubernetes, extensions):
            plain = re.sub(r"(?m)^\s*//.*\n", "", text)
            for name, body in _STRUCT.findall(plain):
                self.structs[f"{package}.{name}"] = body
            for name in re.findall(r"(?m)^type (\w+) struct ?\{\}", plain):
                self.structs[f"{package}.{name}"] = ""
            for name, target in _NAMED.findall(plain):
                self.named[f"{package}.{name}"] = target

    def normal(self, spelled: str, package: str) -> str:
        """The type in the form of the result."""
        if spelled == "[]byte":
            return "string"
        for prefix, short in (("*", "*"), ("[]", "[]")):
            if spelled.startswith(prefix):
                return short + self.normal(spelled[len(prefix) :], package)
        if spelled.startswith("map["):
            return "map " + self.normal(spelled.partition("]")[2], package)
        if spelled in _SCALARS:
            return "string" if spelled == "string" else "bool" if spelled == "bool" else "number"
        name = spelled if "." in spelled else f"{package}.{spelled}"
        name = name.replace("api.", "core.")
        if name in _SPECIAL:
            return _SPECIAL[name]
        if name in self.structs or name.startswith("metav1."):
            return name
        if name in self.named:
            return self.normal(self.named[name], name.partition(".")[0])
        raise KeyError(f"{spelled} in {package}")

    def fields(self, name: str) -> list[list[Any]]:
        if name.startswith("metav1."):
            return self._public_fields(name)
        package, _, short = name.partition(".")
        public = self.public.get(f"{PUBLIC.get(package, f'k8s.io/api/{package}/v1')}.{short}") or []
        json_names = {go: json_name for go, json_name, *_ in public}
        found: list[list[Any]] = []
        for line in self.structs[name].splitlines():
            parts = line.strip().partition("//")[0].split()
            if not parts:
                continue
            if len(parts) == 1:
                go = parts[0].rpartition(".")[2].lstrip("*")
                found.append([go, json_names.get(go, ""), self.normal(parts[0], package), 1])
            else:
                found.append([parts[0], json_names.get(parts[0], ""), self.normal(parts[1], package), 0])
        return found

    def _public_fields(self, name: str) -> list[list[Any]]:
        rows = self.public.get(f"{META}.{name.partition('.')[2]}") or []
        found = []
        for _, json_name, type_, flags, *_ in rows:
            bare = re.sub(r"\w+:(\w+)", r"\1", type_.replace(f"{META}.", "metav1."))
            spelled = self.normal(bare, "metav1")
            found.append([json_name, json_name, spelled, 2 if flags & 3 else 3])
        return found


def main(kubernetes: str, extensions: str, gotypes: str, out: str) -> None:
    public = json.loads(gzip.decompress(Path(gotypes).read_bytes()))["structs"]
    sources = Sources(Path(kubernetes), Path(extensions), public)
    todo, done = list(ROOTS), {}
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done[name] = sources.fields(name)
        for _, _, spelled, _ in done[name]:
            base = spelled.replace("map ", "").lstrip("*[]")
            if "." in base:
                todo.append(base)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(done[name])}" for name in sorted(done))
    Path(out).write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:5])
