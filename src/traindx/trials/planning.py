"""What fits into the budget: how many seeds, and which comparisons must be left out.

Every arm with two or three seeds tells more than one arm with ten, so seeds give way first (down to two). Then the
comparisons *alone* go, from the least important finding upwards, as only *given the rest* confirm; and then whole
treatments, which also leave the context of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from traindx.trials.arms import Design, TreatmentSet
from traindx.trials.jobs import Job, JobResult

Done = Callable[[int, TreatmentSet], bool]

MIN_SEEDS = 2
# jobs that run side by side share memory and caches, and every estimate has a spread
MARGIN = 1.1


@dataclass
class Costs:
    """Measured times of a trial, kept up to date as jobs finish."""

    train: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)

    def learn(self, result: JobResult) -> None:
        """Take in the times of a finished job; one that broke or diverged early says nothing."""
        if not result.broke and not result.unfinished and not result.diverged and result.seconds > 0:
            self.train.append(result.seconds)
        self.score += [arm.seconds for arm in result.arms if not arm.broke]

    @property
    def known(self) -> bool:
        """True once a training was timed."""
        return bool(self.train)

    def of(self, trainings: int, scores: int) -> float:
        """Seconds for some trainings and scores, one after the other."""
        train = median(self.train) if self.train else 0.0
        score = median(self.score) if self.score else 0.0
        return trainings * train + scores * score

    def of_job(self, job: Job) -> float:
        """Seconds for a job."""
        return self.of(1, len(job.arms))


def needed(
    design: Design, seeds: Sequence[int], costs: Costs, done: Done, inert: frozenset[str] = frozenset()
) -> float:
    """Seconds of one process for all arms of a design on some seeds, without those that are done.

    ``inert`` are treatments that are expected to leave the weights alone: after the first seed they need no training.
    """
    total = 0.0
    later = replace(design, inert=design.inert | inert)
    for index, seed in enumerate(seeds):
        arms = [arm for arm in design.arms() if not done(seed, arm)]
        groups = (later if index else design).groups(arms)
        total += costs.of(1, 0) * sum(design.cost(group) for group in groups) + costs.of(0, len(arms))
    return total


def fit(
    design: Design,
    seeds: Sequence[int],
    costs: Costs,
    seconds: float,
    workers: int,
    done: Done,
    inert: frozenset[str] = frozenset(),
) -> tuple[Design, int]:
    """The design and the number of seeds that fit into the time.

    Args:
        design: The full design, its treatments most important first.
        seeds: Seeds that the user allows.
        costs: Measured times.
        seconds: Time left.
        workers: Processes.
        done: ``(seed, arm)``: whether an arm has been run.
        inert: Treatments that are expected to leave the weights alone.

    Returns:
        The design, with comparisons dropped where necessary, and the number of seeds; 1 where not even two fit.
    """

    def takes(candidate: Design, count: int) -> float:
        return MARGIN * needed(candidate, seeds[:count], costs, done, inert) / max(1, workers)

    least_seeds = min(MIN_SEEDS, len(seeds))
    for count in range(len(seeds), least_seeds - 1, -1):
        if takes(design, count) <= seconds:
            return design, count
    for count in dict.fromkeys((least_seeds, 1)):  # one seed decides nothing but bit-identity; that is still something
        for smaller in (design, *_smaller(design)):
            if takes(smaller, count) <= seconds:
                return _readmitted(smaller, takes, count, seconds), count
    return design, 1


def _readmitted(design: Design, takes: Callable[[Design, int], float], count: int, seconds: float) -> Design:
    """A design with those comparisons *alone* again that cost nothing after all, or still fit."""
    for label in design.treatments:
        if (label, "given rest") not in design.dropped:
            larger = replace(design, dropped=design.dropped - {(label, "alone")})
            if takes(larger, count) <= seconds:
                design = larger
    return design


def _smaller(design: Design) -> Iterator[Design]:
    """Ever smaller designs: without *alone* from the least important treatment upwards, then without treatments."""
    labels = list(design.treatments)
    for label in reversed(labels):
        design = replace(design, dropped=design.dropped | {(label, "alone")})
        yield design
    for label in reversed(labels[1:]):
        dropped = design.dropped | {(label, "given rest")}
        design = replace(design, dropped=dropped, everything=design.everything - {label})
        yield design
