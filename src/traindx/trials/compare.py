"""Judging a claimed fix: two cases, paired runs, and one word for what the fix did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from traindx.case_parts import PARTS, Deployment, FullRun, Guidance, PrototypeLearning
from traindx.durations import format_duration
from traindx.durations import seconds as parse_seconds
from traindx.errors import TraindxError
from traindx.progress import Listener, Progress, silent
from traindx.trials.baselines import trivial_baselines
from traindx.trials.claims import Change, Comparison, FixVerdict, Pair, Run, changes, judge_claim, told
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.effects import margin
from traindx.trials.growing import Looks
from traindx.trials.jobs import describe_error
from traindx.trials.scoring import score
from traindx.trials.scoring_metric import ScoringMetric, moved, score_fixed
from traindx.trials.statistics import paired_effect, told_by_ratio
from traindx.trials.tabling import spared
from traindx.trials.training import train

if TYPE_CHECKING:
    from traindx.case import Case, Metric
    from traindx.finding import Effect

# Parts with a training, a sampling or a run of their own, which only checks look at
APART: tuple[type[Any], ...] = (PrototypeLearning, Guidance, Deployment, FullRun)
PLAIN = (bool, int, float, str)

__all__ = ["Change", "Comparison", "FixVerdict", "compare"]


def compare(
    before: Case,
    after: Case,
    *,
    budget: str | float = "3m",
    seeds: Sequence[int] = (),
    steps: int | None = None,
    progress: Listener | None = None,
) -> Comparison:
    """Judge a claimed fix by paired runs: same seeds, same draws, same data order, one scoring metric.

    Args:
        before: The case without the fix.
        after: The case with it.
        budget: Time, for example ``"3m"``; further seeds are run only where they fit.
        seeds: Seeds of the pairs; () for three, and more while time is left and it is open.
        steps: Optimiser steps of both; each case's own by default.
        progress: Called while working.

    Raises:
        CaseError: A case has no metrics or no target.
        UsageError: The budget cannot be read.
    """
    listen = progress or silent
    limit = parse_seconds(budget)
    begun, deadline = time.monotonic(), Deadline.after(limit)
    scoring_metric, own = ScoringMetric.of(before, [after]), ScoringMetric.of(after)
    name, metric = before.metric()
    own_name = name if name in own.metrics else next(iter(own.metrics))
    notes = [] if own_name == name else [f"the case before is judged by {name}; the case after reports {own_name}"]
    meaning, common = _yardsticks(before, after, scoring_metric, own, (name, own_name), notes)
    if meaning:
        shifts = told(meaning, metric.unit)
        notes.append(f"the metric changed its meaning: predictors that no model made move by {shifts}")
    baselines = trivial_baselines(before, scoring_metric, name)
    pairs: list[Pair] = []
    short = ""  # why not every seed that was asked for was run
    looks = Looks(seeds)
    spent = Spent()
    effect: Effect | None = None
    for number, seed in enumerate(looks.seeds):
        if pairs and (time.monotonic() - begun) / len(pairs) > deadline.left:
            if number < len(looks.asked):
                short = f"{len(pairs)} of {len(looks.asked)} seeds fit into the budget of {format_duration(limit)}"
            break
        listen(Progress("compare", f"seed {seed}", number, max(len(looks.asked), number + 1), deadline.left))
        try:
            first = _run(before, seed, steps, scoring_metric, None, deadline, spent)
            pairs.append(Pair(seed, first, _run(after, seed, steps, scoring_metric, own, deadline, spent)))
        except OutOfTime:
            if number < len(looks.asked):
                short = f"seed {seed} did not fit into the budget of {format_duration(limit)}"
            break
        # a case that does not run, or that differs in nothing, does not get better by another seed
        if pairs[-1].before.broke or pairs[-1].after.broke or all(pair.identical for pair in pairs):
            break
        effect, negligible = _effect(pairs, name, metric)
        if looks.settles(effect, negligible):
            break
    if short:
        short += spent.would_do(len(looks.asked), limit)
        notes.append(short)
    scored = [pair for pair in pairs if not pair.before.broke and not pair.after.broke]
    values = [pair.before.score.values[name] for pair in scored]
    treated = [pair.after.score.values[name] for pair in scored]
    effect = looks.shown(_effect(scored, name, metric)[0])
    level = looks.level(len(scored))
    verdict, sentence = judge_claim(pairs, effect, name, metric, baselines, common, level)
    if verdict is FixVerdict.INCONCLUSIVE and short and len(pairs) < 2:
        sentence = f"{sentence}; {short}" if pairs else short
    if verdict is FixVerdict.NO_EFFECT:
        verdict, sentence = _no_effect(before, after, pairs, sentence, changed_meaning=bool(meaning))
    return Comparison(
        verdict=verdict,
        sentence=sentence,
        metric=name,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        seeds=tuple(pair.seed for pair in pairs),
        before=tuple(values),
        after=tuple(treated),
        after_own=tuple(pair.after.own.values.get(own_name, math.nan) for pair in scored),
        effect=effect,
        changes=changes(pairs, name),
        metric_changed=meaning,
        units=str(scoring_metric.units),
        baselines=baselines,
        seconds=round(time.monotonic() - begun, 2),
        complete=not short,
        notes=(*notes, *filter(None, [told_by_ratio(name, [effect])])),
    )


def _no_effect(
    before: Case, after: Case, pairs: Sequence[Pair], sentence: str, *, changed_meaning: bool
) -> tuple[FixVerdict, str]:
    """No effect, unless what was changed is not what was run."""
    apart = _apart(before, after) if all(pair.identical for pair in pairs) else ""
    if apart:
        why = f"not tried: {apart}, which is neither trained nor scored here; all that is, is bit-identical"
        return FixVerdict.INCONCLUSIVE, why
    if changed_meaning:
        sentence += "; what the metric reports differs only because the metric means something else"
    return FixVerdict.NO_EFFECT, sentence


def _apart(before: Case, after: Case) -> str:
    """What differs in parts that a training and its scoring do not use; empty where nothing is known to.

    Functions are not compared: each case makes its own.
    """
    for kind in APART:
        one, other = before.part(kind), after.part(kind)
        if one is None or other is None:
            continue
        for item in fields(one):
            was, now = getattr(one, item.name), getattr(other, item.name)
            if isinstance(was, PLAIN) and isinstance(now, PLAIN) and repr(was) != repr(now):
                part = next(name for name, known in PARTS.items() if known is kind).replace("_", " ")
                return f"it changes {item.name.replace('_', ' ')} of the {part} ({was} → {now})"
    return ""


@dataclass
class Spent:
    """Times of the runs, also of one that the budget cuts off.

    Attributes:
        whole: Seconds of the longest run, or what it would have taken at the pace that it had.
    """

    whole: float = 0.0

    def begin(self, steps: int) -> Callable[[int, float], None]:
        """A run of so many steps begins.

        Returns:
            What is called after every step.
        """
        self._begun, self._steps, self._made = time.monotonic(), steps, 0

        def made(step: int, loss: float) -> None:
            self._made = step

        return made

    def end(self) -> None:
        """The run ended, or was cut off."""
        share = self._made / self._steps if self._steps else 1.0
        if share > 0:
            self.whole = max(self.whole, (time.monotonic() - self._begun) / share)

    def would_do(self, seeds: int, budget: float) -> str:
        """What budget so many pairs need; nothing where no step was made, so that it is not known."""
        if not self.whole:
            return ""
        return f"; about {spared(max(2 * seeds * self.whole, 1.5 * budget))} would do"


def _effect(pairs: Sequence[Pair], name: str, metric: Metric) -> tuple[Effect | None, float]:
    """Paired effect, and the difference that is of no importance."""
    values = [pair.before.score.values[name] for pair in pairs]
    treated = [pair.after.score.values[name] for pair in pairs]
    return paired_effect(treated, values, metric.higher_is_better), margin(metric, [*values, *treated], values)


def _yardsticks(
    before: Case,
    after: Case,
    scoring_metric: ScoringMetric,
    own: ScoringMetric,
    names: tuple[str, str],
    notes: list[str],
) -> tuple[dict[str, float], dict[str, float]]:
    """Shifts of fixed predictors between the metrics that the cases report, and under the common scoring metric."""
    name, own_name = names
    reporting = ScoringMetric.of(before)
    try:
        with before.open():
            common_before = score_fixed(scoring_metric, before, name)
            own_before = score_fixed(reporting, before, name)
        with after.open():
            common_after = score_fixed(scoring_metric, after, name)
            own_after = score_fixed(own, after, own_name)
    except TraindxError as error:
        notes.append(f"the scoring metrics could not be compared: {error.found}")
        return {}, {}
    return moved(own_before, own_after), moved(common_before, common_after)


def _run(
    case: Case,
    seed: int,
    steps: int | None,
    scoring_metric: ScoringMetric,
    own: ScoringMetric | None,
    deadline: Deadline,
    spent: Spent,
) -> Run:
    run = Run()
    count = case.steps if steps is None else steps
    try:
        run.trained = train(case, seed, steps, spent.begin(count), deadline)
        if run.trained.diverged is not None:
            run.broke = str(run.trained.diverged)
            return run
        run.score = score(case, run.trained.model, seed, scoring_metric, deadline)
        run.own = score(case, run.trained.model, seed, own, deadline) if own is not None else run.score
    except TraindxError as error:
        run.broke = describe_error(error)
    finally:
        spent.end()
    return run
