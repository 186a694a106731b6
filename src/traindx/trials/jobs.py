"""The unit of work of a trial: one training and the scores of every arm that shares it.

A job is small enough to be sent to another process and its result is small enough to be one line of a resume log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import Field

from traindx.core.frames import raised_at
from traindx.errors import TraindxError
from traindx.finding import Frozen, Proposal
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.proposals import resolve
from traindx.trials.scoring import score
from traindx.trials.scoring_metric import ScoringMetric, Units
from traindx.trials.training import Trained, train
from traindx.trials.treatment import Treatment, TreatmentUnfitError, compose

if TYPE_CHECKING:
    from traindx.case import Case

OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class Job:
    """One training and the arms to score on it.

    Attributes:
        seed: Seed of the pair.
        steps: Optimiser steps.
        proposals: What makes each treatment, by canonical name.
        training: Treatments that the training depends on.
        arms: Treatments of every arm to be scored.
        units: Units of the comparison.
        deadline: Seconds since the epoch after which the job is dropped.
    """

    seed: int
    steps: int
    proposals: Mapping[str, Proposal] = field(default_factory=dict)
    training: tuple[str, ...] = ()
    arms: tuple[tuple[str, ...], ...] = ((),)
    units: Units = Units.NETWORK
    deadline: float = float("inf")

    @property
    def key(self) -> str:
        """What the job is, whatever the labels of a table."""
        return json.dumps([self.seed, self.steps, sorted(self.training), sorted(map(sorted, self.arms))])


class ArmScore(Frozen):
    """What one arm scored on the training of a job.

    Attributes:
        arm: Canonical names of the treatments in place.
        values: Metric by name.
        predictions: SHA-256 of the predictions.
        seconds: Wall time.
        broke: Why there are no values, with file and line, or empty.
        hits: How often each treatment acted while the arm was trained and scored.
        refused: Treatments that found that they do not apply, and why.
    """

    arm: tuple[str, ...]
    values: dict[str, float] = Field(default_factory=dict)
    predictions: str = ""
    seconds: float = 0.0
    broke: str = ""
    hits: dict[str, int] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)


class JobResult(Frozen):
    """What became of a job.

    Attributes:
        seed: Seed of the pair.
        steps: Optimiser steps asked for.
        training: Canonical names of the treatments that the training depended on.
        arms: Scores.
        weights: SHA-256 of the trained weights.
        seconds: Wall time of the training.
        diverged: Where the loss stopped being a number, or empty.
        broke: Why there was no training, with file and line, or empty.
        died: True if the process that ran it died; not worth remembering, it may go well the next time.
        unfinished: True if the deadline ended it.
    """

    seed: int
    steps: int
    training: tuple[str, ...] = ()
    arms: tuple[ArmScore, ...] = ()
    weights: str = ""
    seconds: float = 0.0
    diverged: str = ""
    broke: str = ""
    died: bool = False
    unfinished: bool = False


def canonical(proposal: Proposal) -> str:
    """A name for a treatment that does not depend on what else is on trial."""
    if not proposal.parameters:
        return proposal.treatment
    return f"{proposal.treatment} {json.dumps(proposal.parameters, sort_keys=True, default=str)}"


def run_job(case: Case, job: Job, control: Trained | None = None, on_step: OnStep | None = None) -> JobResult:
    """Train once, and score every arm that shares the training.

    Args:
        case: The untreated case.
        job: What to do.
        control: The model of this job, where it was trained before.
        on_step: Called after every optimiser step.

    Returns:
        The result; what the user's code or a treatment raised is in ``broke``, never an exception.
    """
    deadline = Deadline(job.deadline)
    begun = JobResult(seed=job.seed, steps=job.steps, training=job.training)
    try:
        treatments = {name: _resolved(job.proposals[name], case) for arm in (job.training, *job.arms) for name in arm}
        trained = control
        if trained is None:
            treated = compose(case, [treatments[name] for name in job.training])
            trained = train(treated, job.seed, _steps(job, case, treated), on_step, deadline)
    except OutOfTime:
        return begun.model_copy(update={"unfinished": True})
    except Exception as error:
        return begun.model_copy(update={"broke": describe_error(error)})
    trained_hits = {name: one.tally.hits for name, one in treatments.items() if one.tally is not None}
    scoring_metric = ScoringMetric.of(case)
    scoring_metric = ScoringMetric(case, scoring_metric.metrics, job.units)
    arms: list[ArmScore] = []
    unfinished = False
    for arm in job.arms:
        chosen = {name: treatments[name] for name in arm}
        try:
            arms.append(_scored(case, arm, chosen, trained, scoring_metric, deadline, trained_hits))
        except OutOfTime:
            unfinished = True
            break
    return begun.model_copy(
        update={
            "arms": tuple(arms),
            "weights": trained.weights,
            "seconds": trained.seconds,
            "diverged": str(trained.diverged or ""),
            "unfinished": unfinished,
        }
    )


def _steps(job: Job, case: Case, treated: Case) -> int:
    """Steps of a job's training: a treatment that changes the case's number changes the trial's in proportion."""
    return job.steps if treated.steps == case.steps else round(job.steps * treated.steps / case.steps)


def _scored(
    case: Case,
    arm: tuple[str, ...],
    chosen: Mapping[str, Treatment],
    trained: Trained,
    scoring_metric: ScoringMetric,
    deadline: Deadline,
    trained_hits: Mapping[str, int],
) -> ArmScore:
    before = {name: one.tally.hits for name, one in chosen.items() if one.tally is not None}
    try:
        result = score(compose(case, chosen.values()), trained.model, trained.seed, scoring_metric, deadline)
    except OutOfTime:
        raise
    except Exception as error:
        return ArmScore(arm=arm, broke=describe_error(error))
    hits = {
        name: trained_hits.get(name, 0) + one.tally.hits - before[name]
        for name, one in chosen.items()
        if one.tally is not None
    }
    return ArmScore(arm=arm, values=result.values, predictions=result.predictions, seconds=result.seconds, hits=hits)


def _resolved(proposal: Proposal, case: Case) -> Treatment:
    treatment = resolve(proposal, case)
    if treatment is None:
        raise TreatmentUnfitError(f"the case offers no treatment {proposal.treatment!r}")
    return treatment


def describe_error(error: Exception) -> str:
    """An exception as one line, with the user's file and line where there is one."""
    if isinstance(error, TraindxError):
        return f"{error.where}: {error.found}" if error.where else error.found
    place = raised_at(error)
    return f"{place}: {type(error).__name__}: {error}" if place else f"{type(error).__name__}: {error}"
