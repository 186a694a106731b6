"""Which figure of a script judges it, in which direction, and why no other does.

The script's own validation figure is taken where it reports one that can be relied on: the one that was named, else one
that was read after the trained network was called as in validation, that moves, and whose direction is known. What the
configuration holds, weights and rates, the best so far and figures of training never judge. Where there is no figure
of the script's own, one of ours on the outputs that were seen is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from traindx.core.metric_names import (
    COUNTERS,
    EXTREME,
    LOSSES,
    MEANS,
    ONE_SIDED,
    TRAINING,
    direction_of,
    is_extreme,
    is_setting,
    split_of,
    words,
)
from traindx.errors import UsageError
from traindx.trials.script.directions import Tested, beyond_its_range, said, way_of, with_losses
from traindx.trials.script.pairing import ArmResult, Series

__all__ = ["Choice", "Chosen", "Tested", "choose", "direction_of", "read_at", "value_of", "wanted_metric", "words"]

# Figures of ours, the one first that says most; see :mod:`traindx.watch.interventions.outputs`.
OURS = {
    "Dice": True,
    "accuracy": True,
    "area under the ROC curve": True,
    "peak signal-to-noise ratio": True,
    "mean absolute error": False,
}
CONSTANT = "it is the same at every reading"
_HIGHER_WORDS = ("higher", "max", "up")
_LOWER_WORDS = ("lower", "min", "down")


@dataclass(frozen=True)
class Chosen:
    """The figure that judges.

    Attributes:
        name: As it is shown.
        source: Where it comes from.
        higher_is_better: Its direction.
        is_loss: It is a validation loss, whose meaning a treatment may change.
        validation: False if nothing says that it was taken on validation data.
        tested: Its direction was seen with predictions of known worth, and not only read from its name.
        provisional: It was the same at every reading, and nothing is known of whether it looks at the output: it may
            be a constant, or a program that learns nothing.
    """

    name: str
    source: str
    higher_is_better: bool
    is_loss: bool = False
    validation: bool = True
    tested: bool = False
    provisional: bool = False


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why nothing was (or, beside a figure of ours, why none of the script's own).

    Attributes:
        chosen: The figure.
        why_not: Why there is none, or none of the script's own.
        why: Why this one.
        runner_up: The second, and why it is the second; empty where there is none.
    """

    chosen: Chosen | None = None
    why_not: str = ""
    why: str = ""
    runner_up: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is printed of it."""
        return tuple(text for text in (self.why, self.runner_up, self.why_not) if text)


def wanted_metric(text: str) -> tuple[str, bool | None]:
    """``NAME``, ``NAME:higher`` or ``NAME:lower`` of the command line.

    Raises:
        UsageError: What follows the colon is neither.
    """
    name, colon, way = text.rpartition(":")
    if not colon:
        return text, None
    if way in _HIGHER_WORDS:
        return name, True
    if way in _LOWER_WORDS:
        return name, False
    raise UsageError(f"--metric {text!r}: {way!r} is no direction", expected="NAME:higher or NAME:lower")


def choose(control: ArmResult, metric: str = "", tested: Tested | None = None) -> Choice:
    """The figure that judges all arms, from what the control reported.

    Args:
        control: The script as it is.
        metric: What the user named, or empty.
        tested: What its figures gave for predictions that no model made, where that was tried.
    """
    tested = with_losses(control, tested or Tested())
    if metric:
        return _named(control, metric, tested)
    rejected: dict[str, str] = {}
    constant: Series | None = None
    ranked: list[tuple[float, int, Series]] = []
    for index, one in enumerate(control.figures):
        why = unfit(one, control.held, tested)
        if why:
            rejected.setdefault(one.name, why)
            if why.startswith(CONSTANT) and said(one) and "loss" not in words(one.name):
                constant = constant or one
        else:
            ranked.append((_rank(one), -index, one))
    ranked.sort(key=lambda item: item[:2], reverse=True)
    if ranked:
        first = ranked[0][2]
        chosen = _chosen(first, tested)
        second = ranked[1][2] if len(ranked) > 1 else None
        return Choice(chosen, why=_why(first, chosen, tested), runner_up=_second(first, second, rejected))
    for name, higher in OURS.items():
        if any(one.name == name for one in control.captured):
            return Choice(Chosen(name, "captured", higher, tested=True), _nothing(control, rejected, tested, ours=True))
    if constant is not None:
        why = f"{constant.name} was chosen for want of another: {rejected[constant.name]}"
        return Choice(replace(_chosen(constant, tested), provisional=True), why=why)
    return Choice(why_not=_nothing(control, rejected, tested))


def unfit(one: Series, held: Mapping[str, Sequence[float]], tested: Tested) -> str:  # noqa: PLR0911  (a reason each)
    """Why a figure cannot judge; empty where it can."""
    found = set(words(one.name))
    values = [value for value, at in zip(one.values, one.iterations, strict=True) if at] or list(one.values)
    moves = tested.moves.get((one.name, one.source))
    if one.split == "training" or (found & TRAINING and split_of(one.name) not in ("validation", "test")):
        return "it is a figure of training"
    if is_extreme(one.name):
        return "it is the best so far"
    if is_setting(one.name):
        return "it is a weight, a rate or a size"
    if moves is False:
        return "it does not move with the network's output"
    if held_by_configuration(one.name, values, held):
        return f"the program held it ({values[-1]:g}) before it trained"
    if one.iterations and not any(one.iterations):
        return "it was read before the first iteration"
    if one.evaluating is False and one.source != "printed":
        return "it was not read after a validation"
    if one.evaluating is False and not said(one):
        return "it was not read after a validation"
    if way_of(one, tested) is None:
        return _no_direction(one, tested)
    if not _validates(one) and "loss" in found:
        return "nothing says that it is a loss of validation"
    if not _validates(one) and not way_of(one, tested) and (found & LOSSES or not one.evaluating):
        return "nothing says that it is an error of validation"
    return _constant(values, moves, is_error=way_of(one, tested) is False)


def _constant(values: Sequence[float], moves: bool | None, *, is_error: bool) -> str:
    """Why a figure that is the same at every reading cannot judge; empty where it is not, or where it can."""
    if not values or len(set(map(repr, values))) > 1:
        return ""
    if len(values) > 1 and is_error and not any(values):
        return f"{CONSTANT} (0), and no error is less"
    if moves is None and (len(values) > 1 or values[0] == 0):
        # one reading of exactly zero is as likely a term that is switched off as an error that is gone
        return f"{CONSTANT} ({values[0]:g})"
    return ""


def _no_direction(one: Series, tested: Tested) -> str:
    if (one.name, one.source) in tested.with_loss:
        return "it falls with the loss of validation, so it is not the quality of that name"
    most = beyond_its_range(one, tested)
    if most is not None:
        return f"it was {most:.3g}, so it is not the quality of that name"
    return "its name does not tell which direction is better"


def held_by_configuration(name: str, values: Sequence[float], held: Mapping[str, Sequence[float]]) -> bool:
    """The program held this number under this name before its first iteration, and it never was another."""
    known = held.get(" ".join(words(name)), ())
    return bool(values) and len(set(map(repr, values))) == 1 and any(values[0] == one for one in known)


def _rank(one: Series) -> float:
    """How well a figure is suited."""
    found = set(words(one.name))
    validation = one.split == "validation" or (_validates(one) and one.split != "test")
    rank = 4.0 * (_validates(one) or bool(one.evaluating)) + 1.0 * validation + 2.0 * ("loss" not in found)
    rank += 0.5 * (one.source != "printed") + 0.4 * (not found & ONE_SIDED) + 0.3 * bool(found & MEANS)
    return rank + 0.2 * (len(one.values) > 1) + 0.1 * said(one)


def _validates(one: Series) -> bool:
    """The script, or the object that computed it, says that it is a figure of validation."""
    return said(one) or (bool(one.evaluating) and one.source != "printed")


def _chosen(one: Series, tested: Tested) -> Chosen:
    way = way_of(one, tested)
    assert way is not None
    key = (one.name, one.source)
    is_loss = "loss" in words(one.name) or key in tested.losses
    return Chosen(one.name, one.source, way, is_loss, _validates(one), key in tested.higher)


def _named(control: ArmResult, metric: str, tested: Tested) -> Choice:
    name, way = wanted_metric(metric)
    plain = " ".join(words(name))
    every = [*control.figures, *control.captured]
    exact = [one for one in every if one.name == name] or [one for one in every if " ".join(words(one.name)) == plain]
    found = exact or [one for one in every if plain and plain in " ".join(words(one.name))]
    if not found:
        known = ", ".join(dict.fromkeys(one.name for one in every)) or "nothing"
        return Choice(why_not=f"the script reported no {name!r} within the window; it reported {known}")
    best = max(found, key=lambda one: (len(one.values), one.split != "training"))
    if way is None:
        way = OURS[best.name] if best.name in OURS and best.source == "captured" else way_of(best, tested)
    if way is None:
        return Choice(why_not=f"is a higher {name!r} better? Say --metric {name}:higher or --metric {name}:lower")
    doubt = unfit(best, control.held, tested) if best.source != "captured" else ""
    why = f"{best.name} judges as --metric says" + (f", although {doubt}" if doubt else "")
    return Choice(Chosen(best.name, best.source, way, "loss" in words(best.name)), why=why)


# -- words ---------------------------------------------------------------------------------------------------------


def _why(one: Series, chosen: Chosen, tested: Tested) -> str:
    moves = tested.moves.get((one.name, one.source))
    reasons = []
    if chosen.validation:
        reasons.append(f"a figure of {one.split or 'validation'}")
    elif one.evaluating:
        reasons.append("read after the network was called without gradients")
    if "loss" in words(one.name):
        reasons.append("no other quality was reported")
    if moves:
        reasons.append("it moves with the network's output")
    if (one.name, one.source) in tested.losses:
        reasons.append("what is printed of training beside it is the loss, so lower is better")
    if one.name in tested.in_source and not chosen.tested:
        reasons.append(f"the line that prints it computes {'a quality' if chosen.higher_is_better else 'an error'}")
    if chosen.tested and (one.name, one.source) in tested.beside_noise:
        reasons.append(f"noise is {'lower' if chosen.higher_is_better else 'higher'} than all that the network reached")
    elif chosen.tested:
        reasons.append(f"a perfect prediction makes it {'higher' if chosen.higher_is_better else 'lower'}")
    named = one.higher_is_better if one.higher_is_better is not None else direction_of(one.name)
    if chosen.tested and named is not None and named is not chosen.higher_is_better:
        reasons.append("its name says the opposite")
    return f"{one.name} was chosen: {', '.join(reasons)}" if reasons else ""


def _second(first: Series, second: Series | None, rejected: Mapping[str, str]) -> str:
    if second is not None:
        found, other = set(words(first.name)), set(words(second.name))
        why = "it came later"
        if "loss" in other and "loss" not in found:
            why = "a loss may change its meaning"
        elif _validates(first) and not _validates(second):
            why = "nothing says that it is a figure of validation"
        elif other & ONE_SIDED and not found & ONE_SIDED:
            why = "it weighs one kind of error only"
        elif first.split == "validation" and second.split == "test":
            why = "it is a figure of the test set"
        return f"next would have been {second.name} ({why})"
    for name, why in rejected.items():
        if direction_of(name) is not None and split_of(name) != "training":
            return f"next would have been {name}, but {why}"
    return ""


def _unknown_direction(control: ArmResult, tested: Tested) -> str:
    """A question about validation figures whose names do not tell which is better; empty where there is none."""

    def unknown(one: Series) -> bool:
        return said(one) and way_of(one, tested) is None and not is_setting(one.name)

    open_names = list(dict.fromkeys(one.name for one in control.figures if unknown(one)))
    if open_names:
        name = open_names[0]
        return (
            f"of {', '.join(open_names[:4])} it is not known whether higher or lower is better: "
            f"say --metric '{name}:higher' or --metric '{name}:lower'"
        )
    return ""


def _nothing(control: ArmResult, rejected: Mapping[str, str], tested: Tested, ours: bool = False) -> str:
    question = _unknown_direction(control, tested)
    doubtful = [f"{name}: {why}" for name, why in rejected.items() if direction_of(name) is not None]
    if question or (ours and not doubtful):
        return question
    skipped = COUNTERS | EXTREME | {"lr"}
    others = [one.name for one in control.figures if not set(words(one.name)) & skipped]
    seen = f"it reported {', '.join(list(dict.fromkeys(others))[:6])}" if others else "it reported no figure"
    if doubtful:
        seen += f"; {'; '.join(doubtful[:3])}"
    if ours:
        return f"none of the script's own figures can judge: {seen}"
    if control.outputs:
        return f"no validation metric was recognised ({seen}): name one with --metric NAME"
    return (
        f"no validation was reached within {control.iterations} iterations ({seen}): raise --steps or --until, or "
        "name a figure with --metric NAME"
    )


def value_of(arm: ArmResult, chosen: Chosen) -> float:
    """The last reading of the figure that judges; NaN where it was never read."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            return one.values[-1] if one.values else math.nan
    return math.nan


def value_at(arm: ArmResult, chosen: Chosen, iteration: int) -> float:
    """The last reading up to an iteration of the figure that judges; NaN where there is none."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            known = [value for at, value in zip(one.iterations, one.values, strict=True) if at <= iteration]
            return known[-1] if known else math.nan
    return math.nan


def readings_of(arm: ArmResult, chosen: Chosen, iteration: int = 0) -> list[float]:
    """All readings of the figure that judges, up to an iteration where one is given."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            return [
                value for at, value in zip(one.iterations, one.values, strict=True) if at <= (iteration or math.inf)
            ]
    return []


def mean_of(arm: ArmResult, chosen: Chosen, iteration: int = 0) -> float:
    """The mean over the readings of the figure that judges, up to an iteration where one is given; NaN without any."""
    known = readings_of(arm, chosen, iteration)
    return sum(known) / len(known) if known else math.nan


def read_at(arm: ArmResult, chosen: Chosen) -> Sequence[int]:
    """Iterations at which it was read."""
    for one in (*arm.figures, *arm.captured):
        if one.name == chosen.name and one.source == chosen.source:
            return one.iterations
    return ()
