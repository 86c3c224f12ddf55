"""Make `vapi/schema/data/gotypes.json.gz`: field names, types, tags and protobuf numbers of the Go API types.

    python -m tests.vapi.schema.tools.make_gotypes GOLDEN/kubectl_1.37.1_struct_tags.json \\
        APIEXTENSIONS_V1_DIR APIREGISTRATION_V1_DIR vapi/schema/data/gotypes.json.gz

The first holds what the kubectl binary knows; the two folders (of the Go
modules k8s.io/apiextensions-apiserver and k8s.io/kube-aggregator, `pkg/apis/…/v1`)
the two groups that kubectl does not link. Only facts: names, types, tags, no comments.

Result: {"structs": {import path: [[Go name, JSON name, type, flags, protobuf number], …]},
"kinds": {"group/version": [kind, …]}}; kinds are those that kube-apiserver's scheme
registers, served or not. Flags: 1 omitempty, 2 omitzero, 4 inline.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

API = "k8s.io/api/"
META = "k8s.io/apimachinery/pkg/apis/meta/v1"
SERVED = [
    "admission/v1",
    "admissionregistration/v1",
    "apps/v1",
    "authentication/v1",
    "authorization/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates/v1",
    "coordination/v1",
    "core/v1",
    "discovery/v1",
    "events/v1",
    "flowcontrol/v1",
    "networking/v1",
    "node/v1",
    "policy/v1",
    "policy/v1beta1",
    "rbac/v1",
    "resource/v1",
    "scheduling/v1",
    "storage/v1",
    "storagemigration/v1",
]
META_KINDS = [
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "UpdateOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "TableOptions",
    "Table",
]
GROUPS = {
    "core": "",
    "admissionregistration": "admissionregistration.k8s.io",
    "apiserverinternal": "internal.apiserver.k8s.io",
    "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io",
    "certificates": "certificates.k8s.io",
    "coordination": "coordination.k8s.io",
    "discovery": "discovery.k8s.io",
    "events": "events.k8s.io",
    "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "imagepolicy": "imagepolicy.k8s.io",
    "networking": "networking.k8s.io",
    "node": "node.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
    "resource": "resource.k8s.io",
    "scheduling": "scheduling.k8s.io",
    "storage": "storage.k8s.io",
    "storagemigration": "storagemigration.k8s.io",
}
NOT_IN_SCHEME = ("admission", "apidiscovery", "lifecycle")
OMITEMPTY, OMITZERO, INLINE = 1, 2, 4

Struct = list[list[Any]]


def packed(go_name: str, tags: str, type_: str, embedded: bool) -> list[Any] | None:
    """One field, or None if it is neither in JSON nor in protobuf."""
    json_tag = re.search(r'json:"([^"]*)"', tags)
    proto_tag = re.search(r'protobuf:"([^"]*)"', tags)
    name, *options = json_tag[1].split(",") if json_tag else ("",)
    numbers = proto_tag[1].split(",") if proto_tag else []
    number = int(numbers[1]) if len(numbers) > 1 else 0
    if name == "-" and not number:
        return None
    flags = OMITEMPTY * ("omitempty" in options) | OMITZERO * ("omitzero" in options)
    if embedded and not name:
        flags |= INLINE
    cast = re.search(r"casttype=([\w./]+)", proto_tag[1]) if proto_tag else None
    if cast and type_.startswith("map["):  # the binary gives a named map's shape only
        type_ = f"{cast[1]}={type_}"
    if type_.startswith("map[") and cast is None and go_name == "Extra":
        type_ = type_.replace("[]string", "ExtraValue=[]string")
    return [go_name, name or ("" if embedded else go_name), type_, flags, number]


def from_binary(table: dict[str, Any]) -> dict[str, Struct]:
    structs = {}
    for path, fields in table.items():
        rows = [packed(*field) for field in fields]
        structs[path] = [row for row in rows if row is not None]
    return structs


def from_source(folder: Path, path: str) -> dict[str, Struct]:
    """The structs of `types*.go`, their types in the notation of the binary's table."""
    text = "\n".join(file.read_text() for file in sorted(folder.glob("types*.go")))
    names = dict(re.findall(r"^type (\w+) (string|\[\]\w+|map\[string\]\w+)$", text, re.M))
    structs: dict[str, Struct] = {}

    def spelled(go: str) -> str:
        for prefix in ("*", "[]"):
            if go.startswith(prefix):
                return prefix + ("uint8:uint8" if go == "[]byte" else spelled(go[len(prefix) :]))
        if go.startswith("map[string]"):
            return "map[string:string]" + spelled(go[len("map[string]") :])
        if go in ("string", "bool", "int32", "int64", "float64"):
            return f"{go}:{go}"
        if go in names:
            under = names[go]
            return f"{go}:string" if under == "string" else f"{go}={spelled(under)}"
        if go == "types.UID":
            return "UID:string"
        return f"{META}.{go[7:]}" if go.startswith("metav1.") else f"{path}.{go}"

    for name, body in re.findall(r"^type (\w+) struct ?(?:\{\}|\{\n(.*?)^\})$", text, re.M | re.S):
        rows = []
        for line in body.splitlines():
            found = re.match(r"\s+(?:(\w+)\s+)?([\w.*\[\]]+)\s+`([^`]*)`", line)
            if found:
                go_name, go_type, tags = found.groups()
                row = packed(go_name or go_type.split(".")[-1], tags, spelled(go_type), go_name is None)
                if row:
                    rows.append(row)
        structs[f"{path}.{name}"] = rows
    return structs


def referenced(structs: dict[str, Struct], start: set[str]) -> set[str]:
    found: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name in found or name not in structs:
            continue
        found.add(name)
        if name.startswith("k8s.io/apimachinery/pkg/api/resource."):
            continue  # Quantity's inner life
        for _, _, type_, _, _ in structs[name]:
            todo.append(re.sub(r"^.*[\]*=](?=k8s\.io)", "", type_))
    return found


def kinds(structs: dict[str, Struct]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, fields in structs.items():
        if not (path.startswith(API) and fields and fields[0][0] == "TypeMeta"):
            continue
        folder, _, kind = path[len(API) :].rpartition(".")
        group, version = folder.split("/")
        if group not in NOT_IN_SCHEME:
            found.setdefault(f"{GROUPS.get(group, group)}/{version}", []).append(kind)
    return {gv: sorted({*names, *META_KINDS}) for gv, names in sorted(found.items())}


def main(binary: Path, apiextensions: Path, apiregistration: Path, target: Path) -> None:
    structs = from_binary(json.loads(binary.read_text()))
    registered = kinds(structs)
    extra = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
    structs |= from_source(apiextensions, extra)
    aggregated = "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
    structs |= from_source(apiregistration, aggregated)
    roots = {name for name in structs if name.rpartition(".")[0] in {API + folder for folder in SERVED}}
    roots |= {name for name in structs if name.rpartition(".")[0] in (extra, aggregated)}
    roots |= {f"{META}.{kind}" for kind in [*META_KINDS, "Status", "WatchEvent", "ObjectMeta", "TypeMeta"]}
    kept = {name: structs[name] for name in sorted(referenced(structs, roots))}
    text = json.dumps({"structs": kept, "kinds": registered}, separators=(",", ":"))
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{len(kept)} structs, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
