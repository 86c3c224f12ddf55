"""What is known of a combination of server and host: test → pass, fail: why, or skip: why.

A file of `expected/`:

    title = "vapi on its embedded host"
    pass = ["[sig-node] Lease lease API should be available [Conformance]", …]
    [fail]
    "CustomResourceDefinitions are stored only" = ["[sig-api-machinery] …", …]
    [skip]
    "takes 8 minutes" = ["…"]

A test under `fail` runs and must fail, one under `skip` is not sent at all. A test stands in one place. One that
stands nowhere is *unlisted*: its result is shown and decides nothing, until `--update` writes it down.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conformance.result import Outcome, Result

FOLDER = Path(__file__).parent / "expected"
UNEXPLAINED = "not looked into yet"  # what `--update` writes; a test of ours refuses it in a committed file


class BadExpectation(ValueError):
    """The file contradicts itself or has keys that nobody reads."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class Expectation:
    title: str = ""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def skipped(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict.outcome is Outcome.SKIP]


def parse(text: str) -> Expectation:
    """Raises BadExpectation, or TOMLDecodeError."""
    data = tomllib.loads(text)
    if unknown := set(data) - {"title", "pass", "fail", "skip"}:
        raise BadExpectation(f"unknown keys {sorted(unknown)}")
    rows = [(name, Verdict(Outcome.PASS)) for name in data.get("pass", ())]
    for outcome in (Outcome.FAIL, Outcome.SKIP):
        for why, names in data.get(outcome.value, {}).items():
            if not why.strip():
                raise BadExpectation(f"{outcome}: no reason given for {names}")
            rows += [(name, Verdict(outcome, why)) for name in names]
    verdicts: dict[str, Verdict] = {}
    for name, verdict in rows:
        if name in verdicts:
            raise BadExpectation(f"listed twice: {name}")
        verdicts[name] = verdict
    return Expectation(data.get("title", ""), verdicts)


def load(path: Path) -> Expectation:
    return parse(path.read_text())


def find(name: str) -> Path:
    """A path as it stands, or the name of a combination: `ours-embedded`. Raises FileNotFoundError."""
    for path in (Path(name), FOLDER / name, FOLDER / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
    raise FileNotFoundError(f"no expectation {name}: neither a file nor one of {known}")


def updated(expectation: Expectation, results: Iterable[Result]) -> Expectation:
    """With what was seen in place of what was thought; reasons stay with the tests that still fail."""
    verdicts = dict(expectation.verdicts)
    for result in results:
        before = verdicts.get(result.name)
        if before is None or before.outcome is not result.outcome:
            why = "" if result.outcome is Outcome.PASS else result.first_line or UNEXPLAINED
            verdicts[result.name] = Verdict(result.outcome, why)
    return Expectation(expectation.title, verdicts)


def dump(expectation: Expectation) -> str:
    """The text of a file; `parse` gives the same back."""
    groups: dict[tuple[Outcome, str], list[str]] = {}
    for name, verdict in expectation.verdicts.items():
        groups.setdefault((verdict.outcome, verdict.why), []).append(name)
    lines = [f"title = {_quoted(expectation.title)}", "", f"pass = {_listed(groups.get((Outcome.PASS, ''), []))}"]
    for outcome in (Outcome.FAIL, Outcome.SKIP):
        lines += ["", f"[{outcome}]"]
        lines += [
            f"{_quoted(why)} = {_listed(names)}"
            for (group, why), names in sorted(groups.items(), key=lambda row: row[0][1])
            if group is outcome
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if ord(c) >= 32 else f"\\u{ord(c):04X}" for c in escaped) + '"'


def _listed(names: list[str]) -> str:
    return "[\n" + "".join(f"  {_quoted(name)},\n" for name in sorted(names)) + "]" if names else "[]"
