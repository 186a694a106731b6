"""Judging a claimed fix: two cases, paired runs, and one word for what the fix did."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from traindx.durations import format_duration
from traindx.durations import seconds as parse_seconds
from traindx.errors import TraindxError
from traindx.progress import Listener, Progress, silent
from traindx.trials.baselines import trivial_baselines
from traindx.trials.claims import Change, Comparison, FixVerdict, Pair, Run, changes, judge_claim, told
from traindx.trials.clock import Deadline, OutOfTime
from traindx.trials.jobs import describe_error
from traindx.trials.scoring import score
from traindx.trials.scoring_metric import ScoringMetric, moved, score_fixed
from traindx.trials.statistics import paired_effect, told_by_ratio
from traindx.trials.training import train

if TYPE_CHECKING:
    from traindx.case import Case

__all__ = ["Change", "Comparison", "FixVerdict", "compare"]


def compare(
    before: Case,
    after: Case,
    *,
    budget: str | float = "3m",
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
    progress: Listener | None = None,
) -> Comparison:
    """Judge a claimed fix by paired runs: same seeds, same draws, same data order, one scoring metric.

    Args:
        before: The case without the fix.
        after: The case with it.
        budget: Time, for example ``"3m"``; further seeds are run only where they fit.
        seeds: Seeds of the pairs.
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
    complete = True
    for number, seed in enumerate(seeds):
        if pairs and (time.monotonic() - begun) / len(pairs) > deadline.left:
            complete = False
            notes.append(f"{len(pairs)} of {len(seeds)} seeds fit into the budget of {format_duration(limit)}")
            break
        listen(Progress("compare", f"seed {seed}", number, len(seeds), deadline.left))
        try:
            first = _run(before, seed, steps, scoring_metric, None, deadline)
            pairs.append(Pair(seed, first, _run(after, seed, steps, scoring_metric, own, deadline)))
        except OutOfTime:
            complete = False
            notes.append(f"seed {seed} did not fit into the budget of {format_duration(limit)}")
            break
        # a case that does not run, or that differs in nothing, does not get better by another seed
        if pairs[-1].before.broke or pairs[-1].after.broke or all(pair.identical for pair in pairs):
            break
    scored = [pair for pair in pairs if not pair.before.broke and not pair.after.broke]
    values = [pair.before.score.values[name] for pair in scored]
    treated = [pair.after.score.values[name] for pair in scored]
    effect = paired_effect(treated, values, metric.higher_is_better)
    verdict, sentence = judge_claim(pairs, effect, name, metric, baselines, common)
    if verdict is FixVerdict.NO_EFFECT and meaning:
        sentence += "; what the metric reports differs only because the metric means something else"
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
        complete=complete,
        notes=(*notes, *filter(None, [told_by_ratio(name, [effect])])),
    )


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
) -> Run:
    run = Run()
    try:
        run.trained = train(case, seed, steps, deadline=deadline)
        if run.trained.diverged is not None:
            run.broke = str(run.trained.diverged)
            return run
        run.score = score(case, run.trained.model, seed, scoring_metric, deadline)
        run.own = score(case, run.trained.model, seed, own, deadline) if own is not None else run.score
    except TraindxError as error:
        run.broke = describe_error(error)
    return run
