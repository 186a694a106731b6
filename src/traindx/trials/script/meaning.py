"""What a figure means: what it gives for outputs that no model made.

In a run of its own a script's network says, from one validation pass to the next, noise, zeros, ones, the target itself
and the target of another item. Every figure that the script reports is read in that run. One that is the same as in the
run without looks at no output; one that the target makes higher than another item's target is better when it is
higher; and two versions of a script share a figure only where fixed outputs score alike in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from traindx.trials.script.directions import Tested, way_of
from traindx.trials.script.pairing import ArmResult, Series
from traindx.trials.script.scoring_metric import Chosen, unfit
from traindx.trials.treatments.reference_prediction.script import FIXED, KINDS

SAME = 1e-9  # relative difference below which two printed figures are the same
DISTINGUISHABLE = 1e-6  # relative difference by which a perfect prediction must differ from another item's
CLEARLY = 2.0  # times by which noise must be worse than everything that the network reached
MARGIN = 1.2  # of the time that a run is expected to take
FIXED_TREATMENT = "reference-prediction"

NOISE = "noise"

Key = tuple[str, str]
RunFixed = Callable[[Sequence[str], int], ArmResult]  # kinds by pass, iterations -> the run


@dataclass(frozen=True)
class Meaning:
    """What the figures of a version gave for fixed outputs.

    Attributes:
        values: Reading by kind and figure.
        tested: What follows for which figure may judge.
        why_not: Why nothing, or not everything, is known; empty where all is.
        seconds: What it cost.
    """

    values: Mapping[str, Mapping[Key, float]] = field(default_factory=dict)
    tested: Tested = field(default_factory=Tested)
    why_not: str = ""
    seconds: float = 0.0

    def of(self, chosen: Chosen) -> dict[str, float]:
        """What one figure gave, by kind."""
        key = (chosen.name, chosen.source)
        return {kind: found[key] for kind, found in self.values.items() if key in found}


def examine(control: ArmResult, run: RunFixed, left: Callable[[], float], kinds: Sequence[str] = KINDS) -> Meaning:
    """Try fixed outputs in a version of a script.

    Args:
        control: The version as it is.
        run: Runs it once more, with these kinds by validation pass, for so many iterations.
        left: Seconds that may be spent.
        kinds: What is to be tried, most important first.
    """
    read = _readings(control)
    if not read:
        return Meaning(why_not="no figure was read after a validation")
    if not control.outputs:
        return Meaning(why_not="its networks are not called without gradients")
    values: dict[str, dict[Key, float]] = {}
    moves: dict[Key, bool] = {}
    left_alone = False  # the network returns numbers of its own, which may be these figures
    why_not, cost = "", 0.0
    todo = list(kinds)
    while todo:
        counts = range(min(len(todo), len(read)), 0, -1)  # as many in one run as there is time for
        fitting = next((count for count in counts if MARGIN * _seconds(control, read[count - 1]) <= left()), 0)
        batch, steps = todo[:fitting], read[fitting - 1] + 1
        if not batch:
            why_not = f"no time was left for fixed outputs ({', '.join(todo)})"
            break
        result = run(batch, steps)
        cost += result.seconds
        if _ended_at_noise(control, result):
            todo.remove(NOISE)
            continue
        if result.broke or result.unfinished:
            why_not = f"it does not run on fixed outputs: {result.broke or 'no time was left'}"
            break
        found = by_kind(result)
        for kind, readings in found.items():
            values.setdefault(kind, {}).update(readings)
        _moved(control, result, moves)
        left_alone = left_alone or any(did.get("left") for did in result.treatments.values())
        todo = [kind for kind in todo if kind not in batch]
    if left_alone:  # what did not move may be what the network returned, and that was not touched
        moves = {key: True for key, moved in moves.items() if moved}
        values = {kind: {key: it[key] for key in it if key in moves} for kind, it in values.items()}
    most: dict[Key, float] = {}
    for readings in values.values():
        for key, value in readings.items():
            most[key] = max(value, most.get(key, value))
    by_noise, by_target = _beside_noise(control, values, most), _directions(values)
    beside = frozenset(by_noise.keys() - by_target.keys())
    tested = Tested(moves, {**by_noise, **by_target}, most=most, beside_noise=beside)
    return Meaning(values, tested, why_not, cost)


def _ended_at_noise(control: ArmResult, result: ArmResult) -> bool:
    """The program gave up in its first pass of noise: its loss takes probabilities, and noise is beyond 0 and 1."""
    if [kind for _, kind in result.passes] != [NOISE] or result.unfinished:
        return False
    validated = {(one.name, one.source) for one in control.figures if one.evaluating and one.split != "training"}
    at = result.passes[0][0]
    read = {(one.name, one.source) for one in result.figures if any(when >= at for when in one.iterations)}
    return bool(result.broke) or not read & validated


def _seconds(control: ArmResult, iteration: int) -> float:
    """Of a run that ends after an iteration; what comes before the first one stays."""
    share = min(1.0, (iteration + 1) / max(1, control.iterations))
    return max(share, 0.25) * control.seconds


def by_kind(result: ArmResult) -> dict[str, dict[Key, float]]:
    """The last reading of every figure that belongs to a pass of each kind."""
    found: dict[str, dict[Key, float]] = {}
    passes = sorted(result.passes)
    for one in result.figures:
        for at, value in zip(one.iterations, one.values, strict=True):
            said = [kind for begun, kind in passes if begun <= at]
            if said and said[-1] and math.isfinite(value):
                found.setdefault(said[-1], {})[one.name, one.source] = value
    return found


def _moved(control: ArmResult, result: ArmResult, moves: dict[Key, bool]) -> None:
    """Whether figures differ from what they were with the network's own outputs."""
    known = {(one.name, one.source): one for one in control.figures}
    begun = min((at for at, _ in result.passes), default=0)
    for one in result.figures:
        key = (one.name, one.source)
        real = known.get(key)
        if real is None:
            continue
        pairs = list(zip(_since(one, begun), _since(real, begun), strict=False))
        if pairs:
            moves[key] = moves.get(key, False) or any(not _same(a, b) for a, b in pairs)


def _since(one: Series, begun: int) -> list[float]:
    return [value for at, value in zip(one.iterations, one.values, strict=True) if at >= begun]


def _same(one: float, other: float) -> bool:
    if math.isnan(one) and math.isnan(other):
        return True
    return one == other or abs(one - other) <= SAME * max(abs(one), abs(other))


def _directions(values: Mapping[str, Mapping[Key, float]]) -> dict[Key, bool]:
    perfect, shuffled = values.get("perfect", {}), values.get("shuffled", {})
    return {
        key: perfect[key] > shuffled[key]
        for key in perfect.keys() & shuffled.keys()
        if abs(perfect[key] - shuffled[key]) > DISTINGUISHABLE * max(abs(perfect[key]), abs(shuffled[key]))
    }


def _beside_noise(
    control: ArmResult, values: Mapping[str, Mapping[Key, float]], most: Mapping[Key, float]
) -> dict[Key, bool]:
    """Directions of figures whose names tell none, from what noise is given where the network's output never gets it.

    Where targets are not known there is no perfect prediction, but noise is worse than what any training reaches. It
    has to be so by much and at every reading, since a network that fails may be worse than noise.
    """
    found: dict[Key, bool] = {}
    noise = values.get("noise", {})
    for one in control.figures:
        key = (one.name, one.source)
        own = [value for value, at in zip(one.values, one.iterations, strict=True) if at]
        if key not in noise or not own or min(own) < 0 or noise[key] < 0 or way_of(one, Tested(most=most)) is not None:
            continue
        if noise[key] > CLEARLY * max(own):
            found[key] = False
        elif min(own) > CLEARLY * noise[key]:
            found[key] = True
    return found


def _readings(control: ArmResult) -> list[int]:
    """Iterations at which a figure that might judge was read, after the first iteration."""
    best: list[int] = []
    for one in control.figures:
        moving = Tested(moves={(one.name, one.source): True})  # what never moves may yet, with another output
        if not unfit(one, control.held, moving) or (one.evaluating and one.split != "training"):
            found = sorted({at for at in one.iterations if at})
            # of those that come first the one with most readings: each can be given another fixed output in one run
            if found and (not best or (found[0], -len(found)) < (best[0], -len(best))):
                best = found
    return best


def differences(before: Meaning, after: Meaning, chosen: Chosen) -> dict[str, float]:
    """By how much a figure moves for the same fixed outputs, after minus before, by kind."""
    one, other = before.of(chosen), after.of(chosen)
    known = shared(before, after, chosen)
    return {kind: other[kind] - one[kind] for kind in known if not _same(one[kind], other[kind])}


def shared(before: Meaning, after: Meaning, chosen: Chosen) -> list[str]:
    """Fixed outputs that were scored in both."""
    one, other = before.of(chosen), after.of(chosen)
    return [kind for kind in KINDS if kind in one and kind in other]


__all__ = ["FIXED", "KINDS", "Meaning", "by_kind", "differences", "examine", "shared"]
