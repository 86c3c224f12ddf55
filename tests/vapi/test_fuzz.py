"""Whatever is sent, the server answers properly, and what it stored can be read again after a restart."""

from __future__ import annotations

import pytest

from tests.tools.fuzz import Findings, run

REQUESTS = 4_000  # a seed; 0.2 ms each. By hand: python -m tests.tools.fuzz --count 50000


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_request_is_answered_by_an_unforeseen_error(seed: int) -> None:
    findings = Findings()
    await run(seed, REQUESTS, findings)
    assert not findings.counts, str(findings)
