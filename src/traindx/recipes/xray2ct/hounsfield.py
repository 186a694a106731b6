"""Hounsfield windows: raw CT values to network values in [-1, 1] and back, and what each window keeps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from traindx.case import Normaliser
from traindx.errors import InputError

TISSUES = {
    "lung": (-950.0, -400.0),
    "fat": (-150.0, -30.0),
    "soft tissue": (-30.0, 200.0),
    "bone": (200.0, 1000.0),
}
"""HU ranges that a chest CT is about; blood with contrast agent falls into soft tissue and bone (Hofer, *CT Teaching
Manual*, 2021). At voxels of a centimetre partial volume widens all of them."""

EVALUATED_HU = (-1000.0, 1000.0)
"""Predictions and truth are compared within this window, so the data range of PSNR and SSIM is always 2000 HU."""


@dataclass(frozen=True)
class HounsfieldWindow:
    """Clip to [low, high] HU, then scale to [-1, 1].

    Attributes:
        low: HU that becomes -1.
        high: HU that becomes 1.
    """

    low: float = -1000.0
    high: float = 1000.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"the window [{self.low:g}, {self.high:g}] HU is empty", expected="low < high")

    def encode(self, hu: Tensor) -> Tensor:
        """HU to network values."""
        return (hu.clamp(self.low, self.high) - self.low) / (self.high - self.low) * 2 - 1

    def decode(self, value: Tensor) -> Tensor:
        """Network values to HU; values outside [-1, 1] are continued linearly."""
        return (value + 1) / 2 * (self.high - self.low) + self.low

    def normaliser(self) -> Normaliser:
        """The window as part of a case whose batches carry raw values under ``hu``."""
        return Normaliser(self.encode, self.decode, "HU", TISSUES, raw=_raw)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}] HU"


def _raw(batch: dict[str, Tensor]) -> Tensor:
    return batch["hu"]


WINDOWS = {
    "full": HounsfieldWindow(-1000.0, 1000.0),  # loses only metal and the densest cortical bone
    "wide": HounsfieldWindow(-1000.0, 3000.0),  # loses nothing; soft tissue has 6 % of the range
}
"""Named windows. A narrow one, such as [-200, 200] HU, is left out on purpose: it turns lung and bone into constants
that the radiographs still show."""
