"""The trials as rows for a page: every treatment's effect alone and given the rest, every arm, every baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from traindx.diagnosis import Baseline, TreatmentResult, TrialTable, Variant
from traindx.finding import Effect
from traindx.report import svg, words


@dataclass(frozen=True)
class TreatmentRow:
    """A treatment: its letter in the arms table, its plot, its two effects as gain and interval."""

    letter: str
    result: TreatmentResult
    plot: str
    alone: tuple[str, str]
    given_rest: tuple[str, str]


@dataclass(frozen=True)
class ArmRow:
    """An arm: which treatments were in place (in the order of the letters), its plot, its mean and spread."""

    arm: Variant
    present: tuple[bool, ...]
    plot: str
    summary: str


@dataclass(frozen=True)
class BaselineRow:
    """A trivial baseline on the scale of the arms."""

    baseline: Baseline
    plot: str
    summary: str


@dataclass(frozen=True)
class Tables:
    """Everything that a page shows of the trials."""

    table: TrialTable
    treatments: tuple[TreatmentRow, ...]
    arms: tuple[ArmRow, ...]
    baselines: tuple[BaselineRow, ...]
    effects_axis: str
    values_axis: str
    metric: str


def tables(table: TrialTable) -> Tables:
    """Rows and plots of a trial table."""
    letters = {result.treatment: letter(index) for index, result in enumerate(table.results)}
    scale = svg.effects_scale([effect for result in table.results for effect in (result.alone, result.given_rest)])
    values = [value for arm in table.arms for value in arm.values] + [item.value for item in table.baselines]
    arm_scale = svg.Scale.around(values)
    reference = best_baseline(table)
    return Tables(
        table=table,
        treatments=tuple(_treatment(result, letters[result.treatment], scale, table.unit) for result in table.results),
        arms=tuple(_arm(arm, tuple(letters), arm_scale, table.unit, reference) for arm in table.arms),
        baselines=tuple(_baseline(item, arm_scale, table.unit) for item in table.baselines),
        effects_axis=svg.axis_row(scale, table.unit),
        values_axis=svg.axis_row(arm_scale, table.unit),
        metric=f"{table.metric} in {table.unit}" if table.unit else table.metric,
    )


def letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def best_baseline(table: TrialTable) -> float | None:
    """The best trivial baseline's value, in the metric's direction."""
    values = [item.value for item in table.baselines if math.isfinite(item.value)]
    if not values:
        return None
    return max(values) if table.higher_is_better else min(values)


def summary(values: tuple[float, ...], unit: str) -> str:
    """``23.9 ± 0.1 dB``: mean and standard deviation over seeds, or why there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "not run" if not values else "not a number"
    spread = stdev(finite) if len(finite) > 1 else 0.0
    places = words.decimals(fmean(finite))
    if 0 < spread < 10**-places:  # enough digits that the spread is not shown as zero
        places = min(3, math.ceil(-math.log10(spread)))
    text = words.number(fmean(finite), places)
    if len(finite) > 1:
        text += f" ± {words.number(spread, places)}"
    text += f" {unit}" if unit else ""
    lost = len(values) - len(finite)
    return f"{text} ({words.count(lost, 'seed')} not a number)" if lost else text


def _treatment(result: TreatmentResult, mark: str, scale: svg.Scale, unit: str) -> TreatmentRow:
    absent = "bit-identical" if result.bit_identical else "not run"
    alone, rest = _text(result.alone, unit, absent), _text(result.given_rest, unit, absent)
    plot = svg.effects_row(
        result.alone,
        result.given_rest,
        scale,
        f"{result.treatment}: alone {' '.join(alone)}; given the rest {' '.join(rest)}",
    )
    return TreatmentRow(mark, result, plot, alone, rest)


def _text(effect: Effect | None, unit: str, absent: str) -> tuple[str, str]:
    if effect is None:
        return absent, ""
    places = words.decimals(effect.mean, effect.low, effect.high)
    gain = words.number(effect.mean, places, signed=True)
    return f"{gain} {unit}".strip(), words.interval(effect, places)


def _arm(arm: Variant, treatments: tuple[str, ...], scale: svg.Scale, unit: str, reference: float | None) -> ArmRow:
    text = summary(arm.values, unit)
    plot = svg.values_row(arm.values, scale, f"{arm.name}: {text}", reference=reference)
    return ArmRow(arm, tuple(name in arm.treatments for name in treatments), plot, text)


def _baseline(baseline: Baseline, scale: svg.Scale, unit: str) -> BaselineRow:
    text = summary((baseline.value,), unit)
    return BaselineRow(baseline, svg.baseline_row(baseline.value, scale, f"{baseline.name}: {text}"), text)
