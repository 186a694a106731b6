"""From the arms to one verdict a treatment, with a sentence where it would surprise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev

from traindx.case import Metric
from traindx.diagnosis import TreatmentResult
from traindx.finding import Effect, Verdict
from traindx.trials.arms import Contrast, Design
from traindx.trials.results import Results
from traindx.trials.statistics import (
    LEVEL,
    Direction,
    Identity,
    at_confidence,
    consistent,
    direction,
    holm,
    p_value,
    paired_effect,
    sign_report,
    verdict_of,
)

# Where the author names no negligible difference, a thousandth of the figure is taken to be of no importance, and so is
# a fifth of the standard deviation between seeds, which Cohen ("Statistical Power Analysis", 1988, 2.2) calls a small
# effect. Pairs can show less than that; another seed changes more.
SHARE_OF_NO_IMPORTANCE = 1e-3
SPREADS_OF_NO_IMPORTANCE = 0.2
SEEDS_FOR_A_SPREAD = 5  # the deviation of fewer is anything between a third and twice the true one
TOO_WIDE = "the interval is too wide to say"
COMPANIES = ("alone", "given rest")


@dataclass(frozen=True)
class Judgement:
    """What is known of one treatment.

    Attributes:
        label: Its name.
        effects: Effect by context (``alone``, ``given rest``); None where there is no pair.
        directions: What each context says.
        identity: What was bit-identical in every context that was compared.
        verdict: What follows.
        exhausted: The metric has its best value with and without it, so that nothing could show.
        stuck: The value that the metric has in every run that was compared, though the runs differ.
        negligible: The difference that is of no importance.
        asked: Treatments on trial: how many questions were asked at once.
    """

    label: str
    effects: Mapping[str, Effect | None]
    directions: Mapping[str, Direction]
    identity: Identity
    verdict: Verdict
    exhausted: bool = False
    stuck: float | None = None
    negligible: float = 0.0
    asked: int = 1

    @property
    def settled(self) -> bool:
        """True if more seeds would not change the verdict."""
        return self.verdict is not Verdict.INCONCLUSIVE and Direction.OPEN not in self.directions.values()

    @property
    def gain(self) -> float:
        """The larger of the two mean effects, for ranking."""
        return max((effect.mean for effect in self.effects.values() if effect is not None), default=-math.inf)


def margin(metric: Metric, figures: Sequence[float], untreated: Sequence[float] = ()) -> float:
    """The difference that is of no importance.

    Args:
        metric: What the author says of it counts alone.
        figures: All readings of the figure.
        untreated: Those of the runs without treatment, one a seed.
    """
    if metric.negligible > 0:
        return metric.negligible
    finite = [abs(value) for value in figures if math.isfinite(value)]
    seeds = [value for value in untreated if math.isfinite(value)]
    spread = stdev(seeds) if len(seeds) >= SEEDS_FOR_A_SPREAD else 0.0
    return max(SHARE_OF_NO_IMPORTANCE * median(finite) if finite else 0.0, SPREADS_OF_NO_IMPORTANCE * spread)


def judge(
    design: Design,
    results: Results,
    seeds: Sequence[int],
    name: str,
    metric: Metric,
    level: float = LEVEL,
    settled: Mapping[str, float] | None = None,
) -> dict[str, Judgement]:
    """Judge every treatment; p-values are adjusted over all treatments of the trial (Holm), for each context.

    Args:
        design: Arms and comparisons.
        results: What the arms gave.
        seeds: Seeds that were begun.
        name: Name of the metric.
        metric: The metric.
        level: Level of significance; a look before the last one uses less.
        settled: Treatments that were settled by an early look, and its level: one stops where a difference happens to
            be large, so the interval of such a look is that of its level.
    """
    asked: dict[tuple[str, str], Contrast] = {}
    for label in design.treatments:
        for context, one in zip(COMPANIES, (design.alone(label), design.given_rest(label)), strict=True):
            if one is not None:
                asked[label, context] = one
    effects: dict[Contrast, Effect | None] = {}
    for one in asked.values():
        pairs = results.pairs(one, seeds, name)
        effects[one] = paired_effect([t for t, _ in pairs], [u for _, u in pairs], metric.higher_is_better)
    # Only "given the rest" can confirm, so its tests are a family of their own; "alone" is the other one. Where
    # predictions are bit-identical there is nothing to test.
    p_of: dict[tuple[str, str], float] = dict.fromkeys(asked, 1.0)
    for context in COMPANIES:
        family = {label: one for (label, other), one in asked.items() if other == context}
        tests = {label: one for label, one in family.items() if not results.identity(one, seeds).predictions}
        for label, p in holm({label: p_value(effects[one]) for label, one in tests.items()}).items():
            p_of[label, context] = p
    figures = [scored.values.get(name, math.nan) for scored in results.scores.values()]
    first = next((one for (_, context), one in asked.items() if context == "alone"), None)
    untreated = [value for _, value in results.pairs(first, seeds, name)] if first is not None else []
    negligible = margin(metric, figures, untreated)

    found = {}
    for label in design.treatments:
        directions: dict[str, Direction] = {}
        for context in COMPANIES:
            one = asked.get((label, context))
            directions[context] = (
                Direction.OPEN
                if one is None
                else _direction(one, effects[one], p_of[label, context], negligible, results, seeds, level)
            )
        compared = [asked[label, context] for context in COMPANIES if (label, context) in asked]
        identities = [results.identity(one, seeds) for one in compared]
        identity = Identity(
            weights=bool(identities) and all(one.weights for one in identities),
            predictions=len(compared) == len(COMPANIES) and all(one.predictions for one in identities),
        )
        verdict = verdict_of(directions["alone"], directions["given rest"])
        if verdict is Verdict.NO_EFFECT and (results.acted(label) is False or _broken(design, results, label)):
            verdict = Verdict.INCONCLUSIVE  # it did nothing; or it broke other runs than those that agree
        exhausted = (
            verdict is Verdict.NO_EFFECT
            and not identity.predictions
            and all(_exhausted(metric, results.pairs(one, seeds, name)) for one in compared)
        )
        stuck = results.stuck(compared, seeds, name)
        if exhausted or results.refused(label) or (stuck is not None and verdict is Verdict.NO_EFFECT):
            verdict = Verdict.INCONCLUSIVE
        shown: dict[str, Effect | None] = {}
        for context in COMPANIES:
            one = asked.get((label, context))
            known = one is not None and _divergent(one, results, seeds) is None  # else no figure says how much
            shown[context] = (
                _shown(effects[one], p_of[label, context], level, (settled or {}).get(label))
                if one is not None and known
                else None
            )
        found[label] = Judgement(
            label, shown, directions, identity, verdict, exhausted, stuck, negligible, len(design.treatments)
        )
    return found


def _shown(effect: Effect | None, p: float, level: float, settled: float | None) -> Effect | None:
    """An effect with the interval that its verdict follows from."""
    found = consistent(effect, p, level)
    if found is None or settled is None or 1 - settled <= found.confidence:
        return found
    return at_confidence(found, 1 - settled)


def _exhausted(metric: Metric, pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether both arms of a comparison have the best value that the metric can have."""
    if metric.best is None or not pairs:
        return False
    ctx = SHARE_OF_NO_IMPORTANCE * abs(metric.best)
    return all(abs(value - metric.best) <= ctx for pair in pairs for value in pair)


def _divergent(one: Contrast, results: Results, seeds: Sequence[int]) -> Direction | None:
    """What is better where training diverges on every seed with a treatment and on none without, or the other way."""
    tried, treated, untreated = results.diverging(one, seeds)
    if tried >= 2 and treated != untreated and {treated, untreated} == {0, tried}:
        return Direction.BETTER if untreated else Direction.WORSE
    return None


def _direction(
    one: Contrast,
    effect: Effect | None,
    p: float,
    negligible: float,
    results: Results,
    seeds: Sequence[int],
    level: float,
) -> Direction:
    decided = _divergent(one, results, seeds)
    if decided is not None:
        return decided
    _, treated, untreated = results.diverging(one, seeds)
    if effect is not None and not all(math.isfinite(value) for value in (effect.mean,)):
        return Direction.OPEN
    said = direction(effect, p, negligible, results.identity(one, seeds), level)
    # pairs of which one diverged have no difference; where they speak for the other side, the rest does not decide
    against = {Direction.WORSE: untreated - treated, Direction.BETTER: treated - untreated}
    return Direction.OPEN if against.get(said, 0) > 0 else said


def results(
    design: Design,
    results: Results,
    judged: Mapping[str, Judgement],
    seeds: Sequence[int],
    unit: str,
    *,
    labels: Mapping[str, str],
    codes: Mapping[str, Sequence[str]],
    moved: Mapping[str, str],
) -> tuple[TreatmentResult, ...]:
    """Rows of the trial table, best first.

    Args:
        design: Arms and comparisons.
        results: What the arms gave.
        judged: Judgement by treatment.
        seeds: Seeds that were begun.
        unit: Unit of the metric.
        labels: Name of a treatment in tables.
        codes: Codes of the findings that proposed a treatment.
        moved: Treatments that change the meaning of the metric, and by how much; nothing is concluded of these.
    """
    rows = []
    order = [Verdict.PROVEN, Verdict.CONTRIBUTORY, Verdict.HARMFUL, Verdict.INCONCLUSIVE, Verdict.NO_EFFECT]
    for key in sorted(judged, key=lambda key: (order.index(judged[key].verdict), -judged[key].gain, key)):
        one = judged[key]
        note = explain(one, judged, design, results, seeds, unit, labels)
        verdict = one.verdict
        if key in moved:
            verdict = Verdict.INCONCLUSIVE
            note = moved[key]
        rows.append(
            TreatmentResult(
                treatment=labels[key],
                title=design.treatments[key].title,
                codes=tuple(codes.get(key, ())),
                alone=one.effects["alone"],
                given_rest=one.effects["given rest"],
                verdict=verdict,
                bit_identical=one.identity.weights and one.identity.predictions and not results.refused(key),
                note=note,
            )
        )
    return tuple(rows)


def explain(
    one: Judgement,
    judged: Mapping[str, Judgement],
    design: Design,
    results: Results,
    seeds: Sequence[int],
    unit: str,
    labels: Mapping[str, str],
) -> str:
    """One sentence on what would surprise: a broken arm, masking, a treatment that never acted; empty otherwise."""
    label = one.label
    fact = _fact(one, design, results, seeds)
    if fact:
        return fact
    alone, rest = one.effects["alone"], one.effects["given rest"]
    if alone is None or rest is None or design.alone(label) == design.given_rest(label):
        return _undecided(one, alone or rest)
    figures = f"alone {_signed(alone.mean, unit)}, given the rest {_signed(rest.mean, unit)}"
    said = (one.directions["alone"], one.directions["given rest"])
    masking = _masking(said, alone.mean, _culprit(label, judged, design, labels))
    if masking:
        # the means are told where the interval of one of them is still open as well, but then the sentence says so
        open_in = [name for name, what in zip(("alone", "given the rest"), said, strict=True) if what is Direction.OPEN]
        doubt = f" (not settled {' and '.join(open_in)})" if open_in else ""
        return f"{figures}: {masking}{doubt}"
    return _both_open(one, alone, rest, figures) if one.verdict is Verdict.INCONCLUSIVE else ""


def _both_open(one: Judgement, alone: Effect, rest: Effect, figures: str) -> str:
    """Why neither context settles it."""
    if min(alone.n, rest.n) < 2:
        return f"{figures}, on one seed only, so nothing is concluded"
    reasons = (_open(one, alone), _open(one, rest))
    if all(reason.startswith(TOO_WIDE) for reason in reasons):
        counts = f"{sign_report(alone)} alone, {sign_report(rest)} given the rest"
        return f"{figures}, and the intervals are too wide to say ({counts})"
    return f"{figures}; alone: {reasons[0]}; given the rest: {reasons[1]}"


def _fact(one: Judgement, design: Design, results: Results, seeds: Sequence[int]) -> str:
    """What decides the matter before any figure: a broken arm, divergence, nothing done, nothing changed."""
    refused = results.refused(one.label)
    broken = _broken(design, results, one.label)
    stuck = one.stuck is not None and one.verdict is Verdict.INCONCLUSIVE
    facts = (
        f"not run: {refused}" if refused else "",
        f"broke: {broken}" if broken else "",
        _divergence(design, results, seeds, one.label),
        "not tried: it never acted, so the place it changes was not reached in training or prediction"
        if results.acted(one.label) is False
        else "",
        "the metric has its best value with and without it: nothing could show, so nothing is concluded"
        if one.exhausted
        else "",
        f"the metric is {one.stuck:g} in every run: at its limit, or too coarse to tell these runs apart"
        if stuck
        else "",
        "no effect: bit-identical weights and predictions with and without it" if one.identity.predictions else "",
    )
    return next((fact for fact in facts if fact), "")


def _masking(said: tuple[Direction, Direction], alone: float, culprit: str) -> str:
    """Why a treatment does one thing by itself and another with the others; empty where it does not."""
    nothing, better, worse, still_open = Direction.NOTHING, Direction.BETTER, Direction.WORSE, Direction.OPEN
    sentences = {
        (worse, better): f"its benefit is hidden until {culprit} is in place",
        (nothing, better): f"without effect until {culprit} is in place",
        (worse, nothing): f"what it fixes hid the fault that {culprit} fixes, so by itself it makes things worse",
        (worse, still_open): f"what it fixes hid the fault that {culprit} fixes, so by itself it makes things worse",
        (better, nothing): f"it makes up for what {culprit} fixes, and adds nothing once that is in place",
        (better, still_open): f"it helps by itself; whether it adds anything to {culprit} is open",
        (better, worse): f"it makes things worse once {culprit} is in place",
        (nothing, worse): f"it makes things worse once {culprit} is in place",
    }
    if said == (still_open, better) and alone < 0:
        return sentences[worse, better]
    return sentences.get(said, "")


def _undecided(one: Judgement, effect: Effect | None) -> str:
    if one.verdict is not Verdict.INCONCLUSIVE:
        return ""
    if effect is None:
        return "not tried: the budget ended first"
    if effect.n < 2:
        return "one seed only, so nothing is concluded"
    return _open(one, effect)


def _open(one: Judgement, effect: Effect) -> str:
    """Why one comparison is not settled, or what it says where it is."""
    if not math.isfinite(effect.low):
        return "every reading is the same, so nothing is known of its spread"
    if effect.confidence > 1 - LEVEL and effect.low <= 0 <= effect.high:
        questions = f"{one.asked} treatments on trial" if one.asked > 1 else "an early look"
        return f"beyond chance by itself, but not for {questions}: the interval is one of {effect.confidence:.1%}"
    if effect.low * effect.high > 0 and abs(effect.mean) <= one.negligible:
        return f"no larger than what is of no importance ({one.negligible:.3g})"
    if effect.low * effect.high > 0:
        return "better" if effect.mean > 0 else "worse"
    return f"{TOO_WIDE} ({sign_report(effect)})"


def _culprit(label: str, judged: Mapping[str, Judgement], design: Design, labels: Mapping[str, str]) -> str:
    """The treatment among the rest that is worth most: the likeliest reason why the two companies differ."""
    rest = [other for other in design.rest(label) if judged[other].verdict is Verdict.PROVEN]
    if not rest:
        rest = [other for other in design.rest(label) if judged[other].gain > 0]
    return labels[max(rest, key=lambda other: judged[other].gain)] if rest else "the rest"


def _broken(design: Design, results: Results, label: str) -> str:
    for one in (design.alone(label), design.given_rest(label)):
        why = results.failed(one.treated) if one is not None and not results.failed(one.without) else ""
        if why:
            return why
    return ""


def _divergence(design: Design, results: Results, seeds: Sequence[int], label: str) -> str:
    for context, one in zip(COMPANIES, (design.alone(label), design.given_rest(label)), strict=True):
        if one is None:
            continue
        tried, treated, untreated = results.diverging(one, seeds)
        if tried and treated != untreated:
            arm = one.without if untreated > treated else one.treated
            first = next(results.diverged[seed, arm] for seed in seeds if (seed, arm) in results.diverged)
            with_or_without = "without" if untreated > treated else "with"
            where = "" if context == "alone" else ", the rest in place"
            return (
                f"{with_or_without} it training diverges on {max(treated, untreated)} of {tried} seeds{where}: {first}"
            )
    return ""


def _signed(value: float, unit: str) -> str:
    return f"{value:+.3g}{' ' + unit if unit else ''}".replace("-", "−")
