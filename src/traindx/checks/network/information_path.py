"""How much can get through this network: the narrowest place on every path, and what it costs the targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.network.tracing import Cut, Holding, PathTrace, numbers, trace
from traindx.checks.network.transfer import (
    high_pass_noise,
    outside_patches,
    recovered_share,
)
from traindx.checks.probing import NetworkProbe, awake_model, network_probe
from traindx.core.batches import flat, tensors_in
from traindx.core.parameterisation import to_x0
from traindx.core.resampling import outside_span, resampling_matrix
from traindx.core.undisturbed import undisturbed
from traindx.evidence.model import ChannelReduction, HighFrequencyTransfer, InformationPath, SpanFloor

if TYPE_CHECKING:
    from torch import Tensor, nn

ALL_INPUTS = "all inputs"
PERTURBATION = 0.1  # of the unit variance of x_t: far above the round-off of float32, and above that of bfloat16
NO_WAY_AROUND = 1e-3  # relative response that is left by round-off when the narrow values are held
RESAMPLING = frozenset({"interpolate", "upsample"})
TARGETS = 8  # targets measured for what is lost of them


@check(
    "information-path",
    "how much can get through the network, and where the least does",
    needs=("target",),
    gives=(ChannelReduction, HighFrequencyTransfer, InformationPath, SpanFloor),
)
def information_path(ctx: CheckContext) -> None:
    """Trace the numbers that reach the output, hold the narrowest place fixed, and measure what the targets lose."""
    experiment = _Experiment.prepare(ctx)
    traced = experiment.traced
    for step in traced.channel_steps:
        ctx.record(
            ChannelReduction(
                where=step.line,
                module=step.module,
                channels_in=step.channels_in,
                channels_out=step.channels_out,
                rank_in=step.rank_in,
                only_way_of=tuple(name for name in step.only_way_of(traced) if name != ALL_INPUTS),
                is_head=step.is_head,
            )
        )
    judged = "x_t" if experiment.probe.x_t is not None else ALL_INPUTS
    for source in (*experiment.sources, *((ALL_INPUTS,) if judged == ALL_INPUTS else ())):
        if traced.reached(source) is None:
            continue
        cut = narrowest(traced, source)
        around = experiment.way_around(cut) if cut is not None and source == judged else float("nan")
        ctx.record(experiment.path_record(source, cut, around))
        if cut is not None and around < NO_WAY_AROUND:
            _what_it_costs(ctx, experiment, cut)
    if judged == "x_t" and narrowest(traced, judged) is None:
        _image_behind_tokens(ctx, experiment)


def narrowest(traced: PathTrace, source: str) -> Cut | None:
    """The one cut that everything of a source passes, if it holds fewer numbers than the output; else None."""
    reached = traced.reached(source)
    if reached is None or len(reached) != 1:
        return None
    (cut,) = reached
    return cut if cut.numbers < traced.full and cut.operation != "input" else None


@dataclass
class _Experiment:
    """One traced call, and the calls that differ from it."""

    probe: NetworkProbe
    model: nn.Module
    sources: dict[str, Tensor]
    traced: PathTrace
    target: Tensor

    @classmethod
    def prepare(cls, ctx: CheckContext) -> _Experiment:
        probe, model = network_probe(ctx), awake_model(ctx)
        sources = _sources(probe)
        target = ctx.target(probe.batch)
        full = target.numel() if probe.x_t is not None else main_output(probe.outputs(model)).numel()
        joint = ALL_INPUTS if probe.x_t is None else ""
        with undisturbed(0), torch.enable_grad():
            traced = trace(
                lambda: probe.call(model, probe.batch, probe.x_t, probe.t), model, sources, full, joint=joint
            )
        return cls(probe, model, sources, traced, target)

    @property
    def base(self) -> Tensor:
        """The output of the traced call."""
        return main_output(self.traced.outputs).detach()

    def grid(self, cut: Cut) -> tuple[tuple[int, ...], int]:
        """Spatial grid and numbers a position of a cut; ``((), 0)`` where the shapes do not tell."""
        shape = cut.shape
        if cut.widened is not None and math.prod(cut.widened.shape_in) == cut.numbers:
            shape = cut.widened.shape_in
        return grid_of(shape, tuple(self.base.shape[2:]))

    def fine_noise(self, ratio: int) -> Tensor:
        """Noise for x_t that is too fine for a grid ``ratio`` times coarser."""
        assert self.probe.x_t is not None
        generator = torch.Generator().manual_seed(1)
        return high_pass_noise(self.probe.x_t.shape, ratio, generator).to(self.probe.x_t)

    def changed(self, ratio: int, hold: Cut | None = None) -> tuple[Tensor, bool]:
        """The output for fine noise in x_t, or for another sample without x_t; and whether the cut was held."""
        probe = self.probe
        batch, x_t = probe.batch, probe.x_t
        if x_t is not None:
            x_t = x_t + PERTURBATION * self.fine_noise(ratio)
        else:
            batch = probe.other if probe.other is not None else _jittered(batch)
        with undisturbed(0), torch.enable_grad():
            if hold is None:
                return main_output(probe.call(self.model, batch, x_t, probe.t)).detach(), True
            with Holding(hold) as holding:
                output = main_output(probe.call(self.model, batch, x_t, probe.t)).detach()
            return output, holding.held

    def way_around(self, cut: Cut) -> float:
        """Response of the output with the cut held over the response without; NaN where it could not be held."""
        ratio = self.ratio(cut)
        free, _ = self.changed(ratio)
        stuck, held = self.changed(ratio, cut)
        self.response = free - self.base if free.shape == self.base.shape else None
        if not held or self.response is None or stuck.shape != self.base.shape:
            return float("nan")
        size = float(flat([self.response]).norm())
        return float(flat([stuck - self.base]).norm()) / size if size > 0 else float("nan")

    def ratio(self, cut: Cut) -> int:
        """Fine voxels a coarse one; 2 where the grid is unknown."""
        grid, _ = self.grid(cut)
        sizes = zip(self.base.shape[2:], grid, strict=True) if grid else ()
        return max(2, min((round(fine / coarse) for fine, coarse in sizes), default=2))

    def path_record(self, source: str, cut: Cut | None, around: float) -> InformationPath:
        """The record of one source."""
        reached = self.traced.reached(source) or frozenset()
        common = {"source": source, "full": self.traced.full, "complete": self.traced.complete}
        if cut is None:
            return InformationPath(**common, numbers=min(numbers(reached), self.traced.full))
        grid, channels = self.grid(cut)
        return InformationPath(
            **common,
            where=cut.line,
            numbers=cut.numbers,
            operation=cut.operation,
            module=cut.module,
            shape=cut.shape[1:],
            grid=grid,
            channels=channels,
            widened_at=cut.widened.line if cut.widened else None,
            widened_operation=cut.widened.operation if cut.widened else "",
            learned_after=cut.learned_after,
            around=around,
        )


def _what_it_costs(ctx: CheckContext, experiment: _Experiment, cut: Cut) -> None:
    """The floor of the loss, the ceiling of the metric, and the fate of fine noise."""
    diffusion = ctx.case.diffusion
    share = cut.numbers / experiment.traced.full
    detail, variance, exact, count = _lost_detail(ctx, experiment, cut)
    peak = _peak(ctx)
    mean_alpha_bar = float("nan")
    prediction = "regression"
    floor = detail
    if diffusion is not None:
        prediction = diffusion.prediction
        mean_alpha_bar = float(diffusion.alphas_cumprod.double().mean())
        outside = 1.0 - share
        floor = {
            "v": outside * mean_alpha_bar + (1 - mean_alpha_bar) * detail,
            "epsilon": outside,
            "sample": detail,
        }[prediction]
        _transfer(ctx, experiment, cut)
    ctx.record(
        SpanFloor(
            where=cut.line,
            prediction=prediction,
            share=share,
            mean_alpha_bar=mean_alpha_bar,
            detail=detail,
            variance=variance,
            floor=floor,
            ceiling_db=10 * math.log10(peak**2 / detail) if detail > 0 else float("inf"),
            peak=peak,
            exact=exact,
            targets=count,
        )
    )


def _transfer(ctx: CheckContext, experiment: _Experiment, cut: Cut) -> None:
    diffusion, probe = ctx.case.diffusion, experiment.probe
    assert diffusion is not None
    assert probe.t is not None
    if experiment.response is None:
        return
    ratio = experiment.ratio(cut)
    alpha_bar = float(diffusion.alphas_cumprod[int(probe.t[0])])
    a, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    response = experiment.response / PERTURBATION
    ctx.record(
        HighFrequencyTransfer(
            prediction=diffusion.prediction,
            alpha_bar=alpha_bar,
            needed_gain={"v": a / sigma, "epsilon": 1 / sigma, "sample": 0.0}[diffusion.prediction],
            gain=float(response.std()),
            recovered=recovered_share(response, experiment.fine_noise(ratio), ratio),
            ratio=ratio,
        )
    )


def _image_behind_tokens(ctx: CheckContext, experiment: _Experiment) -> None:
    """Where x_t has its own way, find out whether the *image* still has to pass a coarse grid.

    The one-step x0 = a*x_t - sigma*v (or its like) of an x0 head with an analytic skip does not move with fine noise
    while the tokens are held. Then the grid bounds the image, and its ceiling is worth knowing.
    """
    diffusion, probe = ctx.case.diffusion, experiment.probe
    assert diffusion is not None
    assert probe.t is not None
    assert probe.x_t is not None
    keys = [name for name in ctx.case.conditions if experiment.traced.reached(name) is not None]
    cuts = [narrowest(experiment.traced, key) for key in keys]
    cut = cuts[0] if cuts else None
    if cut is None or any(other is None or (other.call, other.position) != (cut.call, cut.position) for other in cuts):
        return
    if not experiment.grid(cut)[0] or experiment.base.shape != experiment.target.shape:
        return
    ratio = experiment.ratio(cut)
    stuck, held = experiment.changed(ratio, cut)
    if not held or stuck.shape != experiment.base.shape:
        return
    alpha_bar = float(diffusion.alphas_cumprod[int(probe.t[0])])
    noisy = probe.x_t + PERTURBATION * experiment.fine_noise(ratio)
    moved = predicted_x0(stuck, noisy, alpha_bar, diffusion.prediction) - predicted_x0(
        experiment.base, probe.x_t, alpha_bar, diffusion.prediction
    )
    if float(moved.std()) > 10 * NO_WAY_AROUND * PERTURBATION:
        return
    detail, variance, exact, count = _lost_detail(ctx, experiment, cut)
    peak = _peak(ctx)
    ctx.record(
        SpanFloor(
            where=cut.line,
            prediction="sample",
            share=cut.numbers / experiment.traced.full,
            mean_alpha_bar=float(diffusion.alphas_cumprod.double().mean()),
            detail=detail,
            variance=variance,
            floor=detail,
            ceiling_db=10 * math.log10(peak**2 / detail) if detail > 0 else float("inf"),
            peak=peak,
            exact=exact,
            targets=count,
        )
    )


def predicted_x0(output: Tensor, x_t: Tensor, alpha_bar: float, prediction: str) -> Tensor:
    """One-step x0 from a network output."""
    level = torch.as_tensor(alpha_bar, dtype=torch.float64)
    a, sigma = level.sqrt().to(x_t), (1 - level).sqrt().to(x_t)
    return to_x0(output, x_t, a, sigma, prediction)


def _lost_detail(ctx: CheckContext, experiment: _Experiment, cut: Cut) -> tuple[float, float, bool, int]:
    """Mean square of real targets outside the span, their variance, whether the span is exact, and how many."""
    targets = torch.cat([ctx.target(batch).double().cpu() for batch in ctx.batches(TARGETS, "train")])[:TARGETS]
    variance = float((targets - targets.mean()).square().mean())
    grid, channels = experiment.grid(cut)
    spatial = targets.shape[2:]
    if not grid or len(spatial) != len(grid):
        return 0.0, variance, False, len(targets)
    step = cut.widened
    if channels == 1 and step is not None and step.operation in RESAMPLING and not cut.learned_after:
        mode = str(step.settings.get("mode", "nearest"))
        corners = step.settings.get("align_corners")
        matrices = [
            resampling_matrix(coarse, fine, mode, bool(corners) if corners is not None else None)
            for coarse, fine in zip(grid, spatial, strict=True)
        ]
        rest = outside_span(targets, matrices)
        return float(rest.square().mean()), variance, True, len(targets)
    ratio = experiment.ratio(cut)
    if targets.shape[1] == 1 and all(size % ratio == 0 for size in spatial):
        rest = outside_patches(targets, ratio, channels)
        return float(rest.square().mean()), variance, False, len(targets)
    return 0.0, variance, False, len(targets)


def _peak(ctx: CheckContext) -> float:
    if ctx.case.data_range is not None:
        low, high = ctx.case.data_range
        return float(high - low)
    targets = torch.cat([ctx.target(batch).flatten() for batch in ctx.batches(TARGETS, "train")])
    return float(targets.max() - targets.min()) or 1.0


def grid_of(shape: tuple[int, ...], spatial: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Read a coarse grid from the shape of a tensor, for an output of some spatial shape.

    Args:
        shape: With batch axis: ``(B, C, *grid)``, ``(B, tokens, C)`` or ``(B, C, tokens)``.
        spatial: Spatial shape of the output.

    Returns:
        The grid and the numbers a position; ``((), 0)`` where neither layout fits.

    >>> grid_of((1, 512, 1), (32, 32, 32)), grid_of((2, 8, 16, 16), (64, 64))
    (((8, 8, 8), 1), ((16, 16), 8))
    """
    if not spatial:
        return (), 0
    if len(shape) == len(spatial) + 2:
        grid = tuple(shape[2:])
        return (grid, shape[1]) if all(a <= b for a, b in zip(grid, spatial, strict=True)) else ((), 0)
    if len(shape) == 3:
        for tokens, channels in ((shape[1], shape[2]), (shape[2], shape[1])):
            for ratio in range(2, max(spatial) + 1):
                grid = tuple(size // ratio for size in spatial)
                if math.prod(grid) == tokens and min(grid) >= 1:
                    return grid, channels
    return (), 0


def main_output(outputs: list[Tensor]) -> Tensor:
    """The largest output: auxiliary ones say nothing of what the main one can express."""
    return max(outputs, key=lambda tensor: tensor.numel())


def _sources(probe: NetworkProbe) -> dict[str, Tensor]:
    sources: dict[str, Tensor] = {}
    if isinstance(probe.batch, dict):
        sources.update({str(key): value for key, value in probe.batch.items() if _carries_much(value)})
    else:
        sources.update({f"input {i}": t for i, t in enumerate(tensors_in(probe.batch)) if _carries_much(t)})
    if probe.x_t is not None:
        sources["x_t"] = probe.x_t
    return sources


def _carries_much(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 1


def _jittered(batch: Any) -> Any:
    """A batch whose every number is moved a little, where there is no other sample."""
    if isinstance(batch, torch.Tensor):
        if not batch.is_floating_point():
            return batch
        noise = torch.randn(batch.shape, generator=torch.Generator().manual_seed(2)).to(batch)
        return batch + 0.1 * batch.std() * noise
    if isinstance(batch, dict):
        return {key: _jittered(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [_jittered(value) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch
