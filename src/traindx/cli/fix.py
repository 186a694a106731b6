"""``traindx fix``: a minimal patch for a finding, shown first and written only on request."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindx.errors import InputError, UsageError
from traindx.notebooks import split_name

if TYPE_CHECKING:
    from traindx.finding import Finding
    from traindx.fix import Patch, Report

EXAMPLES = ("traindx fix", "traindx fix 1", "traindx fix 1 --apply")

NO_PATCH = 1


def fix(
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Number of a finding in the report; without it they are listed")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the patch to the file")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --apply: also to a file with changes that are not committed")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Report: a folder or a diagnosis.json (the newest by default)"),
    ] = None,
) -> None:
    """Show a minimal patch of your source for a finding; write it with --apply.

    Only a file that git tracks is written, and only if it has no other changes. What paired runs said of the fix stands
    beside it, and one that did harm is written with --force only. A finding whose fix the source does
    not say clearly has no patch: its remedy is shown instead.

    Exit code: 0 patch shown or written, 1 no safe patch, 2 wrong usage or a file that must not be written.
    """
    from traindx.fix.report import newest_report, read_report

    if number is None and (apply or force):
        raise UsageError("--apply needs the number of a finding", do="list them: `traindx fix`")
    if force and not apply:
        raise UsageError("--force without --apply does nothing", expected="--apply --force")
    chosen = read_report(report) if report is not None else newest_report()
    if number is None:
        _list(chosen)
        return
    finding = chosen.finding(number)
    _refuse_if_changed(chosen, finding)
    patch = _patch(finding)
    if patch is None:
        _explain(number, finding)
        raise typer.Exit(NO_PATCH)
    print(f"{finding.code} {finding.name} at {finding.location}: {patch.title}.")
    if patch.note:
        print(patch.note)
    tried = trial_of(finding)
    if tried:
        print(tried)
    print()
    print(patch.diff, end="")
    if not apply:
        print(f"\nNothing was written. To write it: traindx fix {number} --apply")
        return
    from traindx.fix.writing import write

    if is_harmful(finding) and not force:
        raise InputError(
            f"in paired runs this fix did harm. {tried}",
            expected="a fix that its trial does not speak against",
            do="--force, if you know better",
        )
    if finding.location is None or not chosen.knows(finding.location.file):
        raise InputError(
            f"{chosen.path} does not hold the fingerprint of {patch.path}: it may be another file than that",
            expected="a report of this version of traindx",
            do="examine again, or apply the printed patch yourself",
        )
    write(patch, force=force)
    print(f"\nwritten: {patch.path}. Examine again to see that the finding is gone.")


def trial_of(finding: Finding) -> str:
    """What paired runs said of this fix; empty where there were none."""
    worth = finding.worth
    if worth is None:
        return ""
    effect = worth.alone or worth.given_rest
    said = ""
    if effect is not None and math.isfinite(effect.mean):
        said = f": {worth.metric} {effect.mean:+.3g}"
        if math.isfinite(effect.low):
            said += f" [{effect.low:+.3g}, {effect.high:+.3g}]"
        said = f"{said} {worth.unit}".rstrip() + " (positive is better)"
    return f"Its trial: {worth.verdict.value}{said}."


def is_harmful(finding: Finding) -> bool:
    """Paired runs say that the figure is worse with every fix of it that was tried."""
    from traindx.finding import Verdict

    return finding.worth is not None and finding.worth.verdict is Verdict.HARMFUL


def _patch(finding: Finding) -> Patch | None:
    from libcst import ParserSyntaxError

    from traindx.fix import patch_for

    try:
        return patch_for(finding)
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename} does not exist",
            expected="the file that was examined, seen from this folder",
            do="go to the folder in which it was examined",
        ) from error
    except (OSError, ParserSyntaxError) as error:
        raise InputError(f"{finding.location} cannot be read: {error}") from error


def _refuse_if_changed(report: Report, finding: Finding) -> None:
    place = finding.location
    if place is None:
        return
    parts = split_name(place.file)
    file = Path(parts[0] if parts is not None else place.file)
    if file.is_file() and report.changed_since(file, place.file):
        raise InputError(
            f"{file} was changed since it was examined, so {place} may be another line",
            expected=f"the file as it was when {report.path} was written",
            do="examine again",
        )


def _list(report: Report) -> None:
    findings = report.diagnosis.findings
    print(f"{report.path}: {report.diagnosis.case}")
    if not findings:
        print("  no findings")
    for number, finding in enumerate(findings, start=1):
        try:
            _refuse_if_changed(report, finding)
            patch = _patch(finding)
        except InputError as error:
            said = error.found
        else:
            said = patch.title if patch is not None else "no safe patch"
            if patch is not None and finding.worth is not None:
                said += f" (trial: {finding.worth.verdict.value})"
        place = finding.location or "no line"
        print(f"  {number}  {finding.code} {finding.name}, {finding.standing.value}, {place}: {said}")


def _explain(number: int, finding: Finding) -> None:
    print(f"Finding {number}, {finding.code} {finding.name} at {finding.location or 'no line'}, has no safe patch:")
    print("the source does not say clearly what to change.")
    print(f"\n{finding.message}")
    if finding.remedy:
        print(f"\nRemedy: {finding.remedy}")
