"""One set of schemas for the whole folder: loading takes 25 ms and it is immutable from outside."""

from __future__ import annotations

import pytest

from vapi.schema.definitions import Definitions
from vapi.schema.schemas import Schemas, load_schemas


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    return load_schemas()


@pytest.fixture(scope="session")
def definitions(schemas: Schemas) -> Definitions:
    return schemas.definitions
