"""Does the loss look at what the network had to find out, or at what it was given?"""

from __future__ import annotations

from typing import Any

from traindx.evidence.probed import GivenProbed
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.probes.captured import CapturedCalls
from traindx.watch.probes.loss_path import LossPaths, Path, Source
from traindx.watch.probes.path_probe import PathProbe
from traindx.watch.probes.tracing import tensors_of
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Watch

AGREE = 0.98  # share of the voxels; the blank value may occur by chance


class GivenRegion(PathProbe):
    """Compares where the gradient at an output is zero with where the input was blanked."""

    subject = "where a loss looks"

    def __init__(self, watch: Watch, captured: CapturedCalls, paths: LossPaths, loaders: Loaders) -> None:
        super().__init__(watch, captured, paths)
        self.loaders = loaders
        self._batch: list[Any] = []

    def install(self) -> None:
        """Ask for paths and batches."""
        super().install()
        self.loaders.on_read(self, self._read)

    def begin(self) -> None:
        """The batch of the last iteration is not this one's."""
        self._batch = []

    def end(self) -> None:
        """Nothing is kept alive."""
        self._batch = []

    def _read(self, loader: Loader, batch: Any) -> None:
        if self.watch.level is ObservationLevel.FULL:
            self._batch = [one for one in tensors_of(self.watch.torch, batch) if one.numel() > 1][:8]

    def look(self, path: Path) -> None:
        """Compare every output with every input of its shape."""
        if not self._batch or not self.bursts.wanted(path.site) or not self.captured.affordable(0.0):
            return
        with self.captured.spending(self):
            for source in path.sources:
                for given in source.inputs:
                    self._compare(path, source, given)

    def _compare(self, path: Path, source: Source, given: Any) -> None:
        """One output against one input of its shape."""
        torch = self.watch.torch
        ignored = source.gradient == 0
        share = float(ignored.float().mean())
        blank = self._blank(given, ignored) if 0.05 <= share <= 0.95 else None
        record = GivenProbed(
            network=type(source.call.network).__name__,
            ignored=share,
            actual=path.value,
            identity=path.loss({source.number: given.to(source.value.dtype)}),
            where=path.site.location(),
            step=self.watch.iteration,
        )
        if blank is not None:
            hidden = given == blank
            original = next((one for one in self._batch if self._shows(one, given, hidden)), None)
            told = any(_agree(torch, one, hidden) for one in self._batch)
            site = self._mask_site(path, hidden)
            record = record.model_copy(
                update={
                    "blanked": float(hidden.float().mean()),
                    "known": original is not None,
                    "told": told,
                    "where": site.location() if site is not None else record.where,
                }
            )
        self.watch.sink.event(record)

    def _blank(self, given: Any, ignored: Any) -> float | None:
        """The one value of the input wherever the gradient is zero, if it has it nowhere else."""
        value = float(given[ignored].float().median())
        same = (given == value) == ignored
        return value if float(same.float().mean()) >= AGREE else None

    def _shows(self, one: Any, given: Any, hidden: Any) -> bool:
        """Is this tensor of the batch the input before it was blanked?"""
        if one.numel() != given.numel() or not one.is_floating_point():
            return False
        one = one.reshape(given.shape).to(given.device)
        seen = float((one[~hidden] == given[~hidden]).float().mean())
        return seen >= AGREE and float((one[hidden] != given[hidden]).float().mean()) >= 0.3

    def _mask_site(self, path: Path, hidden: Any) -> CallSite | None:
        """The first operation on the way that multiplies by, or picks, what was not blanked."""
        for step, _, tensor in path.operands():
            if _agree(self.watch.torch, tensor, hidden):
                return step.site
        return None


def _agree(torch: Any, mask: Any, hidden: Any) -> bool:
    """True if a tensor of two values (or of zeros and others) divides the voxels as blanking did."""
    if mask.numel() != hidden.numel():
        return False
    zero = (mask == 0).reshape(hidden.shape).to(hidden.device)
    share = float((zero == hidden).float().mean())
    return share >= AGREE or share <= 1 - AGREE
