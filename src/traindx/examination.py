"""The examination: puts checks, rules, trials and the diagnosis in order. The only module that knows them all.

Order: does the case run at all → checks before training → train the control → checks after training → rules → trials →
ranking → diagnosis. A failure of any step is written into the diagnosis and never loses what was gathered before.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from traindx import checks, rules
from traindx.checks.base import CheckContext
from traindx.core.frames import raised_at
from traindx.diagnosis import Diagnosis, Outcome, Provenance, TrialTable, ranked
from traindx.durations import seconds as parse_seconds
from traindx.errors import InputError, TraindxError
from traindx.evidence import Curve, Evidence, InOrder, NotExamined, Picture
from traindx.finding import Finding, Standing
from traindx.preflight import check_it_runs
from traindx.progress import Listener, Progress, silent

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.trials.executor import CaseReference


@dataclass
class _Session:
    """What one examination has gathered so far: enough to write a diagnosis at any moment."""

    case_name: str
    evidence: Evidence
    command: str
    seed: int
    started: float = field(default_factory=time.monotonic)
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    findings: list[Finding] = field(default_factory=list)
    trials: TrialTable | None = None
    errors: list[str] = field(default_factory=list)
    in_order: list[InOrder] = field(default_factory=list)
    unapplied_rules: list[NotExamined] = field(default_factory=list)
    fatal: bool = False

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of what is known now."""
        fault_found = any(finding.standing.rank > Standing.SUSPECTED.rank for finding in self.findings)
        seen = bool(self.in_order or self.findings)
        if fault_found:
            outcome = Outcome.FAULT_FOUND
        elif self.fatal or not seen:
            outcome = Outcome.NOT_ENOUGH_SEEN
        else:
            outcome = Outcome.NOTHING_FOUND
        return Diagnosis(
            case=self.case_name,
            outcome=outcome,
            findings=ranked(self.findings),
            trials=self.trials,
            healthy=(*self.evidence.of(InOrder), *self.in_order),
            not_examined=_once((*self.evidence.of(NotExamined), *self.unapplied_rules)),
            pictures=tuple(self.evidence.of(Picture)),
            curves=tuple(self.evidence.of(Curve)),
            errors=tuple(self.errors),
            provenance=provenance(self.command, self.when, time.monotonic() - self.started, self.seed),
        )


def examine(
    case: Case,
    *,
    budget: str | float = "3m",
    seeds: Sequence[int] = (0, 1, 2),
    out: Path | str | None = None,
    reference: CaseReference | None = None,
    select: Iterable[str] | None = None,
    ignore: Iterable[str] | None = None,
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
    progress: Listener | None = None,
    command: str = "",
    seed: int = 0,
    workers: int | None = None,
) -> Diagnosis:
    """Examine a case: find faults, prove them by counterfactual runs, and rank them by what they are worth.

    Args:
        case: What to examine.
        budget: Time for training and trials, for example ``"3m"``; ``"0s"`` examines before training only.
        seeds: Seeds of the paired trials; three or more give intervals.
        out: Directory for ``evidence.jsonl``, ``pictures/``, ``trials.jsonl`` and ``diagnosis.json``; an examination
            that was interrupted continues there. None keeps everything in memory.
        reference: How worker processes can build this case again; without it trials run in this process.
        select: Rule codes or prefixes to apply (all by default).
        ignore: Rule codes or prefixes to leave out.
        thresholds: ``{code: {threshold: value}}`` overrides.
        progress: Called with a :class:`~traindx.progress.Progress` while working.
        command: The command line, for provenance.
        seed: Seed of everything random in the checks.
        workers: Processes for trials; as many as there are cores by default.

    Returns:
        The diagnosis. A case that cannot be run gives one with outcome *not enough seen* and its ``errors`` filled.

    Raises:
        UsageError: The budget or a rule code cannot be read.
        KeyboardInterrupt: Passed on after the diagnosis of what was gathered was written.
    """
    listen = progress or silent
    limit = parse_seconds(budget)
    chosen = selected_rules(select, ignore)
    directory = Path(out) if out is not None else None
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "evidence.jsonl").unlink(missing_ok=True)
    session = _Session(case.name, Evidence(directory), command, seed)
    try:
        with case.open():
            ctx = CheckContext(case, session.evidence, seed=seed)
            check_it_runs(ctx)
            _sit(ctx, "before", session, listen)
            if limit > 0:
                _train_and_try(ctx, session, chosen, limit, seeds, reference, directory, thresholds, listen, workers)
            else:
                session.evidence.add(NotExamined(subject="trials", reason="the budget is zero, so nothing was trained"))
            if session.trials is None:
                _judge(session, chosen, thresholds)
    except TraindxError as error:
        session.errors.append(str(error))
        session.fatal = True
        _judge(session, chosen, thresholds)
    finally:
        session.evidence.close()
        diagnosis = session.diagnosis()
        if directory is not None:
            (directory / "diagnosis.json").write_text(diagnosis.model_dump_json(indent=2), encoding="utf-8")
    return diagnosis


def _train_and_try(
    ctx: CheckContext,
    session: _Session,
    chosen: Sequence[rules.Rule],
    limit: float,
    seeds: Sequence[int],
    reference: CaseReference | None,
    directory: Path | None,
    thresholds: Mapping[str, Mapping[str, float]] | None,
    listen: Listener,
    workers: int | None,
) -> None:
    """Train the control, run the checks that need it, judge, and run the trials that the findings propose."""
    from traindx import trials
    from traindx.core.randomness import seed_of

    case = ctx.case
    lacking = [part for part in ("loss", "target", "metrics") if not case.has(part)]
    if lacking:
        reason = f"the case has no {', '.join(lacking)}, so no run can be judged"
        session.evidence.add(NotExamined(subject="trials", reason=reason))
        return
    deadline = time.monotonic() + limit
    control = trials.train_control(
        case,
        seeds[0],
        deadline=deadline,
        directory=directory,
        progress=listen,
        reference=reference,
        workers=workers,
    )
    ctx.trained = control.model
    ctx.initial_seed = seed_of("weights", control.seed)
    session.evidence.add(
        Curve(
            name="control-loss",
            caption="Training loss of the case as it is",
            x=tuple(float(step) for step in range(len(control.losses))),
            series={"loss": tuple(control.losses)},
            x_label="optimiser step",
            y_label="loss",
            log_y=min(control.losses, default=0.0) > 0,
        )
    )
    _sit(ctx, "after", session, listen)
    _judge(session, chosen, thresholds)
    session.trials = trials.run_trials(
        case,
        session.findings,
        budget=max(0.0, deadline - time.monotonic()),
        seeds=tuple(seeds),
        reference=reference,
        directory=directory,
        progress=listen,
        control=control,
        workers=workers,
    )
    session.findings = trials.apply_results(session.findings, session.trials)


def _sit(ctx: CheckContext, phase: str, session: _Session, listen: Listener) -> None:
    """Run all checks of a phase. One that raises is listed as not examined, with the user's file and line."""
    catalogue = [item for item in checks.catalogue() if item.phase == phase]
    for number, item in enumerate(catalogue):
        listen(Progress("exams", item.title, number, len(catalogue)))
        missing = item.missing(ctx.case)
        if missing:
            reason = f"the case does not describe {', '.join(missing)}"
            session.evidence.add(NotExamined(subject=item.title, reason=reason))
            continue
        try:
            item.function(ctx)
        except Exception as error:
            place = raised_at(error)
            reason = f"the check stopped: {type(error).__name__}: {error}" + (f" at {place}" if place else "")
            session.evidence.add(NotExamined(subject=item.title, reason=reason, where=place))
            session.errors.append(f"{item.name}: {reason}")
    listen(Progress("exams", "done", len(catalogue), len(catalogue)))


def _judge(
    session: _Session, chosen: Sequence[rules.Rule], thresholds: Mapping[str, Mapping[str, float]] | None
) -> None:
    """Apply the rules to all evidence. A rule that crashes is reported as such and never stops the examination."""
    session.findings.clear()
    session.in_order.clear()
    session.unapplied_rules.clear()
    for item in chosen:
        if not item.applies(session.evidence):
            needs = ", ".join(kind.__name__ for kind in item.needs)
            session.unapplied_rules.append(
                NotExamined(subject=f"{item.code} {item.name}", reason=f"no evidence of kind {needs} was gathered")
            )
            continue
        try:
            found = item.check(session.evidence, (thresholds or {}).get(item.code))
        except TraindxError:
            raise
        except Exception as error:
            session.errors.append(f"rule {item.code} failed: {type(error).__name__}: {error} at {raised_at(error)}")
            continue
        session.findings.extend(found)
        if not found:
            session.in_order.append(InOrder(subject=f"{item.code} {item.name}"))


def selected_rules(select: Iterable[str] | None, ignore: Iterable[str] | None) -> list[rules.Rule]:
    """Rules chosen by codes or prefixes, as ruff users expect.

    Raises:
        InputError: A code or prefix matches nothing.
    """
    catalogue = rules.catalogue()
    for prefix in [*(select or ()), *(ignore or ())]:
        if not any(code.startswith(prefix.upper()) for code in catalogue):
            raise InputError(f"no rule begins with {prefix!r}", expected="a code or prefix", do="see `traindx rules`")
    wanted = tuple(prefix.upper() for prefix in select or ())
    unwanted = tuple(prefix.upper() for prefix in ignore or ())
    return [
        item
        for code, item in catalogue.items()
        if (not wanted or code.startswith(wanted)) and not (unwanted and code.startswith(unwanted))
    ]


def provenance(command: str, when: str, seconds: float, seed: int) -> Provenance:
    """Versions, command and time: enough to repeat an examination."""
    import torch

    from traindx import __version__

    return Provenance(
        traindx=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        platform=f"{sys.platform} {platform.machine()}",
        command=command,
        started=when,
        seconds=round(seconds, 2),
        seed=seed,
    )


def _once(records: Iterable[NotExamined]) -> tuple[NotExamined, ...]:
    """Each subject once, the first reason kept."""
    seen: dict[str, NotExamined] = {}
    for record in records:
        seen.setdefault(record.subject, record)
    return tuple(seen.values())
