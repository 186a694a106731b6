"""Does a loss prefer what the target says to what another sample's target says?"""

from __future__ import annotations

from traindx.evidence.probed import OrderProbed
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.probes.captured import CapturedCalls
from traindx.watch.probes.loss_path import LossPaths, Path
from traindx.watch.probes.path_probe import PathProbe
from traindx.watch.probes.targets import Comparison, comparisons
from traindx.watch.runtime.watch import Watch

PRODUCTS = ("mul", "__mul__", "__rmul__", "multiply", "matmul", "dot")


class LossOrder(PathProbe):
    """Gives the loss a perfect output, and the perfect output of another sample."""

    subject = "what a loss prefers"

    def __init__(self, watch: Watch, captured: CapturedCalls, paths: LossPaths, optimisers: Optimisers) -> None:
        super().__init__(watch, captured, paths)
        self.optimisers = optimisers

    def look(self, path: Path) -> None:
        """Try the comparisons of this loss until one says something."""
        if not self.bursts.wanted(path.site) or not self.captured.affordable(0.0):
            return
        with self.captured.spending(self):
            for comparison in comparisons(path):
                if self._compare(path, comparison):
                    return

    def _compare(self, path: Path, comparison: Comparison) -> bool:
        torch, target = self.watch.torch, comparison.target
        size = int(comparison.source.value.shape[0]) if comparison.source.value.dim() else 1
        if size < 2 or target.shape[0] != size:
            return False
        other = target.roll(max(1, size // 2), 0)
        if torch.equal(other, target):
            return False
        perfect, shuffled = (comparison.saying(torch, one) for one in (target, other))
        if perfect is None or shuffled is None or not bool(perfect.isfinite().all()):
            return False
        number, site = comparison.source.number, comparison.step.site
        signed = any(
            step.name in PRODUCTS and tensor.is_floating_point() and tensor.numel() > 1 and float(tensor.min()) < 0
            for step, _, tensor in path.operands()
            if tensor is not target
        )
        self.watch.sink.event(
            OrderProbed(
                network=type(comparison.source.call.network).__name__,
                function=comparison.step.name,
                actual=path.value,
                perfect=path.loss({number: perfect}),
                shuffled=path.loss({number: shuffled}),
                signed=signed,
                alone=len(self.optimisers.order) <= 1,
                where=site.location() if site is not None else path.site.location(),
                step=self.watch.iteration,
            )
        )
        return True
