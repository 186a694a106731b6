"""What the arms of a trial gave, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from traindx.trials.arms import Contrast, TreatmentSet
from traindx.trials.jobs import ArmScore, JobResult
from traindx.trials.statistics import Identity

Place = tuple[int, TreatmentSet]


@dataclass
class Results:
    """Scores, weights and failures of every arm and seed."""

    scores: dict[Place, ArmScore] = field(default_factory=dict)
    weights: dict[Place, str] = field(default_factory=dict)
    broke: dict[Place, str] = field(default_factory=dict)
    diverged: dict[Place, str] = field(default_factory=dict)

    def enter(self, result: JobResult, arms: Sequence[TreatmentSet]) -> None:
        """Take in a job's result; ``arms`` are those it was asked for."""
        if result.broke:
            for arm in arms:
                self.broke[result.seed, arm] = result.broke
            return
        for scored in result.arms:
            place = (result.seed, frozenset(scored.arm))
            self.weights[place] = result.weights
            if result.diverged:
                self.diverged[place] = result.diverged
            if scored.broke:
                self.broke[place] = scored.broke
            else:
                self.scores[place] = scored

    def has(self, seed: int, arm: TreatmentSet) -> bool:
        """True if this arm was tried on this seed, whatever came of it."""
        return (seed, arm) in self.scores or (seed, arm) in self.broke

    def forget(self, seed: int) -> None:
        """Leave out everything that a seed gave."""
        for book in (self.scores, self.weights, self.broke, self.diverged):
            for place in [place for place in book if place[0] == seed]:
                del book[place]

    def value(self, seed: int, arm: TreatmentSet, metric: str) -> float:
        """A figure; NaN where there is none."""
        scored = self.scores.get((seed, arm))
        return scored.values.get(metric, math.nan) if scored is not None else math.nan

    def pairs(self, contrast: Contrast, seeds: Sequence[int], metric: str) -> list[tuple[float, float]]:
        """(treated, untreated) for every seed on which both arms were scored."""
        return [
            (self.value(seed, contrast.treated, metric), self.value(seed, contrast.without, metric))
            for seed in seeds
            if (seed, contrast.treated) in self.scores and (seed, contrast.without) in self.scores
        ]

    def identity(self, contrast: Contrast, seeds: Sequence[int]) -> Identity:
        """Whether weights and predictions were bit-identical with and without, on every seed that was compared."""
        both = [
            seed
            for seed in seeds
            if (seed, contrast.treated) in self.scores and (seed, contrast.without) in self.scores
        ]
        if not both:
            return Identity(weights=False, predictions=False)
        weights = all(self.weights[s, contrast.treated] == self.weights[s, contrast.without] for s in both)
        predictions = all(
            self.scores[s, contrast.treated].predictions == self.scores[s, contrast.without].predictions for s in both
        )
        return Identity(weights, predictions and weights)

    def failed(self, arm: TreatmentSet) -> str:
        """Why an arm broke, or empty."""
        return next((why for (_, other), why in sorted(self.broke.items(), key=str) if other == arm), "")

    def diverging(self, contrast: Contrast, seeds: Sequence[int]) -> tuple[int, int, int]:
        """On how many seeds both arms were tried, and how often the treated and the untreated one diverged."""
        tried = [s for s in seeds if self.has(s, contrast.treated) and self.has(s, contrast.without)]
        treated = sum((seed, contrast.treated) in self.diverged for seed in tried)
        untreated = sum((seed, contrast.without) in self.diverged for seed in tried)
        return len(tried), treated, untreated

    def refused(self, name: str) -> str:
        """Why a treatment found that it does not apply, or empty."""
        return next((scored.refused[name] for scored in self.scores.values() if name in scored.refused), "")

    def stuck(self, contrasts: Sequence[Contrast], seeds: Sequence[int], metric: str) -> float | None:
        """The value that every run of some comparisons has although the runs differ: at its limit, or too coarse."""
        if all(self.identity(one, seeds).predictions for one in contrasts):
            return None
        values = {value for one in contrasts for pair in self.pairs(one, seeds, metric) for value in pair}
        return values.pop() if len(values) == 1 else None

    def acted(self, name: str) -> bool | None:
        """Whether a treatment acted at all; None where it cannot tell, or was not tried."""
        counts = [scored.hits[name] for scored in self.scores.values() if name in scored.hits]
        return None if not counts else any(counts)
