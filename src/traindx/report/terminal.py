"""The report in a terminal: the verdict, findings with the effect of their fix, the trials, what was not examined."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from traindx.diagnosis import Diagnosis, Outcome, TrialTable
from traindx.durations import format_duration
from traindx.finding import Finding, Standing, Verdict
from traindx.report import remedies, trial_tables, words
from traindx.report.coverage import elsewhere_text, unexamined
from traindx.report.printable import printable
from traindx.report.sections import sections

_STYLE = {
    Standing.PROVEN: "bold red",
    Standing.DEMONSTRATED: "yellow",
    Standing.SUSPECTED: "blue",
    Standing.REFUTED: "green",
}
_VERDICT_STYLE = {
    Verdict.PROVEN: "bold red",
    Verdict.CONTRIBUTORY: "yellow",
    Verdict.NO_EFFECT: "green",
    Verdict.HARMFUL: "magenta",
    Verdict.INCONCLUSIVE: "dim",
}
_WIDTH = 100  # where the output is not a terminal


def render(diagnosis: Diagnosis, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print the report.

    Args:
        diagnosis: What to show.
        file: Where to; standard output by default. Without a terminal there are no colours.
        width: Columns; the terminal's own, or 100 without a terminal.
    """
    console = Console(file=file, highlight=False, width=width)
    if not console.is_terminal:
        (file or sys.stdout).write(text(diagnosis, width=width or _WIDTH))
        return
    for part in _parts(diagnosis):
        console.print(part)


def text(diagnosis: Diagnosis, *, width: int = _WIDTH) -> str:
    """The report without colours and without blanks at the ends of lines."""
    console = Console(width=width, highlight=False, force_terminal=False, color_system=None)
    with console.capture() as capture:
        for part in _parts(diagnosis):
            console.print(part)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _parts(diagnosis: Diagnosis) -> list[RenderableType]:
    diagnosis = printable(diagnosis)
    lead = words.lead_finding(diagnosis)
    said = words.outcome_word(diagnosis)
    tone = _STYLE[lead.standing] if lead is not None else "green" if said == Outcome.NOTHING_FOUND.value else "yellow"
    parts: list[RenderableType] = [
        Rule(Text(f" {diagnosis.case}: {said} ", style=tone), style=tone),
        Text(words.verdict_sentence(diagnosis), style="bold"),
        *([Text(line, style="dim")] if (line := words.coverage_line(diagnosis)) else []),
        *[Text(line) for line in words.layout_lines(diagnosis)],
        Text(),
    ]
    parts += [_block("What went wrong while looking", Group(*[Text(error) for error in diagnosis.errors]))] * bool(
        diagnosis.errors
    )
    parts += [_finding(finding, words.shared_fix(diagnosis, finding)) for finding in diagnosis.findings]
    if diagnosis.trials is not None:
        told = {finding.worth.note for finding in diagnosis.findings if finding.worth is not None}
        parts += _trials(diagnosis.trials, told)
    for section in sections(diagnosis):
        body: list[RenderableType] = [Text(paragraph) for paragraph in section.paragraphs]
        if section.table is not None:
            body.append(_plain_table(section.table.head, section.table.rows))
        parts.append(_block(section.title, Group(*body)))
    if diagnosis.healthy:
        parts.append(_block("In order", _listing(*words.in_order(diagnosis))))
    for group in unexamined(diagnosis):
        parts.append(_block(f"Not examined. {group.title}", _plain_table((), group.rows)))
    apart = elsewhere_text(diagnosis)
    if apart:
        parts.append(_block("Not about this program", Group(*[Text(sentence) for sentence in apart])))
    return parts


def _block(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold underline"), Padding(body, (0, 0, 1, 2)))


def _finding(finding: Finding, shared: str) -> RenderableType:
    style = _STYLE[finding.standing]
    head = Text.assemble((finding.code, style), " ", (words.display_name(finding), "bold"), "  ")
    head.append(finding.standing.value, style=style)
    head.append(f" · {finding.severity.value}", style="dim")
    if finding.location is not None:
        head.append(f"  {finding.location}", style="cyan")
    body: list[RenderableType] = [Text(finding.message)]
    if finding.standing is Standing.REFUTED and finding.worth is not None:
        body.append(Text(f"without effect: {words.how_we_know(finding.worth, finding.worth.unit)}", style="green"))
    elif finding.standing is not Standing.SUSPECTED or finding.worth is not None:
        body.append(Text(f"effect: {words.fix_effect(finding.worth)}"))
        if finding.worth is not None and finding.worth.note:
            body.append(Text(finding.worth.note, style="dim"))
        if shared:
            body.append(Text(shared, style="dim"))
    if finding.standing is not Standing.REFUTED:
        body += _remedy(finding.remedy)
    return Group(head, Padding(Group(*body), (0, 0, 1, 2)))


def _remedy(remedy: str) -> list[RenderableType]:
    parsed = remedies.parse(remedy)
    lines: list[RenderableType] = [Text(f"remedy: {' '.join(parsed.paragraphs)}")] if parsed.paragraphs else []
    for block in parsed.code:
        mark = {"before": "- ", "after": "+ "}.get(block.kind, "  ")
        style = {"before": "red", "after": "green"}.get(block.kind, "")
        code = "\n".join(f"{mark}{line}" for line in block.text.splitlines())
        lines.append(Padding(Text(code, style=style), (0, 0, 0, 2)))
    return lines


def _trials(table: TrialTable, told: Collection[str]) -> list[RenderableType]:
    rows = trial_tables.tables(table)
    effects = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    effects.add_column("")
    effects.add_column("treatment (findings)", overflow="fold")
    effects.add_column("alone", no_wrap=True)
    effects.add_column("given the rest", no_wrap=True)
    effects.add_column("verdict", no_wrap=True)
    for row in rows.treatments:
        verdict = row.result.verdict
        codes = f" ({', '.join(row.result.codes)})" if row.result.codes else ""
        effects.add_row(
            row.letter,
            row.result.treatment + codes,
            "\n".join(row.alone).strip(),
            "\n".join(row.given_rest).strip(),
            Text(verdict.value, style=_VERDICT_STYLE[verdict]),
        )
    arms = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    arms.add_column("in place", no_wrap=True)
    arms.add_column("arm")
    arms.add_column(f"{rows.metric}, by seed", no_wrap=True)
    arms.add_column("mean ± sd", no_wrap=True)
    for arm in rows.arms:
        letters = "".join(row.letter if there else "·" for row, there in zip(rows.treatments, arm.present, strict=True))
        seeds = "  ".join(words.number(value) for value in arm.arm.values)
        arms.add_row(letters, arm.arm.name + (" (settled)" if arm.arm.settled else ""), seeds, arm.summary)
    for item in rows.baselines:
        arms.add_row("", Text(f"baseline: {item.baseline.name}", style="dim"), "", Text(item.summary, style="dim"))
    about = (
        f"{words.count(len(table.seeds), 'paired seed')}, {words.count(table.steps, 'step')}, "
        f"{format_duration(table.seconds)}"
        f"{'' if table.complete else '; the budget ended before every arm was run'}"
    )
    noted = [row.result for row in rows.treatments if row.result.note and row.result.note not in told]
    notes = [f"{result.treatment}: {result.note}" for result in noted]
    lines = [Text(note, style="dim") for note in (*notes, *table.notes)]
    body = Group(Text(f"change of {rows.metric}, 95 % interval, positive is better", style="dim"), effects)
    return [
        _block(f"Trials: {about}", Group(body, *lines)),
        _block("Every arm", arms),
    ]


def _listing(rows: Sequence[Sequence[str]], run_on: Sequence[str]) -> RenderableType:
    """Rows of subject and detail, then subjects without one, separated by commas."""
    table: list[RenderableType] = [_plain_table((), rows)] if rows else []
    return Group(*table, *([Text(", ".join(run_on))] if run_on else []))


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    width = max([len(head), *[len(row) for row in rows]], default=1)
    table = Table(box=SIMPLE if head else None, show_header=bool(head), pad_edge=False, show_edge=False)
    for index in range(width):
        table.add_column(head[index] if index < len(head) else "", overflow="fold")
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def written(paths: list[Path], *, file: TextIO | None = None) -> None:
    """Say where the files are."""
    console = Console(file=file, highlight=False, soft_wrap=True)
    for path in paths:
        console.print(Text(f"written: {path}", style="dim"))
