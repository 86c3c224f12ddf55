"""One set of definitions for the whole folder: loading takes 20 ms and it is immutable from outside."""

from __future__ import annotations

import pytest

from vapi.schema.definitions import Definitions, load_definitions


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return load_definitions()
