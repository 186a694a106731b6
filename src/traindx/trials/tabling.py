"""What the table of a trial says beside its rows: the runs, the seeds that would do, the budget that would."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from traindx.diagnosis import Variant
from traindx.durations import format_duration
from traindx.finding import Verdict
from traindx.trials.arms import Design, TreatmentSet
from traindx.trials.effects import Judgement
from traindx.trials.results import Results
from traindx.trials.statistics import seeds_needed


def variants(
    design: Design,
    known: Results,
    seeds: Sequence[int],
    metric: str,
    *,
    labels: Mapping[str, str],
    settled: Collection[str],
    asked: int,
) -> list[Variant]:
    """The runs of a trial that gave a figure on the first seed, in the order of the design.

    Args:
        design: Which there are.
        known: What they gave.
        seeds: Seeds that were tried.
        metric: What judges.
        labels: Names of treatments for readers.
        settled: Treatments that need no further seed.
        asked: Seeds that were asked for.
    """
    active = [key for key in design.treatments if key not in settled]
    early = set(design.arms(settled)) - set(design.arms(active))
    found = []
    for context in design.arms():
        values = [known.value(seed, context, metric) for seed in seeds if known.has(seed, context)]
        if (seeds[0], context) in known.scores:
            found.append(
                Variant(
                    name=_name(design, context, labels),
                    treatments=tuple(labels[key] for key in sorted(context)),
                    values=tuple(values),
                    settled=context in early and len(values) < asked,
                )
            )
    return found


def _name(design: Design, context: TreatmentSet, labels: Mapping[str, str]) -> str:
    name = design.name(context)
    for key in sorted(context, key=len, reverse=True):
        name = name.replace(key, labels[key])
    for key in sorted(labels, key=len, reverse=True):
        name = name.replace(f"all but {key}", f"all but {labels[key]}")
    return name


def seeds_wanted(judged: Mapping[str, Judgement]) -> dict[str, int]:
    """Seeds that would settle what is open, if the effects are what they seem."""
    wanted: dict[str, int] = {}
    for key, one in judged.items():
        effect = one.effects["given rest"] or one.effects["alone"]
        number = seeds_needed(effect) if one.verdict is Verdict.INCONCLUSIVE and effect is not None else None
        if number is not None:
            wanted[key] = number
    return wanted


def spared(seconds: float) -> str:
    """A budget with a tenth to spare, in whole minutes where it is some minutes."""
    spare = 1.1 * seconds
    whole = 60.0 * math.ceil(spare / 60) if spare > 120 else float(math.ceil(spare))
    return format_duration(whole).removesuffix(" 00 s").replace(".0 s", " s")
