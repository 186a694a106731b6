"""What two runs of a script have in common, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence

from traindx.trials.claims import Change
from traindx.trials.script.pairing import ArmResult
from traindx.trials.script.scoring_metric import Chosen, direction_of, value_of


def constant(arm: ArmResult, chosen: Chosen) -> bool:
    """A figure that is the same at every reading of a run."""
    values = [one.values for one in arm.figures if (one.name, one.source) == (chosen.name, chosen.source)]
    return all(len(set(map(repr, one))) <= 1 for one in values)


def _reported(arm: ArmResult) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every figure that both versions can be expected to report alike: not times, nor what depends on them."""
    timing = {"s", "sec", "secs", "seconds", "time", "eta", "elapsed", "min", "ms", "it"}
    return sorted(
        (one.name, one.source, tuple(map(repr, one.values)))
        for one in arm.figures
        if not timing & set(one.name.lower().replace("_", " ").replace("/", " ").split()) and "second" not in one.name
    )


def identical(before: ArmResult, after: ArmResult) -> bool:
    """True if two runs agree bit by bit in everything that was recorded."""
    if before.broke or after.broke or not before.weights:
        return False
    parts = ("losses", "first_gradient", "weights", "buffers", "outputs", "iterations")
    same = all(repr(getattr(before, part)) == repr(getattr(after, part)) for part in parts)
    return same and _judging(before) == _judging(after)


def same_model(before: ArmResult, after: ArmResult) -> bool:
    """True if two runs end with the same networks, which said the same on the way."""
    parts = ("weights", "buffers", "outputs", "iterations")
    return bool(before.weights) and all(getattr(before, part) == getattr(after, part) for part in parts)


def _judging(arm: ArmResult) -> list[tuple[str, str, tuple[str, ...]]]:
    """Figures by which anything could be judged."""
    return [item for item in _reported(arm) if direction_of(item[0]) is not None]


def changes(pairs: Sequence[tuple[int, ArmResult, ArmResult]], chosen: Chosen | None) -> tuple[Change, ...]:
    """What was bit-identical in all pairs and what was not."""
    ran = [(before, after) for _, before, after in pairs if before.weights and after.weights]
    if not ran:
        return ()

    def figures(values: Sequence[tuple[float, float]], digits: int) -> str:
        return ", ".join(f"{a:.{digits}g} → {b:.{digits}g}" for a, b in values)

    def same(part: str) -> bool:
        return all(getattr(a, part) == getattr(b, part) for a, b in ran)

    first = [(a.losses[0], b.losses[0]) for a, b in ran if a.losses and b.losses]
    found = [
        Change(what="first loss", identical=all(repr(a) == repr(b) for a, b in first), detail=figures(first, 6)),
        Change(what="first gradients", identical=same("first_gradient")),
        Change(what="losses", identical=all(repr(a.losses) == repr(b.losses) for a, b in ran)),
        Change(what="weights", identical=same("weights")),
        Change(what="buffers", identical=same("buffers")),
        Change(what="predictions", identical=same("outputs")),
    ]
    if chosen is not None:
        metric = [(value_of(a, chosen), value_of(b, chosen)) for a, b in ran]
        detail = figures(metric, 4)
        found.append(Change(what="metric", identical=all(repr(a) == repr(b) for a, b in metric), detail=detail))
    return tuple(found)
