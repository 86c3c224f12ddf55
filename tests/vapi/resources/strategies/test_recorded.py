"""What is refused, and in which words: as a real API server said it. See `asked` and `tools/record.py`."""

from __future__ import annotations

import dataclasses

import pytest

from tests.planes import plane
from tests.vapi.resources.strategies.asked import RECORDED, Answer, Case, ask, cases, recorded


@pytest.mark.parametrize("area", sorted(path.stem for path in RECORDED.glob("*.json")))
async def test_requests_are_answered_as_a_real_server_answers_them(area: str) -> None:
    async with plane() as ours:
        different = {
            case["title"]: (wanted, found)
            for case in cases(area)
            if (found := _comparable(case, await ask(ours, case))) != (wanted := _comparable(case, recorded(case)))
        }
    assert different == {}


def _comparable(case: Case, answer: Answer) -> Answer:
    """A real server goes through some maps in any order."""
    if not case.get("any order"):
        return answer
    return dataclasses.replace(answer, causes=tuple(sorted(answer.causes)), warnings=tuple(sorted(answer.warnings)))
