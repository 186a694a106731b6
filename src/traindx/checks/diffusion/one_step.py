"""After training: x0 predicted in one step from a noised truth, against the whole sampling loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traindx.checks.base import CheckContext, check
from traindx.checks.diffusion.call_recorder import UnexaminedError, prediction_in
from traindx.checks.diffusion.prediction_type import prediction_asked_for
from traindx.checks.diffusion.sampler import sampler_study
from traindx.checks.probing import batch_size
from traindx.core.batches import rows_of
from traindx.core.parameterisation import noised, to_x0
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import Curve, NotExamined
from traindx.evidence.sampling import OneStep

if TYPE_CHECKING:
    from torch import Tensor

TITLE = "one denoising step against the whole sampling loop"
NOISE_LEVELS = (0.3, 0.6, 0.8, 0.9, 0.97, 0.995)
"""sqrt(1-ᾱ) at which a truth is noised; the last is all but pure noise, where one step gives the conditional mean."""
SAMPLES = 4


@check("one-step", TITLE, needs=("diffusion.sample", "diffusion.denoise", "target"), phase="after", gives=(OneStep,))
def one_step(ctx: CheckContext) -> None:
    """Mean squared errors of both for a few validation samples."""
    import torch

    assert ctx.case.diffusion is not None
    assert ctx.trained is not None
    case, diffusion, model = ctx.case, ctx.case.diffusion, ctx.trained
    batch = ctx.batch("val")
    size = batch_size(case, batch)
    if size > SAMPLES:
        batch, size = rows_of(batch, slice(0, SAMPLES), size), SAMPLES
    x0 = ctx.target(batch)
    kind = prediction_asked_for(ctx) or diffusion.prediction
    with in_mode(model, training=False), undisturbed(ctx.seed), torch.no_grad():
        curve = [_one(ctx, batch, x0, level, kind) for level in NOISE_LEVELS]
        sampled: Any = diffusion.sample(model, batch)
    while isinstance(sampled, tuple | list) and sampled:
        sampled = sampled[0]
    if sampled.shape != x0.shape:
        reason = f"the sampling loop returns shape {tuple(sampled.shape)} for targets of {tuple(x0.shape)}"
        ctx.record(NotExamined(subject=TITLE, reason=reason))
        return
    low, high = case.data_range or (float(x0.min()), float(x0.max()))
    average = torch.stack([ctx.target(item).double().mean(0) for item in ctx.batches(4)]).mean(0)
    record = OneStep(
        timesteps=tuple(step for step, _ in curve),
        noise_levels=tuple(float((1 - diffusion.alphas_cumprod[step].double()).sqrt()) for step, _ in curve),
        one_step_mse=tuple(error for _, error in curve),
        sampled_mse=_mse(sampled, x0),
        mean_mse=_mse(average.expand_as(x0), x0) if average.shape == x0.shape[1:] else float("nan"),
        peak=high - low,
        samples=size,
        where=_where(ctx),
    )
    ctx.record(record)
    ctx.record(
        Curve(
            name="one-step-against-sampled",
            caption="Error of x0 predicted in one step from a noised truth, and of the sampled image",
            x=record.noise_levels,
            series={
                "one step": record.one_step_mse,
                "sampled": (record.sampled_mse,) * len(curve),
                "mean image": (record.mean_mse,) * len(curve),
            },
            x_label="noise level sqrt(1 - alpha bar)",
            y_label="mean squared error",
            log_y=True,
        )
    )


def _one(ctx: CheckContext, batch: Any, x0: Tensor, level: float, kind: str) -> tuple[int, float]:
    """Timestep nearest to a noise level, and the error of the x0 predicted from there."""
    import torch

    assert ctx.case.diffusion is not None
    assert ctx.trained is not None
    diffusion = ctx.case.diffusion
    alphas = diffusion.alphas_cumprod.detach().double().to(x0.device)
    step = int(((1 - alphas).clamp_min(0).sqrt() - level).abs().argmin())
    a, s = alphas[step].sqrt().to(x0), (1 - alphas[step]).clamp_min(0).sqrt().to(x0)
    x_t = noised(x0, torch.randn_like(x0), a, s)
    timestep = torch.full((len(x0),), step, dtype=torch.long, device=x0.device)
    output = prediction_in(diffusion.denoise(ctx.trained, x_t, timestep, batch), tuple(x0.shape))
    return step, _mse(to_x0(output, x_t, a, s, kind), x0)


def _mse(one: Tensor, two: Tensor) -> float:
    return float((one.double() - two.double()).square().mean())


def _where(ctx: CheckContext) -> Any:
    try:
        return sampler_study(ctx).recorded.where
    except UnexaminedError:
        return None
