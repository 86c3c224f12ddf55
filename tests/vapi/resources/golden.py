"""The recordings of a real API server, where they lie beside this project; tests that want them skip without."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parents[4] / "shared" / "reference" / "golden"


def golden(name: str) -> Any:
    path = _FOLDER / name
    if not path.exists():
        pytest.skip(f"no recording {name} beside the project")
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
