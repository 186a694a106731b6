"""Arms of a described case: trained and scored in this process or in workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from traindx.case import Metric
from traindx.diagnosis import Baseline
from traindx.errors import CaseError, TraindxError
from traindx.finding import Finding, Proposal
from traindx.trials.arms import TreatmentSet
from traindx.trials.baselines import trivial_baselines
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.executor import Executor, MayStart, Report
from traindx.trials.jobs import ArmScore, Job, JobResult, describe_error, run_job
from traindx.trials.proposals import resolve
from traindx.trials.resume_log import ResumeLog, fingerprint
from traindx.trials.scoring_metric import ScoringMetric, Units, moved, score_fixed
from traindx.trials.shortlist import Bind, Shortlist
from traindx.trials.training import Trained, train
from traindx.trials.treatment import Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from traindx.case import Case

# steps after which most treatments that change the weights at all have changed them
SCREENING_STEPS = 3


def binding(case: Case) -> Bind:
    """Makes the treatments that findings propose for a case, and applies each once to see that it fits."""

    def bind(proposal: Proposal, finding: Finding) -> Treatment:
        treatment = resolve(proposal, case)
        if treatment is None:
            raise TreatmentUnfitError(f"the case offers no treatment {proposal.treatment!r}")
        treatment.apply(case)
        return treatment

    return bind


class CaseBackend:
    """Trains and scores the arms of a case.

    Args:
        case: The case as it is.
        shortlist: What is tried.
        executor: Where jobs run.
        seeds: Seeds of the pairs.
        steps: Optimiser steps of a training.
        directory: Where ``trials.jsonl`` is kept, from which an interrupted trial goes on.
        control: The case as it is, trained before on the first seed.

    Raises:
        CaseError: The case has no metrics or no target.
    """

    shares_training = True
    idle = True
    slack = 1.0

    def __init__(
        self,
        case: Case,
        shortlist: Shortlist,
        executor: Executor,
        *,
        seeds: Sequence[int],
        steps: int | None = None,
        directory: Path | None = None,
        control: Trained | None = None,
    ) -> None:
        self.case, self.list, self.executor = case, shortlist, executor
        self.workers = executor.workers
        self.seeds = tuple(seeds)
        self._steps = case.steps if steps is None else steps
        self.notes: list[str] = []
        self.moved: dict[str, str] = {}
        treated = {key: one.apply(case) for key, one in shortlist.treatments.items()}
        self.scoring_metric = ScoringMetric.of(case, list(treated.values()))
        for key, treatment in shortlist.treatments.items():
            if treatment.touches & {"data", "evaluation"}:
                self._check_meaning(key, treated[key])
        self.baselines = self._baselines()
        own_threads = torch.get_num_threads()
        if control is not None and (control.steps != self.steps or control.threads != own_threads or control.diverged):
            control = None  # trained otherwise: not bit-identical to what the arms would be compared with
        self.trained = control
        self.resume_log = ResumeLog(directory, fingerprint(case, self.steps, self.scoring_metric.units, own_threads))
        if self.scoring_metric.units is not Units.NETWORK:
            self.notes.append(f"all arms are scored in {self.scoring_metric.units}")
        if case.val is None:
            self.notes.append("the case has no validation batches, so arms are scored on training batches")

    @property
    def steps(self) -> int:
        """Optimiser steps of a training."""
        return self._steps

    def shorten(self, seconds: float, least: float) -> float:
        """A training of a case is not made shorter: its steps are part of its description."""
        return 0.0

    def _check_meaning(self, key: str, treated: Case) -> None:
        """Score fixed predictors with and without a treatment that could change the meaning of the metric."""
        name, metric = self.case.metric()
        try:
            with self.case.open():
                before = score_fixed(self.scoring_metric, self.case, name)
            with treated.open():
                after = score_fixed(self.scoring_metric, treated, name)
        except CaseError as error:
            self.notes.append(
                f"whether {self.list.labels[key]} changes the meaning of the metric could not be checked: {error.found}"
            )
            return
        shifts = moved(before, after, metric.negligible)
        if shifts:
            told = ", ".join(f"{predictor} {shift:+.3g}" for predictor, shift in shifts.items())
            unit = f" {metric.unit}" if metric.unit else ""
            self.moved[key] = (
                f"it changes the meaning of the metric: predictors that no model made change by {told}{unit}, "
                "so its figures are not comparable"
            )

    def _baselines(self) -> tuple[Baseline, ...]:
        try:
            return trivial_baselines(self.case, self.scoring_metric, self.metric()[0])
        except Exception as error:
            self.notes.append(f"trivial baselines could not be scored: {describe_error(error)}")
            return ()

    def metric(self) -> tuple[str, Metric]:
        """The case's first metric."""
        return self.case.metric()

    def refused(self, why: str) -> str:
        """There is nothing to try on a case that does not run.

        Raises:
            CaseError: Always.
        """
        raise CaseError(f"the case cannot be trained and scored as it is: {why}", expected="one that runs")

    def known(self) -> Iterator[JobResult]:
        """What the resume log holds."""
        yield from (result for result in self.resume_log if result.steps == self.steps)

    def control(self, seed: int, arms: Sequence[TreatmentSet]) -> JobResult | None:
        """The control that the examination trained, scored."""
        if self.trained is None:
            return None
        job = Job(seed=seed, steps=self.steps, arms=tuple(tuple(sorted(arm)) for arm in arms))
        names = {key for arm in arms for key in arm}
        job = replace(job, proposals={key: self.list.proposals[key] for key in names})
        return run_job(self.case, self.job(job), self.trained)

    def screened(self, seed: int, deadline: Deadline) -> frozenset[str]:
        """Treatments that leave the weights alone for a few steps."""
        suspects = [key for key, one in self.list.treatments.items() if one.retrains and "data" not in one.touches]
        if len(suspects) < 2:  # the plan would not differ
            return frozenset()
        found = set()
        try:
            plain = train(self.case, seed, SCREENING_STEPS, deadline=deadline)
            for key in suspects:
                treated = self.list.treatments[key].apply(self.case)
                if train(treated, seed, SCREENING_STEPS, deadline=deadline).weights == plain.weights:
                    found.add(key)
        except (TraindxError, OutOfTime):
            pass  # whatever it is, the trial itself will meet it and report it
        return frozenset(found)

    def job(self, job: Job) -> Job:
        """A job scored in the units of the comparison."""
        return replace(job, units=self.scoring_metric.units)

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out."""
        yield from self.executor.run(jobs, report, may_start)

    def keep(self, result: JobResult, asked: Job) -> None:
        """Write a finished job into the resume log; one that broke with its arms, so that the log knows what broke."""
        if result.broke:
            arms = tuple(ArmScore(arm=arm, broke=result.broke) for arm in asked.arms)
            result = result.model_copy(update={"arms": arms, "broke": ""})
        self.resume_log.add(result)

    def one_seed(self, first: int, second: int) -> str:
        """The draws of a case come from its seed, so two seeds are two."""
        return ""
