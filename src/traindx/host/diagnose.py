"""From what a watched script left behind to a diagnosis: rules, what was healthy, what was not seen and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from traindx import rules
from traindx.core.frames import raised_at
from traindx.diagnosis import Diagnosis, Outcome, ranked
from traindx.errors import TraindxError
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
from traindx.evidence.observed import Ending, IterationsSeen, LossSeries, NetworkCalls, ScriptRun
from traindx.evidence.observed_optim import GradientSeries
from traindx.examination import provenance
from traindx.finding import Finding, Standing
from traindx.host.forecasting import loss_forecast
from traindx.host.ranks_compared import compare, not_compared
from traindx.host.translate import translated
from traindx.rules import Rule
from traindx.watch.runtime.settings import BLIND_FILE

ENOUGH = 3  # iterations below which nothing can be called healthy

_ENDED_BADLY = {
    Ending.CRASHED: "the script raised",
    Ending.HUNG: "the script made no progress",
    Ending.KILLED: "the script was killed",
    Ending.EXITED: "the script left early",
    Ending.INTERRUPTED: "the script was interrupted",
    Ending.NOT_STARTED: "the script could not be started",
}


def diagnose(
    directory: Path,
    run: ScriptRun,
    *,
    chosen: Sequence[Rule] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
    started: str = "",
) -> Diagnosis:
    """Apply the rules to what was seen of a script.

    Args:
        directory: Evidence directory; ``diagnosis.json`` is written there.
        run: How the script ended; appended to the evidence.
        chosen: Rules to apply, all by default.
        thresholds: Overrides by code.
        command: The command line, for provenance.
        started: ISO time at which the script was started.
    """
    evidence = Evidence.load(directory) if (directory / "evidence.jsonl").exists() else Evidence()
    evidence.add(run)
    with (directory / "evidence.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"kind": run.kind, **run.model_dump(mode="json", exclude_defaults=True)}) + "\n")
    for added in (compare(directory), not_compared(directory), loss_forecast(evidence)):
        if added is not None:
            evidence.add(added)
    for record in translated(evidence):
        evidence.add(record)
    findings, healthy, missing, errors = judge(evidence, chosen, thresholds)
    failed_watching = directory / BLIND_FILE
    if failed_watching.exists():
        errors = [f"nothing could be watched: {failed_watching.read_text(encoding='utf-8')}", *errors]
    errors = [*ending_as_error(run), *errors]
    notes = unseen(evidence, run)
    diagnosis = Diagnosis(
        case=" ".join([run.target, *run.arguments]),
        outcome=outcome(evidence, run, findings),
        findings=ranked(findings),
        healthy=(*seen(evidence), *evidence.of(InOrder), *healthy),
        not_examined=once((*notes, *evidence.of(NotExamined), *missing)),
        pictures=tuple(evidence.of(Picture)),
        curves=(*evidence.of(Curve), *curves(evidence)),
        errors=tuple(errors),
        provenance=provenance(command, started, run.seconds, 0),
        extras={"script": run.model_dump(mode="json"), "sources": sources(findings)},
    )
    (directory / "diagnosis.json").write_text(diagnosis.model_dump_json(indent=2), encoding="utf-8")
    return diagnosis


def sources(findings: Iterable[Finding]) -> dict[str, str]:
    """SHA-256 of the files that findings name, so that a patch made later knows whether its lines still hold."""
    files = {finding.location.file for finding in findings if finding.location is not None}
    return {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files) if Path(file).is_file()}


def judge(
    evidence: Evidence, chosen: Sequence[Rule] | None, thresholds: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[list[Finding], list[InOrder], list[NotExamined], list[str]]:
    """Findings, silent rules, rules without evidence, and rules that failed."""
    findings: list[Finding] = []
    healthy: list[InOrder] = []
    missing: list[NotExamined] = []
    errors: list[str] = []
    for item in chosen if chosen is not None else list(rules.catalogue().values()):
        title = f"{item.code} {item.name}"
        if not item.applies(evidence):
            missing.append(NotExamined(subject=title, reason="nothing of the kind was seen while the script ran"))
            continue
        try:
            found = item.check(evidence, (thresholds or {}).get(item.code))
        except TraindxError:
            raise
        except Exception as error:
            errors.append(f"rule {item.code} failed: {type(error).__name__}: {error} at {raised_at(error)}")
            continue
        findings.extend(found)
        if not found:
            healthy.append(InOrder(subject=title))
    return findings, healthy, missing, errors


def outcome(evidence: Evidence, run: ScriptRun, findings: Sequence[Finding]) -> Outcome:
    """Guilty if anything was shown; healthy only if enough was seen and the script did not break."""
    if any(finding.standing.rank > Standing.SUSPECTED.rank for finding in findings):
        return Outcome.FAULT_FOUND
    iterations = evidence.last(IterationsSeen)
    enough = iterations is not None and iterations.iterations >= ENOUGH and iterations.driven_by != "nothing"
    return Outcome.NOT_ENOUGH_SEEN if run.ending in _ENDED_BADLY or not enough else Outcome.NOTHING_FOUND


def ending_as_error(run: ScriptRun) -> list[str]:
    """A sentence about a script that did not end as it should, with file and line."""
    if run.ending not in _ENDED_BADLY:
        return []
    place = f"{run.where}: " if run.where is not None else ""
    left = f"; {run.orphans} processes it left behind were ended" if run.orphans else ""
    return [f"{place}{_ENDED_BADLY[run.ending]} after {run.seconds:.0f} s: {first_line(run.message)}{left}"]


def first_line(text: str) -> str:
    """An exception's text without the essay that some libraries add."""
    return text.split("\n", maxsplit=1)[0][:300]


def seen(evidence: Evidence) -> list[InOrder]:
    """How much was looked at, in one line."""
    iterations = evidence.last(IterationsSeen)
    if iterations is None or not iterations.iterations:
        return []
    calls = evidence.of(NetworkCalls)
    phases = ", ".join(sorted({call.phase for call in calls}))
    detail = f"{iterations.iterations} iterations, {iterations.watched} of them closely; phases seen: {phases}"
    return [InOrder(subject="the run was watched", detail=detail)]


def unseen(evidence: Evidence, run: ScriptRun) -> list[NotExamined]:
    """What could not be looked at in this run, and why."""
    found: list[NotExamined] = []
    iterations = evidence.last(IterationsSeen)
    if iterations is None or iterations.driven_by == "nothing":
        reason = "no optimiser took a step and no backward pass was made"
        if iterations is not None and iterations.backwards:
            reason = f"only {iterations.backwards} backward passes and no optimiser step were seen"
        elif iterations is None:
            reason = "the script never imported torch, or ended before it did"
        found.append(NotExamined(subject="training", reason=reason))
        return found
    if iterations.driven_by == "backward":
        found.append(
            NotExamined(subject="optimiser steps", reason="no optimiser of torch took a step; updates are made by hand")
        )
    phases = {call.phase for call in evidence.of(NetworkCalls)}
    if "validation" not in phases and "sampling" not in phases:
        reason = f"none was reached within {iterations.iterations} iterations"
        found.append(NotExamined(subject="validation", reason=reason + (": raise --steps or --until" if run else "")))
    if "training" not in phases:
        reason = "no call of a network with gradients was seen in a watched iteration"
        found.append(NotExamined(subject="network calls in training", reason=reason))
    return found


def curves(evidence: Evidence) -> list[Curve]:
    """Loss and gradient over the run, for the report."""
    return [
        *(
            curve("loss", f"Loss of the backward pass at {series.where}", series.iterations, series.values)
            for series in evidence.of(LossSeries)
            if len(series.values) >= 3
        ),
        *(
            curve("gradient norm", f"Norm of the gradient before the step at {one.where}", one.iterations, one.norms)
            for one in evidence.of(GradientSeries)
            if len(one.norms) >= 3
        ),
    ]


def curve(label: str, caption: str, iterations: Sequence[int], values: Sequence[float]) -> Curve:
    """One curve over iterations."""
    return Curve(
        name=caption.lower(),
        caption=caption,
        x=tuple(float(iteration) for iteration in iterations),
        series={label: tuple(values)},
        x_label="iteration",
        y_label=label,
        log_y=min(values) > 0,
    )


def once(records: Iterable[NotExamined]) -> tuple[NotExamined, ...]:
    """Each subject once, the first reason kept."""
    kept: dict[str, NotExamined] = {}
    for record in records:
        kept.setdefault(record.subject, record)
    return tuple(kept.values())
