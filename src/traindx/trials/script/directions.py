"""Which way a figure goes: as it was tested, as its name says, and where what it did contradicts the name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import correlation

from traindx.core.metric_names import AT_MOST_ONE, LOSSES, direction_of, split_of, words
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.source_names import directions_in

MOST_OF_A_LOSS = 2.0  # one minus a quality that is -1 at worst
LEAST_IN_STEP = 4  # readings
IN_STEP = 0.9  # a quality and a loss of one validation are correlated negatively, unless one is a term of the other
SAME_LOSS = 0.01  # of an octave: what is printed to three digits


@dataclass(frozen=True)
class Tested:
    """What figures gave for predictions that no model made; see :mod:`traindx.trials.script.meaning`.

    Attributes:
        moves: Whether a figure changes with the network's output, by name and source.
        higher: Its direction, by name and source, where a perfect prediction was scored.
        losses: Figures that are the loss of validation, whatever they are called: the figure of training beside them
            reads what was stepped on.
        most: The largest that figures were, by name and source.
        beside_noise: Figures whose direction noise alone tells, there being no target to make a perfect prediction of.
        in_source: By name, what the line that prints a figure says of its direction, where nothing else does.
        with_loss: Figures that are called a quality and fall with the loss of validation: a term of it, as ``dice`` is
            in ``Val - Loss: 0.43 (dice: 0.40)``.
    """

    moves: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    higher: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    losses: frozenset[tuple[str, str]] = frozenset()
    most: Mapping[tuple[str, str], float] = field(default_factory=dict)
    beside_noise: frozenset[tuple[str, str]] = frozenset()
    with_loss: frozenset[tuple[str, str]] = frozenset()
    in_source: Mapping[str, bool] = field(default_factory=dict)


def way_of(one: Series, tested: Tested) -> bool | None:
    """The direction of a figure: as it was tested, as its object says, or as its name does."""
    key = (one.name, one.source)
    if key in tested.higher:
        return tested.higher[key]
    if key in tested.losses:
        return False
    if one.higher_is_better is not None:
        return one.higher_is_better
    doubted = key in tested.with_loss or beyond_its_range(one, tested) is not None
    named = None if doubted else direction_of(one.name)
    return named if named is not None else tested.in_source.get(one.name)


def beyond_its_range(one: Series, tested: Tested) -> float | None:
    """What a figure was that is called like a quality of 1 at best, and was more: a loss of that name; else None.

    ``val giou 1.31``, or ``val giou 0.8`` where outputs that no model made give 1.9. Percents are left alone, but for
    those of a network whose best reading is 2 % or less.
    """
    if not direction_of(one.name) or not set(words(one.name)) & AT_MOST_ONE:
        return None
    known = [*filter(math.isfinite, one.values), tested.most.get((one.name, one.source), -math.inf)]
    return max(known) if 1 + 1e-6 < max(known) <= MOST_OF_A_LOSS else None


def with_losses(control: ArmResult, tested: Tested) -> Tested:
    """Validation figures whose direction nothing tells, and whose like of training is the loss that was stepped on.

    ``train 0.412 val 0.431``: neither is called a loss, and the first one reads what ``backward`` was called on.
    """
    stepped = [
        _plain(one.name)
        for one in control.figures
        if split_of(one.name) == "training" and _reads_the_loss(one, control.losses, control.iterations)
    ]
    open_names = [one for one in control.figures if said(one) and way_of(one, tested) is None]
    return replace(
        tested,
        losses=frozenset((one.name, one.source) for one in open_names if _plain(one.name) in stepped),
        with_loss=_falling_with_loss(control),
        in_source=directions_in(control.imported, {one.name for one in open_names}),
    )


def _falling_with_loss(control: ArmResult) -> frozenset[tuple[str, str]]:
    """Validation figures that are called a quality, and fall and rise with the validation loss all the way."""
    known = [one for one in control.figures if said(one)]
    losses = [one for one in known if set(words(one.name)) & LOSSES]
    qualities = [one for one in known if one.higher_is_better is None and direction_of(one.name)]
    return frozenset(
        (one.name, one.source)
        for one in qualities
        if any(one.source == loss.source and _in_step(one, loss) for loss in losses)
    )


def _in_step(one: Series, other: Series) -> bool:
    """Whether two figures fall and rise together, at four readings or more."""
    read = dict(zip(other.iterations, other.values, strict=True))
    pairs = [(value, read[at]) for at, value in zip(one.iterations, one.values, strict=True) if at and at in read]
    if len(pairs) < LEAST_IN_STEP or not all(math.isfinite(value) for pair in pairs for value in pair):
        return False
    first, second = zip(*pairs, strict=True)
    return len(set(first)) > 1 and len(set(second)) > 1 and correlation(first, second) > IN_STEP


def _plain(name: str) -> str:
    """A name without its split."""
    return " ".join(word for word in words(name) if not split_of(word))


def _reads_the_loss(one: Series, losses: Sequence[float], iterations: int) -> bool:
    """A figure is what ``backward`` was called on in the iteration of its reading, or that but for a power of two.

    Mixed precision scales the loss by powers of two, and accumulation divides it, by two, four or eight as a rule.
    """
    each = round(len(losses) / max(1, iterations))
    if each < 1 or len(one.values) < 2:
        return False
    powers: set[int] | None = None
    for at, value in zip(one.iterations, one.values, strict=True):
        near = losses[max(0, (at - 1) * each - 1) : at * each + 1]
        logs = [math.log2(loss / value) for loss in near if loss > 0 and value > 0 and math.isfinite(loss)]
        fits = {round(log) for log in logs if abs(log - round(log)) < SAME_LOSS}
        powers = fits if powers is None else powers & fits
    return bool(powers)


def said(one: Series) -> bool:
    """The script says that it is a figure of validation or test."""
    return one.split in ("validation", "test") or split_of(one.name) in ("validation", "test")
