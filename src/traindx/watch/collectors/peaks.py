"""Figures in decibels whose peak is taken from the image at hand, followed through numbers of one element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from traindx.evidence.base import Record
from traindx.evidence.probed import PeakFromTarget
from traindx.watch.collectors.ingredients import is_image
from traindx.watch.collectors.torch_calls import TorchCalls, argument, named_functions
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.watch import Collector, Watch

LARGEST = ("max", "amax")
REDUCED = ("mean", "sum", "mse_loss", "norm")
ON_THE_WAY = ("mul", "div", "true_divide", "sub", "add", "pow", "square", "sqrt", "clamp", "clamp_min", "reciprocal")
LOGARITHMS = ("log10",)
MOST = 64


class _Part(NamedTuple):
    """What a number is made of."""

    peak: float | None
    taken: CallSite | None
    error: bool


class Peaks(Collector):
    """Notes numbers made of a largest value and of an error, where the logarithm is taken of them."""

    subject = "peaks of figures in decibels"

    def __init__(self, watch: Watch, calls: TorchCalls) -> None:
        super().__init__(watch)
        self.calls = calls
        self._parts = watch.weak_table()
        self._found: dict[tuple[CallSite, str], tuple[list[float], CallSite | None]] = {}

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on(self, named_functions(torch, LARGEST), self._largest)
        self.calls.on(self, named_functions(torch, REDUCED), self._reduced)
        self.calls.on(self, named_functions(torch, ON_THE_WAY), self._passed_on)
        self.calls.on(self, named_functions(torch, LOGARITHMS), self._logged)

    def records(self) -> Iterable[Record]:
        """One a line."""
        for (site, phase), (peaks, logged) in self._found.items():
            yield PeakFromTarget(
                peaks=tuple(peaks),
                phase=phase,
                logged=logged.location() if logged is not None else None,
                where=site.location(),
                step=self.watch.iteration,
            )

    def _largest(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        whole = len(args) == 1 and not kwargs and is_image(self.watch.torch, args[0])
        return (lambda out: self._set(out, _Part(float(out), here(), False))) if whole else None

    def _reduced(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args or not is_image(self.watch.torch, args[0]):
            return None
        if name != "mse_loss" and argument(args, kwargs, 1, "dim") is not None:
            return None
        return lambda out: self._set(out, _Part(None, None, True)) if out.numel() == 1 else None

    def _of(self, args: tuple[Any, ...]) -> _Part | None:
        torch = self.watch.torch
        found = [self._parts.get(one) for one in args if isinstance(one, torch.Tensor) and one.numel() == 1]
        parts = [one for one in found if one is not None]
        if not parts:
            return None
        peak = next((one for one in parts if one.peak is not None), _Part(None, None, False))
        return _Part(peak.peak, peak.taken, any(one.error for one in parts))

    def _passed_on(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        part = self._of(args)
        return (lambda out: self._set(out, part)) if part is not None else None

    def _logged(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        part = self._of(args)
        if part is None or part.peak is None or part.taken is None or not part.error:
            return
        key = (part.taken, "training" if self.watch.grad_enabled else "validation")
        peaks, _ = self._found.setdefault(key, ([], here()))
        if len(peaks) < MOST:
            peaks.append(part.peak)

    def _set(self, out: Any, part: _Part) -> None:
        if isinstance(out, self.watch.torch.Tensor) and out.numel() == 1:
            self._parts[out] = part
