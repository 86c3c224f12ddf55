"""Where the recorded exchanges of a real kube-apiserver lie: outside the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "reference" / "golden"


def recorded(file: str) -> Any:
    return json.loads((GOLDEN / file).read_text())
