"""Is an output nothing but an up-sampled coarse grid, and what of the target does that leave out?

A network whose last operation is an interpolation gives images that a coarse grid describes, whatever its weights.
The targets are projected onto what such a grid can express: what is left of them is a floor of the error. Seen as it
happens, so that it does not matter where the loss is computed, or whether the network can be called again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.combinations import Array
from traindx.core.later import Later
from traindx.evidence.probed import CoarseOutputProbed
from traindx.watch.collectors.ingredients import is_image, rows
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.torch_calls import TorchCalls, argument, named_functions
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.schedule import Bursts, ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear")
COMPARISONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub")
MOST = 8  # interpolations of an iteration


@dataclass
class _Upsampled:
    """The result of an interpolation."""

    network: str
    coarse: tuple[int, ...]
    shape: tuple[int, ...]
    mode: str
    align_corners: bool | None
    site: CallSite
    values: Array


class UpsampledOutputs(Collector):
    """Looks for an interpolation behind which nothing follows, then at the targets."""

    subject = "detail that the output can express"

    def __init__(self, watch: Watch, calls: TorchCalls, networks: Networks) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.bursts = Bursts(dense=3)
        self._found: list[_Upsampled] = []

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        self.calls.on(self, {torch.nn.functional.interpolate: "interpolate"}, self._interpolates)
        self.calls.on(self, named_functions(torch, COMPARISONS), self._compares)

    def begin(self) -> None:
        """A new iteration."""
        self._found = []

    def _interpolates(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        torch, coarse = self.watch.torch, argument(args, kwargs, 0, "input")
        mode = argument(args, kwargs, 3, "mode", "nearest")
        corners = argument(args, kwargs, 4, "align_corners")
        looking = self.watch.level is ObservationLevel.FULL and self.watch.grad_enabled and self.networks.stack
        if not looking or mode not in MODES or not isinstance(coarse, torch.Tensor) or len(self._found) >= MOST:
            return None

        def interpolated(out: Any) -> None:
            before, after = tuple(coarse.shape[2:]), tuple(out.shape[2:])
            finer = all(a <= b for a, b in zip(before, after, strict=True)) and before != after
            site = here()
            if is_image(torch, out) and out.requires_grad and finer and site is not None:
                network = type(self.networks.stack[-1]).__name__
                self._found.append(_Upsampled(network, before, tuple(out.shape), mode, corners, site, rows(out)))

        return interpolated

    def _compares(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        torch = self.watch.torch
        if not self._found or len(args) < 2 or not all(is_image(torch, one) for one in args[:2]):
            return
        for output, target in ((args[0], args[1]), (args[1], args[0])):
            if not output.requires_grad or target.requires_grad or output.numel() != target.numel():
                continue
            for one in self._found:
                if output.numel() == np.prod(one.shape) and np.array_equal(rows(output.reshape(one.shape)), one.values):
                    if self.bursts.wanted(one.site):
                        self._project(one, target.reshape(one.shape))
                    return

    def _project(self, found: _Upsampled, target: Any) -> None:
        from traindx.core.resampling import outside_span, resampling_matrix

        fine = found.shape[2:]
        target = target[:4].double()
        matrices = [
            resampling_matrix(coarse, size, found.mode, found.align_corners).to(target.device)
            for coarse, size in zip(found.coarse, fine, strict=True)
        ]
        self.watch.sink.event(
            CoarseOutputProbed(
                network=found.network,
                coarse=found.coarse,
                fine=fine,
                left_out=float(outside_span(target, matrices).square().mean()),
                variance=float((target - target.mean()).square().mean()),
                where=found.site.location(),
                step=self.watch.iteration,
            )
        )
