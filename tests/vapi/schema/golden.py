"""Where the recorded exchanges of a real kube-apiserver lie: beside this project; tests that want them skip without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "reference" / "golden"


def recorded(file: str) -> Any:
    """Also for constants of a test module, which then is skipped as a whole."""
    path = GOLDEN / file
    if not path.exists():
        pytest.skip(f"no recording {file} beside the project", allow_module_level=True)
    return json.loads(path.read_text())
