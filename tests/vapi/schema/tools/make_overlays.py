"""Make `vapi/schema/data/overlays.json`: the value enums and defaults of a live OpenAPI v3 document.

The definitions of kubernetes-validate lack both (contract §5.4). Only facts are
taken over, no descriptions. Run it again for another Kubernetes version:

    python -m tests.vapi.schema.tools.make_overlays GOLDEN/openapi_v3_live_1.37.json.gz vapi/schema/data/overlays.json

The result maps definition → place → {"default": …, "enum": […]}; a place is a
field name followed by `[]` for the items of a list and `{}` for the values of a map.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

KEYS = ("default", "enum")


def places(schema: dict[str, Any], place: str) -> dict[str, dict[str, Any]]:
    """Every place below `schema` that has an enum or a default."""
    found: dict[str, dict[str, Any]] = {}
    facts = {key: schema[key] for key in KEYS if key in schema}
    if facts and place:
        found[place] = facts
    for name, child in schema.get("properties", {}).items():
        found |= places(child, f"{place}.{name}" if place else name)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            found |= places(schema[key], place + mark)
    return found


def overlays(documents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for document in documents.values():
        for name, schema in document.get("components", {}).get("schemas", {}).items():
            if facts := places(schema, ""):
                found[name] = facts
    return found


def main(golden: Path, target: Path) -> None:
    with gzip.open(golden) as source:
        found = overlays(json.load(source))
    lines = [f'"{name}":{json.dumps(found[name], separators=(",", ":"), sort_keys=True)}' for name in sorted(found)]
    target.write_text("{" + ",\n".join(lines) + "}\n")
    print(f"{len(found)} definitions, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
