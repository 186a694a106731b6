"""Is the output nothing but an up-sampled coarse grid, and what of the target does that leave out?

A network whose last operation is an interpolation gives images that a coarse grid describes, whatever its weights.
The targets are projected onto what such a grid can express: what is left of them is a floor of the error.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from traindx.evidence.probed import CoarseOutputProbed
from traindx.watch.collectors.networks import Call
from traindx.watch.probes.base import Probe
from traindx.watch.probes.captured import Captured, CapturedCalls
from traindx.watch.probes.loss_path import LossPaths, Path
from traindx.watch.probes.targets import REGRESSION, comparisons
from traindx.watch.probes.tracing import floats_in
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.watch import Watch

MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear")


class Upsampling(NamedTuple):
    """An interpolation that gave the output: from which grid to which, how, and where."""

    coarse: tuple[int, ...]
    fine: tuple[int, ...]
    mode: str
    align_corners: bool | None
    site: CallSite | None


class CoarseOutput(Probe):
    """Looks for an interpolation behind which nothing follows, then at the targets."""

    subject = "detail that the output can express"
    forwards: ClassVar[int] = 1

    def __init__(self, watch: Watch, captured: CapturedCalls, paths: LossPaths) -> None:
        super().__init__(watch, captured)
        self.paths = paths
        self._found: dict[tuple[int, ...], tuple[Call, Upsampling]] = {}

    def install(self) -> None:
        """Ask for calls, and for the paths that follow them."""
        super().install()
        self.paths.on_path(self, self._compare)

    def begin(self) -> None:
        """A new iteration."""
        self._found.clear()

    def look(self, captured: Captured) -> None:
        """Make the call again and keep the interpolation whose result is the output itself."""
        torch = self.watch.torch
        seen: list[tuple[Upsampling, Any]] = []

        class Interpolations(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined, unused-ignore]
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                kwargs = kwargs or {}
                out = func(*args, **kwargs)
                if func is torch.nn.functional.interpolate:
                    mode, corners = kwargs.get("mode", "nearest"), kwargs.get("align_corners")
                    shapes = tuple(args[0].shape[2:]), tuple(out.shape[2:])
                    seen.append((Upsampling(*shapes, mode, corners, here(2)), out))
                return out

        with Interpolations():
            outputs = list(floats_in(torch, captured.again()))
        for output in outputs:
            for upsampling, result in seen:
                if result.numel() == output.numel() and bool(torch.equal(result.reshape(-1), output.reshape(-1))):
                    self._found[tuple(output.shape)] = (captured.call, upsampling)

    def _compare(self, path: Path) -> None:
        if not self._found:
            return
        with self.captured.spending(self):
            for comparison in comparisons(path):
                shape = tuple(comparison.source.value.shape)
                call, upsampling = self._found.get(shape, (None, None))
                regression = comparison.step.name in REGRESSION and not comparison.activation
                if call is not None and upsampling is not None and regression:
                    self._project(call, upsampling, comparison.target.reshape(shape))
                    return

    def _project(self, call: Call, upsampling: Upsampling, target: Any) -> None:
        from traindx.core.resampling import outside_span, resampling_matrix

        if upsampling.mode not in MODES or target.dim() != len(upsampling.fine) + 2:
            return
        target = target[:4].double()
        matrices = [
            resampling_matrix(coarse, fine, upsampling.mode, upsampling.align_corners).to(target.device)
            for coarse, fine in zip(upsampling.coarse, upsampling.fine, strict=True)
        ]
        self.watch.sink.event(
            CoarseOutputProbed(
                network=type(call.network).__name__,
                coarse=upsampling.coarse,
                fine=upsampling.fine,
                left_out=float(outside_span(target, matrices).square().mean()),
                variance=float((target - target.mean()).square().mean()),
                where=upsampling.site.location() if upsampling.site is not None else None,
                step=self.watch.iteration,
            )
        )
