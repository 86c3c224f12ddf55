"""The recordings on disk."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "golden"


class NoSuchFile(LookupError):
    pass


def read(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def stem(path: Path) -> str:
    """The name up to the version: api_errors."""
    return re.sub(r"_[\d.]+\.json(\.gz)?$", "", path.name)


def files(names: Iterable[str] = (), folder: Path = FOLDER) -> list[Path]:
    """The files of these names, given in full or up to the version, in that order; all without a name.

    Raises NoSuchFile.
    """
    every = sorted(folder.glob("*.json*"))
    found = []
    for name in names:
        wanted = Path(name).name.removesuffix(".gz")
        matching = [p for p in every if wanted in (p.name.removesuffix(".gz"), stem(p))]
        if not matching:
            raise NoSuchFile(f"no golden file {name}: there are {', '.join(stem(p) for p in every)}")
        found += matching
    return found or every
