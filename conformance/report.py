"""Results against what was expected of them: a judgement, and its form in Markdown and HTML. Pure."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance import catalogue
from conformance.catalogue import CLASSES
from conformance.expectation import Expectation, Verdict
from conformance.result import Outcome, Result

OTHER = "other"  # the class of a test that is neither official nor ours
GROUP = "sync"  # the class of our own checks, whose names begin with their group: [pods] POD-1 …


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run was: `complete` is false if it was broken off."""

    title: str
    server: str
    suite: str
    started: str
    took_s: float
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One test: where it belongs, how it ended, what was expected."""

    result: Result
    class_: str
    sig: str
    expected: Verdict | None

    @property
    def unexpected(self) -> bool:
        """Worse than known, or better. Unlisted tests are expected to pass; one that was not run says nothing."""
        if self.result.outcome is Outcome.SKIP:
            return False
        wanted = self.expected.outcome if self.expected else Outcome.PASS
        return wanted is not Outcome.SKIP and self.result.outcome is not wanted


@dataclass(frozen=True, slots=True)
class Report:
    facts: Facts
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        return self.facts.complete and not any(line.unexpected for line in self.lines)

    def of(self, outcome: Outcome) -> list[Line]:
        return [line for line in self.lines if line.result.outcome is outcome]


def judge(facts: Facts, results: Iterable[Result], expectation: Expectation) -> Report:
    """Put each result beside its verdict."""
    return Report(facts, tuple(_line(result, expectation.verdicts.get(result.name)) for result in results))


def _line(result: Result, verdict: Verdict | None) -> Line:
    test = catalogue.official().get(result.name)
    if test:
        return Line(result, test.class_, test.sig, verdict)
    if result.name.startswith("[sig-"):
        return Line(result, OTHER, catalogue.sig_of(result.name), verdict)
    return Line(result, GROUP, result.name.partition("]")[0].removeprefix("["), verdict)


# --- the table -------------------------------------------------------------------------------------------------------


Row = tuple[str, ...]
HEADER: Row = ("class", "sig", "passed", "failed", "not run", "total")


def table(report: Report) -> list[Row]:
    """Rows by class and sig, each class closed by its sum, all by one of everything."""
    counts: dict[tuple[str, str], Counter[Outcome]] = {}
    for line in report.lines:
        counts.setdefault((line.class_, line.sig), Counter())[line.result.outcome] += 1
    rows = []
    for class_ in (*CLASSES, OTHER):
        sigs = sorted(sig for c, sig in counts if c == class_)
        rows += [(class_, sig, *_numbers(counts[class_, sig])) for sig in sigs]
        if len(sigs) > 1:
            rows.append((class_, "all", *_numbers(_sum(counts[class_, sig] for sig in sigs))))
    return [*rows, ("all", "", *_numbers(_sum(counts.values())))]


def _sum(counts: Iterable[Counter[Outcome]]) -> Counter[Outcome]:
    return sum(counts, Counter[Outcome]())


def _numbers(counts: Counter[Outcome]) -> Row:
    return tuple(str(n) for n in (*(counts[o] for o in (Outcome.PASS, Outcome.FAIL, Outcome.SKIP)), counts.total()))


def summary(reports: Sequence[Report], replayed: Mapping[str, str]) -> str:
    """The few lines that a README has room for: passed of total, by class and combination; then what was replayed."""
    classes = [c for c in CLASSES if any(line.class_ == c for r in reports for line in r.lines)]
    head = ("class", *(f"{r.facts.title}, {r.facts.server}" for r in reports))
    rows = [(class_, *(_passed(report, class_) for report in reports)) for class_ in classes]
    text = _markdown_table(head, rows)
    return text + "".join(f"\n{title}: {line}.\n" for title, line in replayed.items())


def _passed(report: Report, class_: str) -> str:
    outcomes = [line.result.outcome for line in report.lines if line.class_ == class_]
    return f"{outcomes.count(Outcome.PASS)} of {len(outcomes)}" if outcomes else "not run"


# --- its forms -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    rows: tuple[Row, ...]  # of why or what, and the tests it is about


def _sections(report: Report) -> list[_Section]:
    """What went otherwise than expected first, then the known failures and omissions by reason."""
    odd = [line for line in report.lines if line.unexpected]
    worse = tuple((_code(line), line.result.first_line) for line in odd if line.result.outcome is Outcome.FAIL)
    better = tuple(
        (_code(line), "listed as: " + (line.expected.why if line.expected else ""))
        for line in odd
        if line.result.outcome is Outcome.PASS
    )
    known = tuple(
        (_code(line), f"{_why(line)}: {line.result.first_line}")
        for line in report.of(Outcome.FAIL)
        if not line.unexpected
    )
    left_out = tuple((_code(line), line.result.first_line) for line in report.of(Outcome.SKIP))
    every = (
        _Section("Fails, though it is expected to pass", worse),
        _Section("Passes, though it is expected to fail", better),
        _Section("Known failures", tuple(sorted(known, key=lambda row: row[1]))),
        _Section("Not run", tuple(sorted(left_out, key=lambda row: row[1]))),
    )
    return [section for section in every if section.rows]


def _code(line: Line) -> str:
    return line.result.name


def _why(line: Line) -> str:
    return line.expected.why if line.expected else ""


def _heading(facts: Facts) -> str:
    end = "" if facts.complete else " Broken off: tests that had not run yet are counted as not run."
    minutes = f"{facts.took_s / 60:.1f} minutes"
    return f"Server {facts.server}, tests of Kubernetes {facts.suite}, {facts.started}, {minutes}.{end}"


def markdown(report: Report) -> str:
    parts = [f"# {report.facts.title}\n\n{_heading(report.facts)}\n", _markdown_table(HEADER, table(report))]
    for section in _sections(report):
        rows = _markdown_table(("test", "why"), section.rows)
        parts.append(f"## {section.title} ({len(section.rows)})\n\n{rows}")
    return "\n".join(parts)


def _markdown_table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(_markdown_cell(cell) for cell in line) + " |\n" for line in lines)


def _markdown_cell(text: str) -> str:
    for sign in "\\|`*<[":
        text = text.replace(sign, "\\" + sign)
    return text


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px sans-serif;margin:2em}}td,th{{padding:2px 10px;text-align:left;vertical-align:top}}
tr:nth-child(even){{background:#f3f3f3}}</style>
<h1>{title}</h1><p>{heading}</p>
{body}</html>
"""


def html_page(report: Report) -> str:
    body = [_html_table(HEADER, table(report))]
    body += [
        f"<h2>{html.escape(section.title)} ({len(section.rows)})</h2>\n{_html_table(('test', 'why'), section.rows)}"
        for section in _sections(report)
    ]
    title, heading = html.escape(report.facts.title), html.escape(_heading(report.facts))
    return _PAGE.format(title=title, heading=heading, body="\n".join(body))


def _html_table(head: Row, rows: Iterable[Row]) -> str:
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n<tr>" + cells + "</tr>\n" + "\n".join(lines) + "\n</table>"
