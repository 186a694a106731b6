"""``report.md``: for a pull request, a wiki or a mail. Pictures are PNG files beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from traindx.diagnosis import Diagnosis, TrialTable
from traindx.durations import format_duration
from traindx.finding import Finding, Standing, Verdict
from traindx.report import remedies, trial_tables, words
from traindx.report.coverage import elsewhere_text, unexamined
from traindx.report.pictures import Arrays, no_arrays, panels, strip
from traindx.report.printable import printable
from traindx.report.sections import sections
from traindx.report.source import excerpt


def render(
    diagnosis: Diagnosis, arrays: Arrays = no_arrays, *, directory: Path | None = None, root: Path | None = None
) -> str:
    """The report as Markdown.

    Args:
        diagnosis: What to show.
        arrays: Loader of the pictures' arrays.
        directory: Where PNG files are written (``pictures/*.png``); without it there are no pictures.
        root: Directory that relative source paths start from; the working directory by default.
    """
    diagnosis = printable(diagnosis)
    pictures = _written(diagnosis, arrays, directory) if directory is not None else {}
    blocks = [
        f"# {_plain(diagnosis.case)}: {words.outcome_word(diagnosis)}",
        f"**{_plain(words.verdict_sentence(diagnosis))}**",
    ]
    line = words.coverage_line(diagnosis)
    blocks += [_plain(line)] if line else []
    blocks += [_plain(line) for line in words.layout_lines(diagnosis)]
    if diagnosis.errors:
        blocks += ["## What went wrong while looking", *[_fence(error) for error in diagnosis.errors]]
    lead = words.lead_finding(diagnosis)
    standing_findings = [item for item in diagnosis.findings if item.standing is not Standing.REFUTED]
    if standing_findings:
        blocks.append("## Findings")
    for finding in standing_findings:
        blocks += _finding(
            finding, pictures, root, excerpted=finding is lead, shared=words.shared_fix(diagnosis, finding)
        )
    if diagnosis.trials is not None:
        told = {finding.worth.note for finding in diagnosis.findings if finding.worth is not None}
        blocks += _trials(diagnosis.trials, told)
    blocks += _refuted(diagnosis)
    for section in sections(diagnosis):
        blocks += [f"## {_plain(section.title)}", *[_prose(text) for text in section.paragraphs]]
        if section.table is not None:
            blocks.append(_table(section.table.head, section.table.rows))
        blocks += [pictures[name] for name in section.pictures if name in pictures]
    blocks += _lists(diagnosis)
    blocks += _provenance(diagnosis)
    return "\n\n".join(blocks) + "\n"


def _finding(
    finding: Finding, pictures: dict[str, str], root: Path | None, *, excerpted: bool, shared: str
) -> list[str]:
    at = f" at `{finding.location}`" if finding.location is not None else ""
    blocks = [
        f"### {finding.code} {words.display_name(finding)}",
        f"{finding.standing.value} · {finding.severity.value}{at}",
        _prose(finding.message),
    ]
    lines = excerpt(finding.location, root=root) if excerpted else ()
    if lines:
        blocks.append(
            _fence("\n".join(f"{'>' if line.at_fault else ' '}{line.number:5d}  {line.text}" for line in lines))
        )
    blocks.append(f"Effect of the fix: {words.fix_effect(finding.worth)}.")
    if finding.worth is not None and finding.worth.note:
        blocks.append(_prose(finding.worth.note))
    if shared:
        blocks.append(shared)
    if finding.numbers:
        rows = [(name.replace("_", " "), words.measured(value)) for name, value in finding.numbers.items()]
        blocks.append(_table(("measured", ""), rows))
    blocks += [pictures[name] for name in finding.pictures if name in pictures]
    remedy = remedies.parse(finding.remedy)
    if remedy.paragraphs:
        blocks.append(f"Remedy: {_prose(remedy.paragraphs[0])}")
        blocks += [_prose(paragraph) for paragraph in remedy.paragraphs[1:]]
    for code in remedy.code:
        blocks += [f"{code.kind}:", _fence(code.text, "python" if code.kind in ("before", "after") else code.kind)]
    return blocks


def _trials(table: TrialTable, told: Collection[str]) -> list[str]:
    rows = trial_tables.tables(table)
    effects = [
        (
            row.letter,
            row.result.treatment,
            ", ".join(row.result.codes),
            " ".join(row.alone).strip(),
            " ".join(row.given_rest).strip(),
            f"{row.result.verdict.value}{' (bit-identical)' if row.result.bit_identical else ''}",
        )
        for row in rows.treatments
    ]
    arms = [(arm.arm.name + (" (settled)" if arm.arm.settled else ""), arm.summary) for arm in rows.arms]
    arms += [(f"baseline: {item.baseline.name}", item.summary) for item in rows.baselines]
    about = (
        f"{words.count(len(table.seeds), 'paired seed')}, {words.count(table.steps, 'optimiser step')} an arm, "
        f"{format_duration(table.seconds)}{'' if table.complete else '; the budget ended before every arm was run'}. "
        f"Change of {rows.metric} with its 95 % interval; positive is better."
    )
    blocks = ["## Trials", about]
    if effects:
        blocks.append(_table(("", "treatment", "findings", "alone", "given the rest", "verdict"), effects))
    if arms:
        blocks.append(_table(("arm", f"{rows.metric}, mean ± sd"), arms))
    noted = [row.result for row in rows.treatments if row.result.note and row.result.note not in told]
    notes = [f"{result.treatment}: {result.note}" for result in noted]
    if notes or table.notes:
        blocks.append("\n".join(f"- {_prose(note)}" for note in (*notes, *table.notes)))
    return blocks


def _refuted(diagnosis: Diagnosis) -> list[str]:
    lines = []
    for finding in words.refuted_findings(diagnosis):
        why = words.how_we_know(finding.worth, finding.worth.unit) if finding.worth else "A trial refuted it."
        at = f" at `{finding.location}`" if finding.location is not None else ""
        told = _prose(f"{why} The suspicion was: {finding.message}")
        lines.append(f"- **{finding.code} {words.display_name(finding)}**{at}: {told}")
    unit = diagnosis.trials.unit if diagnosis.trials is not None else ""
    without_effect = words.results_without_finding(diagnosis, Verdict.NO_EFFECT)
    lines += [f"- **{result.treatment}**: {words.how_we_know(result, unit)}" for result in without_effect]
    return ["## No effect, and how we know", "\n".join(lines)] if lines else []


def _lists(diagnosis: Diagnosis) -> list[str]:
    blocks = []
    if diagnosis.healthy:
        blocks.append("## In order")
        told, silent = words.in_order(diagnosis)
        blocks += [_table(("subject", "detail"), told)] if told else []
        blocks += [_prose(", ".join(silent))] if silent else []
    missing = unexamined(diagnosis)
    if missing:
        blocks.append("## Not examined")
        for group in missing:
            blocks += [f"### {group.title}", _table(("what", "why"), group.rows)]
    apart = elsewhere_text(diagnosis)
    if apart:
        blocks += ["## Not about this program", *[_prose(sentence) for sentence in apart]]
    return blocks


def _provenance(diagnosis: Diagnosis) -> list[str]:
    source = diagnosis.provenance
    facts = [
        f"traindx {source.traindx}" if source.traindx else "",
        f"Python {source.python}" if source.python else "",
        f"PyTorch {source.torch}" if source.torch else "",
        source.platform,
        source.started,
        f"seed {source.seed}",
        f"schema {diagnosis.schema_version}",
    ]
    blocks = ["---", " · ".join(fact for fact in facts if fact)]
    if source.command:
        blocks.append(_fence(source.command))
    return blocks


def _written(diagnosis: Diagnosis, arrays: Arrays, directory: Path) -> dict[str, str]:
    """Write the pictures as PNG; the Markdown that shows each, by name."""
    shown: dict[str, str] = {}
    for picture in diagnosis.pictures:
        found = panels(picture, arrays)
        if not found:
            continue
        path = Path("pictures") / f"{Path(picture.file or picture.name).stem}.png"
        (directory / path.parent).mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(strip(found))
        labels = " · ".join(label for label in picture.labels if label)
        shown[picture.name] = f"![{_plain(picture.caption)}]({path.as_posix()})\n\n{picture.caption}" + (
            f" ({labels})" if labels else ""
        )
    return shown


def _plain(text: str) -> str:
    """Text for a heading, a caption or bold type: one line, and its brackets are no link."""
    return _prose(" ".join(text.split())).replace("[", "\\[").replace("]", "\\]")


def _prose(text: str) -> str:
    """Text in which ``<`` outside of `code` cannot start an HTML tag."""
    pieces = text.split("`")
    outside = range(0, len(pieces), 2)
    return "`".join(piece.replace("<", "&lt;") if index in outside else piece for index, piece in enumerate(pieces))


def _fence(text: str, language: str = "") -> str:
    marks = "```" if "```" not in text else "~~~~"
    return f"{marks}{language}\n{text}\n{marks}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())).replace("|", "\\|")
