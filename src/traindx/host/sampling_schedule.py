"""Which noise levels, target and time a script's training and its sampling loop have, from the tables they read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traindx.evidence.sampled import LoopSeen, NoisedDraws, TableSeen
from traindx.evidence.sampling import TimeArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEVEL = 1e-3  # largest error of a training level against a table, in the amplitude of the signal
SAME = 1e-3
KINDS = ("epsilon", "v", "sample")


@dataclass(frozen=True)
class Schedule:
    """ᾱ by the entry of the script's own tables."""

    alphas: Array


def _readings(table: TableSeen) -> Iterator[tuple[str, Array]]:
    """What ᾱ a vector of numbers may stand for, with the word in its name that says so."""
    import numpy as np

    values = np.asarray(table.values, dtype=float)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 + 1e-6:
        return
    falling, rising = bool((np.diff(values) <= 1e-7).all()), bool((np.diff(values) >= -1e-7).all())
    name = table.name.lower()
    product = any(word in name for word in ("cumprod", "bar", "prod"))
    root, rest = "sqrt" in name, "minus" in name
    if falling and values[-1] < 0.5 * values[0]:
        yield ("named" if product and not root and not rest else ""), values
        yield ("named" if product and root and not rest else ""), values**2
    if rising and values[-1] > max(0.5, values[0]):
        yield ("named" if product and rest and not root else ""), 1 - values
        yield ("named" if product and rest and root else ""), 1 - values**2
    if values.max() < 1 and rising:
        yield "product", np.cumprod(1 - values)
    if values.min() > 0 and falling:
        yield "product", np.cumprod(values)


def schedule_of(loop: LoopSeen, trained: NoisedDraws | None) -> Schedule | None:
    """ᾱ by entry: the reading that gives training's own levels, else one whose name says it, else one that pairs up."""
    import numpy as np

    if trained is not None and trained.index and trained.tables:
        index = np.asarray(trained.index)
        for table in trained.tables:
            for _, alphas in _readings(table):
                if index.max() < len(alphas):
                    error = np.abs(np.sqrt(np.clip(alphas[index], 0, None)) - np.asarray(trained.a)).max()
                    if error < LEVEL:
                        return Schedule(_clipped(alphas))
        return None
    found = [reading for table in loop.tables for reading in _readings(table)]
    named = [alphas for word, alphas in found if word == "named"]
    if named:
        return Schedule(_clipped(named[0]))
    for number, (word, one) in enumerate(found):  # two tables that are root and complement of each other
        for other_word, other in found[number + 1 :]:
            if "product" not in (word, other_word) and len(one) == len(other) and np.abs(one - other).max() < 1e-5:
                return Schedule(_clipped(one))
    return None


def _clipped(alphas: Array) -> Array:
    import numpy as np

    return np.clip(alphas, 0.0, 1.0)


def trained_kind(trained: NoisedDraws | None) -> str:
    """What the loss compares the output with; empty if that is unknown or none of the usual."""
    import numpy as np

    if trained is None or not trained.of_x0:
        return ""
    a, s = np.asarray(trained.a), np.asarray(trained.s)
    x0, noise = np.asarray(trained.of_x0), np.asarray(trained.of_noise)
    kinds = {"epsilon": (0 * a, 1 + 0 * a), "sample": (1 + 0 * a, 0 * a), "v": (-s, a), "flow": (-1 + 0 * a, 1 + 0 * a)}
    for kind, (first, second) in kinds.items():
        if np.abs(x0 - first).max() < SAME and np.abs(noise - second).max() < SAME:
            return kind
    return ""


def preserving(trained: NoisedDraws) -> bool:
    """True if image and noise are mixed so that their variances add up to one."""
    import numpy as np

    return bool(np.abs(np.asarray(trained.a) ** 2 + np.asarray(trained.s) ** 2 - 1).max() < SAME)


# -- time -------------------------------------------------------------------------------------------------------------


def line_through(timesteps: Sequence[float], values: Sequence[float]) -> tuple[float, float] | None:
    """Scale and offset of values that are an affine function of the timestep; None if they are not."""
    import numpy as np

    t, v = np.asarray(timesteps, float), np.asarray(values, float)
    if len(t) < 2 or np.ptp(t) == 0 or np.ptp(v) == 0:
        return None
    scale, offset = np.polyfit(t, v, 1)
    if np.abs(scale * t + offset - v).max() > 1e-4 * max(np.ptp(v), 1e-12):
        return None
    return float(scale), float(offset)


def words_of(scale: float, offset: float, length: int) -> str:
    """An affine function of the timestep by the name of the usual convention that it is, else as a formula."""
    from traindx.core.time_convention import conventions

    for usual in conventions(length):
        if abs(usual.scale - scale) < 1e-5 * abs(scale) and abs(usual.offset - offset) < 1e-4 * abs(scale) + 1e-9:
            return usual.words
    return f"{scale:.4g} t {'+' if offset >= 0 else '-'} {abs(offset):.4g}"


def trained_time(trained: NoisedDraws) -> TimeArgument | None:
    """What the network is told as time in training, by the entry of the tables that is picked there."""
    if not trained.index or not trained.times:
        return None
    line = line_through(trained.index, trained.times)
    if line is None:
        return None
    length = len(trained.tables[0].values) if trained.tables else max(trained.index) + 1
    return TimeArgument(
        phase="training",
        source="watched",
        calls=len(trained.times),
        dtype=trained.time_dtype,
        low=min(trained.times),
        high=max(trained.times),
        distinct=len(set(trained.times)),
        convention=words_of(*line, length),
        scale=line[0],
        offset=line[1],
        timestep_low=min(trained.index),
        timestep_high=max(trained.index),
        draws=len(trained.times),
        where=trained.where,
    )


def told_as_time(loop: LoopSeen, trained: NoisedDraws | None, timesteps: Sequence[int]) -> tuple[float, ...]:
    """What the network is told as time in the loop: by what tells it in training, else an argument that moves along."""
    series = {one.name: one.values for one in loop.told}
    if trained is not None and trained.told_by:
        return series.get(trained.told_by, ())
    for name, values in series.items():
        if " of " not in name and len(set(values)) > 1:
            return values
    return ()
