"""From what a watched script left behind to a diagnosis: rules, what was healthy, what was not seen and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from traindx import pipeline
from traindx.diagnosis import Diagnosis, ranked
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
from traindx.evidence.observed import IterationsSeen, LossSeries, NetworkCalls, ScriptRun
from traindx.evidence.observed_optim import GradientSeries
from traindx.evidence.sampled import NoisedDraws
from traindx.finding import Finding
from traindx.host.forecasting import loss_forecast
from traindx.host.ranks_compared import compare, not_compared
from traindx.host.sampling_loops import sampling_loops
from traindx.host.scope import ENDED_BADLY, ScriptScope
from traindx.host.symptoms import symptoms
from traindx.host.translate import translated
from traindx.notebooks import split_name
from traindx.rules import Rule
from traindx.watch.runtime.settings import BLIND_FILE


def diagnose(
    directory: Path,
    run: ScriptRun,
    *,
    chosen: Sequence[Rule] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
    started: str = "",
    trained_elsewhere: Sequence[NoisedDraws] = (),
) -> Diagnosis:
    """Apply the rules to what was seen of a script.

    Args:
        directory: Evidence directory; ``diagnosis.json`` is written there.
        run: How the script ended; appended to the evidence.
        chosen: Rules to apply, all by default.
        thresholds: Overrides by code.
        command: The command line, for provenance.
        started: ISO time at which the script was started.
        trained_elsewhere: How networks were trained that this script may only use.
    """
    evidence = Evidence.load(directory) if (directory / "evidence.jsonl").exists() else Evidence()
    evidence.add(run)
    with (directory / "evidence.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"kind": run.kind, **run.model_dump(mode="json", exclude_defaults=True)}) + "\n")
    for added in (compare(directory), not_compared(directory), loss_forecast(evidence)):
        if added is not None:
            evidence.add(added)
    for record in (*translated(evidence), *sampling_loops(evidence, trained_elsewhere)):
        evidence.add(record)
    scope = ScriptScope.of(evidence, run)
    unexplained = symptoms(evidence)
    judged = pipeline.judge(evidence, scope, chosen=chosen, thresholds=thresholds)
    errors = [*ending_as_error(run), *judged.errors]
    failed_watching = directory / BLIND_FILE
    if failed_watching.exists():
        errors.insert(0, f"nothing could be watched: {failed_watching.read_text(encoding='utf-8')}")
    diagnosis = Diagnosis(
        case=" ".join([run.target, *run.arguments]),
        outcome=pipeline.outcome(judged.findings, enough=judged.coverage.enough),
        findings=ranked(judged.findings),
        healthy=(*seen(evidence, scope), *evidence.of(InOrder), *judged.in_order),
        not_examined=pipeline.once((*scope.notes(), *evidence.of(NotExamined), *judged.not_examined)),
        coverage=judged.coverage,
        pictures=tuple(evidence.of(Picture)),
        curves=(*evidence.of(Curve), *curves(evidence)),
        errors=tuple(errors),
        provenance=pipeline.provenance(command, started, run.seconds),
        extras={
            "script": run.model_dump(mode="json"),
            "sources": sources(judged.findings),
            **({"symptoms": list(unexplained)} if unexplained else {}),
        },
    )
    (directory / "diagnosis.json").write_text(diagnosis.model_dump_json(indent=2), encoding="utf-8")
    return diagnosis


def sources(findings: Iterable[Finding]) -> dict[str, str]:
    """SHA-256 of the files that findings name, so that a patch made later knows whether its lines still hold."""
    places = {finding.location.file for finding in findings if finding.location is not None}
    files = {place: Path((split_name(place) or (place, 0))[0]) for place in sorted(places)}
    return {place: hashlib.sha256(path.read_bytes()).hexdigest() for place, path in files.items() if path.is_file()}


def ending_as_error(run: ScriptRun) -> list[str]:
    """A sentence about a script that did not end as it should, with file and line."""
    if run.ending not in ENDED_BADLY:
        return []
    place = f"{run.where}: " if run.where is not None else ""
    which = f" ({'; '.join(run.left_behind[:3])})" if run.left_behind else ""
    left = f"; {run.orphans} processes it left behind were ended{which}" if run.orphans else ""
    return [f"{place}{ENDED_BADLY[run.ending]} after {run.seconds:.0f} s: {first_line(run.message)}{left}"]


def first_line(text: str) -> str:
    """An exception's text without the essay that some libraries add."""
    return text.split("\n", maxsplit=1)[0][:300]


def seen(evidence: Evidence, scope: ScriptScope) -> list[InOrder]:
    """How much was looked at, in one line."""
    iterations = evidence.last(IterationsSeen)
    calls = evidence.of(NetworkCalls)
    phases = ", ".join(sorted({call.phase for call in calls}))
    if scope.infers:
        lines = len({call.where for call in calls})
        detail = f"{sum(call.calls for call in calls)} network calls at {lines} {'line' if lines == 1 else 'lines'}"
        return [InOrder(subject="the run was watched", detail=f"{detail}; nothing is trained in it; phases: {phases}")]
    if iterations is None or not iterations.iterations:
        return []
    detail = f"{iterations.iterations} iterations, {iterations.watched} of them closely; phases seen: {phases}"
    return [InOrder(subject="the run was watched", detail=detail)]


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
