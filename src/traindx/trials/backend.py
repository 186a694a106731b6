"""What the engine of trials asks of those who run an arm: one for described cases, one for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from traindx.case import Metric
from traindx.diagnosis import Baseline
from traindx.trials.arms import TreatmentSet
from traindx.trials.clock import Deadline
from traindx.trials.executor import MayStart, Report
from traindx.trials.jobs import Job, JobResult


class Backend(Protocol):
    """How one arm is run, and what its result is.

    Attributes:
        workers: Jobs that run side by side.
        shares_training: One training can be scored with several treatments; otherwise every arm is a run of its own.
        moved: Treatments that change the meaning of the metric, and by how much; may grow while arms are run.
        notes: What a reader must know; may grow.
        baselines: Trivial baselines under the metric.
        idle: A control is worth running where there is nothing to pair it with.
        slack: A run is begun while its expected time is at most so many times the time that is left.
    """

    workers: int
    shares_training: bool
    moved: dict[str, str]
    notes: list[str]
    baselines: tuple[Baseline, ...]
    idle: bool
    slack: float

    @property
    def steps(self) -> int:
        """Optimiser steps of an arm, as the table shows them."""
        ...

    def shorten(self, seconds: float, least: float) -> float:
        """Make runs shorter, so that each takes at most so many seconds; what was run before no longer counts.

        Args:
            seconds: What a run may take.
            least: Share of its length that must be left.

        Returns:
            Seconds that a run will take, or 0 where runs cannot be made shorter.
        """
        ...

    def known(self) -> Iterator[JobResult]:
        """Results of an earlier trial that was interrupted."""
        ...

    def control(self, seed: int, arms: Sequence[TreatmentSet]) -> JobResult | None:
        """A control that was run before, scored in these arms; None where there is none."""
        ...

    def screened(self, seed: int, deadline: Deadline) -> frozenset[str]:
        """Treatments that are expected to leave the weights alone; used for planning only."""
        ...

    def metric(self) -> tuple[str, Metric] | None:
        """What judges; None where nothing does, which is known after the first control at the latest."""
        ...

    def refused(self, why: str) -> str:
        """The control did not run: the reason why nothing is tried.

        Raises:
            CaseError: There is nothing to report on.
        """
        ...

    def run(self, jobs: Sequence[Job], report: Report, may_start: MayStart) -> Iterator[tuple[Job, JobResult]]:
        """Run jobs in order; those that ``may_start`` refuses are left out."""
        ...

    def keep(self, result: JobResult, asked: Job) -> None:
        """Remember a finished job, so that an interrupted trial can go on."""
        ...

    def job(self, job: Job) -> Job:
        """A job with what the backend must know of it."""
        ...

    def one_seed(self, first: int, second: int) -> str:
        """Why a second seed is no second one, or empty."""
        ...
