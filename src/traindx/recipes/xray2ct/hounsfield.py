"""Hounsfield windows: raw CT values to network values in [-1, 1] and back, and what each window keeps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from traindx.case_parts import Normaliser
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
    "lung": HounsfieldWindow(-1350.0, 150.0),  # the others are for reading single tissues (Hofer 2021)
    "bone": HounsfieldWindow(-450.0, 1050.0),
    "mediastinum": HounsfieldWindow(-160.0, 240.0),
    "soft tissue": HounsfieldWindow(-200.0, 200.0),
}
"""Named windows; :func:`destroyed` says what each turns into constants. The radiographs show lung and bone whatever the
window, so a target without them contradicts what it is to be reconstructed from."""


def named_window(name: str) -> HounsfieldWindow:
    """A window by name.

    Raises:
        InputError: There is none of that name; the message says what each destroys.
    """
    if name not in WINDOWS:
        raise InputError(f"there is no window {name!r}", expected=f"one of these\n{windows_table()}")
    return WINDOWS[name]


def destroyed(window: HounsfieldWindow) -> dict[str, float]:
    """Share of the HU range of each tissue of :data:`TISSUES` that a window turns into one value.

    >>> destroyed(WINDOWS["soft tissue"])["lung"]
    1.0
    """
    shares = {}
    for tissue, (low, high) in TISSUES.items():
        kept = max(0.0, min(high, window.high) - max(low, window.low))
        shares[tissue] = 1 - kept / (high - low)
    return shares


def windows_table() -> str:
    """Every named window, its bounds, what it destroys, and the share of its values that soft tissue gets."""
    low, high = TISSUES["soft tissue"]
    rows = [
        f"{'window':14}{'HU':18}" + "".join(f"{tissue:>13}" for tissue in TISSUES) + "   values left for soft tissue"
    ]
    for name, window in WINDOWS.items():
        lost = "".join(f"{f'-{share:.0%}' if share else 'kept':>13}" for share in destroyed(window).values())
        share = max(0.0, min(high, window.high) - max(low, window.low)) / (window.high - window.low)
        rows.append(f"{name:14}{window!s:18}{lost}   {share:.0%}")
    return "\n".join(rows)
