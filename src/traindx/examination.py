"""The examination: puts checks, rules, trials and the diagnosis in order. The only module that knows them all.

Order: does the case run at all → checks before training → train the control → checks after training → rules → trials →
ranking → diagnosis. A failure of any step is written into the diagnosis and never loses what was gathered before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from traindx import checks, pipeline
from traindx.case_scope import CaseScope, foreign_parts
from traindx.checks.base import CheckContext
from traindx.core.frames import raised_at
from traindx.diagnosis import Coverage, Diagnosis, TrialTable, ranked
from traindx.durations import seconds as parse_seconds
from traindx.errors import TraindxError
from traindx.evidence import Action, Curve, Evidence, InOrder, NotExamined, Picture
from traindx.finding import Finding
from traindx.preflight import check_it_runs
from traindx.progress import Listener, Progress, silent

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.rules import Rule
    from traindx.trials.executor import CaseReference


@dataclass
class _Session:
    """What one examination has gathered so far: enough to write a diagnosis at any moment."""

    case: Case
    evidence: Evidence
    command: str
    seed: int
    chosen: tuple[Rule, ...]
    thresholds: pipeline.Thresholds | None = None
    started: float = field(default_factory=time.monotonic)
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    findings: list[Finding] = field(default_factory=list)
    trials: TrialTable | None = None
    errors: list[str] = field(default_factory=list)
    judged: pipeline.RuleResults = field(default_factory=lambda: pipeline.RuleResults(coverage=Coverage(enough=False)))

    def judge(self, *, trained: bool = False, broken: bool = False) -> None:
        """Apply the rules to everything that was gathered.

        Args:
            trained: A control was trained.
            broken: The case cannot be used, so that silence means nothing.
        """
        unseen = () if self.case.has("val") else ("no validation batches were given",)
        scope = CaseScope(case=self.case, trained=trained, enough=not broken, unseen=unseen)
        self.judged = pipeline.judge(self.evidence, scope, chosen=self.chosen, thresholds=self.thresholds)
        self.findings = list(self.judged.findings)

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of what is known now."""
        return Diagnosis(
            case=self.case.name,
            outcome=pipeline.outcome(self.findings, enough=self.judged.coverage.enough),
            findings=ranked(self.findings),
            trials=self.trials,
            healthy=(*self.evidence.of(InOrder), *self.judged.in_order),
            not_examined=pipeline.once((*self.evidence.of(NotExamined), *self.judged.not_examined)),
            coverage=self.judged.coverage,
            pictures=tuple(self.evidence.of(Picture)),
            curves=tuple(self.evidence.of(Curve)),
            errors=(*self.errors, *self.judged.errors),
            provenance=pipeline.provenance(self.command, self.when, time.monotonic() - self.started, self.seed),
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
    executor: str = "processes",
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
        executor: Where trials run: ``processes`` of this machine, ``ray`` for a local Ray cluster, ``ray:ADDRESS``.

    Returns:
        The diagnosis. A case that cannot be run gives one with outcome *not enough seen* and its ``errors`` filled.

    Raises:
        UsageError: The budget, a rule code or the executor cannot be read.
        KeyboardInterrupt: Passed on after the diagnosis of what was gathered was written.
    """
    listen = progress or silent
    limit = parse_seconds(budget)
    chosen = tuple(pipeline.select(select, ignore))
    directory = Path(out) if out is not None else None
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "evidence.jsonl").unlink(missing_ok=True)
    session = _Session(case, Evidence(directory), command, seed, chosen, thresholds)
    try:
        with case.open():
            ctx = CheckContext(case, session.evidence, seed=seed)
            check_it_runs(ctx)
            _run_checks(ctx, "before", session, listen)

            if limit > 0:
                _train_and_try(ctx, session, limit, seeds, reference, directory, listen, workers, executor)
            else:
                session.evidence.add(_untrained("the budget is zero, so nothing was trained", Action.GIVE))
            if session.trials is None:
                session.judge(trained=ctx.trained is not None)
    except TraindxError as error:
        session.errors.append(str(error))
        session.judge(broken=True)
    finally:
        session.evidence.close()
        diagnosis = session.diagnosis()
        if directory is not None:
            (directory / "diagnosis.json").write_text(diagnosis.model_dump_json(indent=2), encoding="utf-8")
    return diagnosis


def _train_and_try(
    ctx: CheckContext,
    session: _Session,
    limit: float,
    seeds: Sequence[int],
    reference: CaseReference | None,
    directory: Path | None,
    listen: Listener,
    workers: int | None,
    executor: str,
) -> None:
    """Train the control, run the checks that need it, judge, and run the trials that the findings propose."""
    from traindx import trials
    from traindx.core.randomness import seed_of

    case = ctx.case
    lacking = [part for part in ("loss", "target", "metrics") if not case.has(part)]
    if lacking:
        reason = f"the case has no {', '.join(lacking)}, so no run can be judged"
        session.evidence.add(_untrained(reason, Action.DESCRIBE))
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
    _run_checks(ctx, "after", session, listen)
    session.judge(trained=True)
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
        executor=executor,
    )
    session.findings = trials.apply_results(session.findings, session.trials)


def _untrained(reason: str, action: Action) -> NotExamined:
    return NotExamined(subject="trials", reason=reason, action=action)


def _run_checks(ctx: CheckContext, phase: str, session: _Session, listen: Listener) -> None:
    """Run all checks of a phase. One that raises is listed as not examined, with the user's file and line."""
    catalogue = [item for item in checks.catalogue() if item.phase == phase]
    for number, item in enumerate(catalogue):
        listen(Progress("checks", item.title, number, len(catalogue)))
        missing = item.missing(ctx.case)
        if missing:
            if not foreign_parts(ctx.case, missing):
                reason = f"the case does not describe {', '.join(missing)}"
                session.evidence.add(NotExamined(subject=item.title, reason=reason, action=Action.DESCRIBE))
            continue
        try:
            item.function(ctx)
        except Exception as error:
            place = raised_at(error)
            reason = f"the check stopped: {type(error).__name__}: {error}" + (f" at {place}" if place else "")
            session.evidence.add(
                NotExamined(
                    subject=item.title,
                    reason=reason,
                    where=place,
                    action=Action.REPAIR,
                    incomplete=tuple(kind.__name__ for kind in item.gives),
                )
            )
            session.errors.append(f"{item.name}: {reason}")
    listen(Progress("checks", "done", len(catalogue), len(catalogue)))
