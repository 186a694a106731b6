"""The judgement of a claimed fix: the six words, what they rest on, and how they follow from paired runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean

from pydantic import Field

from traindx.case import Metric
from traindx.diagnosis import Baseline
from traindx.finding import Effect, Frozen
from traindx.trials.effects import margin
from traindx.trials.scoring import Score
from traindx.trials.statistics import LEVEL, Direction, Identity, direction, p_value, sign_report
from traindx.trials.training import Trained, digest


class FixVerdict(StrEnum):
    """What a claimed fix did.

    ``cures``: helps, and the result beats the trivial baselines that it did not beat before; ``helps``: moves the
    metric by more than the noise; ``no effect``: bit-identical, or a difference within the margin of no importance;
    ``harms``: makes the metric worse; ``breaks``: the case no longer runs, or diverges; ``inconclusive``: none of these
    could be shown.
    """

    CURES = "cures"
    HELPS = "helps"
    NO_EFFECT = "no effect"
    HARMS = "harms"
    BREAKS = "breaks"
    INCONCLUSIVE = "inconclusive"


class Change(Frozen):
    """One thing that could differ between the two cases.

    Attributes:
        what: ``first loss``, ``first gradients``, ``losses``, ``weights``, ``buffers``, ``predictions`` or ``metric``.
        identical: True if it was bit-identical on every seed.
        detail: The figures, where there are any.
    """

    what: str
    identical: bool
    detail: str = ""


class Comparison(Frozen):
    """The judgement of a claimed fix.

    Attributes:
        verdict: One word.
        sentence: Why, in one sentence with the decisive numbers.
        metric: Metric of the case before, which judges both.
        unit: Its unit.
        higher_is_better: Its direction.
        seeds: Seeds that were run.
        before: Metric by seed.
        after: Metric by seed, by the same scoring metric.
        after_own: Metric by seed as the case after reports it.
        effect: Paired effect, after minus before, positive is better.
        changes: What changed and what did not.
        metric_changed: By how much predictors that no model made change from one case's own metric to the other's.
        units: Units of the comparison.
        baselines: Trivial baselines of the case before.
        seconds: Wall time.
        complete: False if the budget ended before the last seed.
        notes: What a reader must know.
    """

    verdict: FixVerdict
    sentence: str
    metric: str
    unit: str = ""
    higher_is_better: bool = True
    seeds: tuple[int, ...] = ()
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    after_own: tuple[float, ...] = ()
    effect: Effect | None = None
    changes: tuple[Change, ...] = ()
    metric_changed: dict[str, float] = Field(default_factory=dict)
    units: str = ""
    baselines: tuple[Baseline, ...] = ()
    seconds: float = 0.0
    complete: bool = True
    notes: tuple[str, ...] = ()


@dataclass
class Run:
    """One case on one seed.

    Attributes:
        trained: Its model, or None where the training raised.
        score: Figures by the common scoring metric.
        own: Figures as the case itself reports them.
        broke: Why there are no figures, with file and line, or empty.
    """

    trained: Trained | None = None
    score: Score = field(default_factory=Score)
    own: Score = field(default_factory=Score)
    broke: str = ""

    @property
    def buffers(self) -> str:
        """SHA-256 of the model's buffers."""
        return "" if self.trained is None else digest(buffer for _, buffer in self.trained.model.named_buffers())


@dataclass(frozen=True)
class Pair:
    """Both cases on one seed."""

    seed: int
    before: Run
    after: Run

    @property
    def identical(self) -> bool:
        """True if weights and predictions are bit-identical."""
        first, second = self.before.trained, self.after.trained
        if first is None or second is None or first.weights != second.weights:
            return False
        return self.before.score.predictions == self.after.score.predictions


def changes(pairs: Sequence[Pair], name: str) -> tuple[Change, ...]:
    """What was bit-identical in all pairs and what was not."""
    both = [(p, p.before.trained, p.after.trained) for p in pairs]
    trained = [(p, a, b) for p, a, b in both if a is not None and b is not None]
    if not trained:
        return ()

    def figures(values: Sequence[tuple[float, float]], digits: int) -> str:
        return ", ".join(f"{a:.{digits}g} → {b:.{digits}g}" for a, b in values)

    first = [(a.losses[0], b.losses[0]) for _, a, b in trained if a.losses and b.losses]
    metric = [
        (p.before.score.values.get(name, math.nan), p.after.score.values.get(name, math.nan)) for p, _, _ in trained
    ]
    return (
        Change(what="first loss", identical=all(a == b for a, b in first), detail=figures(first, 6)),
        Change(what="first gradients", identical=all(a.first_gradient == b.first_gradient for _, a, b in trained)),
        Change(what="losses", identical=all(a.losses == b.losses for _, a, b in trained)),
        Change(what="weights", identical=all(a.weights == b.weights for _, a, b in trained)),
        Change(what="buffers", identical=all(p.before.buffers == p.after.buffers for p, _, _ in trained)),
        Change(
            what="predictions",
            identical=all(p.before.score.predictions == p.after.score.predictions for p, _, _ in trained),
        ),
        Change(what="metric", identical=all(a == b for a, b in metric), detail=figures(metric, 4)),
    )


def told(shifts: Mapping[str, float], unit: str) -> str:
    """Shifts of fixed predictors as a phrase."""
    listed = ", ".join(f"{name} {shift:+.3g}" for name, shift in shifts.items())
    return f"{listed} {unit}".strip()


def judge_claim(
    pairs: Sequence[Pair],
    effect: Effect | None,
    name: str,
    metric: Metric,
    baselines: Sequence[Baseline],
    moved: Mapping[str, float],
    level: float = LEVEL,
) -> tuple[FixVerdict, str]:
    """One word for a claimed fix, and the sentence behind it.

    Args:
        pairs: Paired runs.
        effect: Paired effect by the common scoring metric.
        name: Name of the metric.
        metric: The metric.
        baselines: Trivial baselines of the case before.
        moved: By how much fixed predictors move under the common scoring metric; then figures are not comparable.
        level: Level of significance; where one looked at earlier pairs it is less than the usual one.
    """
    stopped = _stopped(pairs, name, metric, baselines)
    if stopped is not None:
        return stopped
    if effect is None:
        return FixVerdict.INCONCLUSIVE, "no pair of runs was finished"
    if all(pair.identical for pair in pairs):
        return FixVerdict.NO_EFFECT, "weights and predictions are bit-identical with and without it"
    if moved:
        why = "the two cases have no common scoring metric: predictors that no model made move by"
        return FixVerdict.INCONCLUSIVE, f"{why} {told(moved, metric.unit)}"
    return _by_effect(pairs, effect, name, metric, baselines, level)


def _stopped(
    pairs: Sequence[Pair], name: str, metric: Metric, baselines: Sequence[Baseline]
) -> tuple[FixVerdict, str] | None:
    """The word where one of the cases does not run."""
    for pair in pairs:
        first, second = pair.before, pair.after
        if first.broke and second.broke:
            return FixVerdict.INCONCLUSIVE, f"neither case runs: before, {first.broke}; after, {second.broke}"
        if second.broke:
            return FixVerdict.BREAKS, f"it ran before and does not any more: {second.broke}"
        if first.broke:
            now = second.score.values[name]
            verdict = FixVerdict.CURES if _beats(now, metric, baselines) else FixVerdict.HELPS
            return verdict, f"it did not run before ({first.broke}); now {name} is {now:.4g}"
    return None


def _by_effect(
    pairs: Sequence[Pair],
    effect: Effect,
    name: str,
    metric: Metric,
    baselines: Sequence[Baseline],
    level: float,
) -> tuple[FixVerdict, str]:
    """The word where both cases run and differ."""
    unit = f" {metric.unit}" if metric.unit else ""
    values = [pair.before.score.values[name] for pair in pairs]
    treated = [pair.after.score.values[name] for pair in pairs]
    negligible = margin(metric, [*values, *treated], values)
    figures = f"{effect.mean:+.3g}{unit} [{effect.low:+.3g}, {effect.high:+.3g}] over {effect.n} seeds"
    if effect.confidence > 1 - LEVEL:  # more than one look, or one before the last
        figures += f" (an interval of {effect.confidence:.1%})"
    what = direction(effect, p_value(effect), negligible, Identity(weights=False, predictions=False), level)
    if what is Direction.NOTHING:
        return FixVerdict.NO_EFFECT, f"the difference is of no importance: {figures}, less than {negligible:.3g}{unit}"
    if what is Direction.WORSE:
        return FixVerdict.HARMS, f"it makes {name} worse: {figures}"
    if what is Direction.OPEN:
        return FixVerdict.INCONCLUSIVE, _open(effect, figures, negligible, name, unit)
    if baselines and _beats(fmean(treated), metric, baselines) and not _beats(fmean(values), metric, baselines):
        best = (max if metric.higher_is_better else min)(baselines, key=lambda item: item.value)
        past = f"past the best trivial baseline ({best.name}, {best.value:.3g}{unit})"
        return FixVerdict.CURES, f"it moves {name} by {figures}, {past}"
    return FixVerdict.HELPS, f"it moves {name} by {figures}"


def _open(effect: Effect, figures: str, negligible: float, name: str, unit: str) -> str:
    """Why nothing can be said of a difference."""
    if effect.n < 2:
        return f"nothing is known of chance on one seed: {effect.mean:+.3g}{unit} ({sign_report(effect)})"
    if not math.isfinite(effect.low):
        return f"{name} is the same in every run: at its limit, or too coarse to tell them apart"
    if effect.low * effect.high > 0:
        small = f"no larger than what is of no importance ({negligible:.3g}{unit})"
        return f"the difference is beyond the noise and {small}: {figures}"
    return f"the difference is within the noise: {figures} ({sign_report(effect)})"


def _beats(value: float, metric: Metric, baselines: Sequence[Baseline]) -> bool:
    if metric.higher_is_better:
        return value > max((item.value for item in baselines), default=-math.inf)
    return value < min((item.value for item in baselines), default=math.inf)
