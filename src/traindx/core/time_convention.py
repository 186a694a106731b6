"""How a timestep is passed to a network: raw, divided by T, counted from 1 ... and back from the value to the
timestep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TimeMap:
    """``value = scale * timestep + offset``, or a table of values for time embeddings that are not affine.

    Attributes:
        words: The convention in words.
        scale: See above; NaN with a table.
        offset: See above.
        table: Value of every timestep.
    """

    words: str
    scale: float
    offset: float = 0.0
    table: tuple[float, ...] | None = None

    def decode(self, values: Tensor) -> Tensor:
        """Values to timesteps, not rounded for an affine map."""
        import torch

        if self.table is None:
            return (values - self.offset) / self.scale
        table = torch.tensor(self.table, dtype=torch.float64)
        nearest = (values[:, None] - table[None]).abs().argmin(dim=1)
        width = float(table.max() - table.min())
        off = (table[nearest] - values).abs() > 1e-4 * max(width, 1e-12)
        return torch.where(off, torch.full_like(values, float("nan")), nearest.double())

    def fits(self, values: Tensor, timesteps: int, resolution: float = 1e-7) -> bool:
        """True if every value decodes to a timestep that exists.

        Args:
            values: What the network received, 64-bit.
            timesteps: T.
            resolution: Machine epsilon of the type it was received in: 0.999 in bfloat16 is no timestep.
        """
        if len(values) == 0:
            return False
        steps = self.decode(values)
        slack = 0.01 if self.table is not None else 0.01 + resolution * float(values.abs().max()) / abs(self.scale)
        whole = (steps - steps.round()).abs() <= min(slack, 0.4)
        inside = (steps.round() >= 0) & (steps.round() <= timesteps - 1)
        return bool((whole & inside).all())


def conventions(timesteps: int) -> tuple[TimeMap, ...]:
    """The ways in which codebases pass a timestep of 0 ... T-1, most frequent first."""
    t = timesteps
    found = [
        TimeMap("t", 1.0),
        TimeMap(f"t / {t}", 1 / t),
        TimeMap(f"t / {t - 1}", 1 / max(1, t - 1)),
        TimeMap("t + 1", 1.0, 1.0),
        TimeMap(f"(t + 1) / {t}", 1 / t, 1 / t),
    ]
    if t != 1000:
        found.append(TimeMap(f"1000 t / {t}", 1000 / t))
    found += [
        TimeMap(f"2 t / {t} - 1", 2 / t, -1.0),
        TimeMap(f"{t - 1} - t", -1.0, float(t - 1)),
        TimeMap(f"{t} - t", -1.0, float(t)),
        TimeMap(f"1 - t / {t}", -1 / t, 1.0),
    ]
    return tuple(found)


def readings(
    values: Tensor, timesteps: int, preferred: Sequence[TimeMap] = (), resolution: float = 1e-7
) -> list[TimeMap]:
    """Conventions by which a sampling loop's times are timesteps, most plausible first.

    One is enough where the first lets the timesteps fall. Where it lets them rise (a loop that runs the wrong way, or a
    time that counts from the other end), all that let them fall follow: only the loop's own arithmetic can tell which
    it is.
    """
    fitting = [item for item in (*preferred, *conventions(timesteps)) if item.fits(values, timesteps, resolution)]
    falling = [item for item in fitting if bool((item.decode(values).round().diff() <= 0).all())]
    if not fitting:
        return []
    if fitting[0] in falling or not falling:
        return fitting[:1]
    return [fitting[0], *falling]


def affine(timesteps: Sequence[int], values: Sequence[float], length: int) -> TimeMap | None:
    """The affine map through some pairs, named if it is a usual one; None if they are not on a line or do not vary."""
    import numpy as np

    t, v = np.asarray(timesteps, float), np.asarray(values, float)
    if len(set(t.tolist())) < 2 or np.ptp(v) == 0:
        return None
    scale, offset = np.polyfit(t, v, 1)
    span = abs(scale) * max(1, length - 1)
    if np.abs(scale * t + offset - v).max() > 1e-4 * span:
        return None
    for usual in conventions(length):
        if abs(usual.scale - scale) < 1e-5 * abs(scale) and abs(usual.offset - offset) < 1e-4 * abs(scale) + 1e-9:
            return usual
    return TimeMap(f"{scale:.4g} t {'+' if offset >= 0 else '-'} {abs(offset):.4g}", float(scale), float(offset))
