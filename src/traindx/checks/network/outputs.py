"""What the trained model says on validation samples: its values, its spread over patients, its spectrum, a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.metrics.predictions import Predicted, predictions
from traindx.core.spectra import bands_of, by_band, energy
from traindx.evidence import Curve, NotExamined, Picture
from traindx.evidence.outputs import OutputSpectrum, OutputStatistics

if TYPE_CHECKING:
    from torch import Tensor

PICTURES = 2
LEVELS = 100
IMAGE_LEVELS = 10  # targets of fewer values are masks or classes: they have no spectrum to speak of


@check(
    "outputs",
    "values, spread and spectrum of the trained model's predictions",
    needs=("target",),
    phase="after",
    gives=(OutputSpectrum, OutputStatistics),
)
def outputs(ctx: CheckContext) -> None:
    """Record statistics, spectra and pictures of predictions beside their targets."""
    samples = [sample for sample in predictions(ctx) if sample.prediction.shape == sample.target.shape]
    if not samples:
        shapes = [(tuple(s.prediction.shape), tuple(s.target.shape)) for s in predictions(ctx)[:1]]
        reason = f"prediction and target differ in shape: {shapes[0][0]} and {shapes[0][1]}" if shapes else "no sample"
        ctx.record(NotExamined(subject="outputs of the trained model", reason=reason))
        return
    shape = samples[0].target.shape
    samples = [sample for sample in samples if sample.target.shape == shape]
    said = torch.cat([sample.prediction for sample in samples]).double()
    wanted = torch.cat([sample.target for sample in samples]).double()
    statistics = _statistics(said, wanted)
    ctx.record(statistics)
    image = len(shape) >= 3 and min(shape[2:]) >= 8 and statistics.target_levels >= IMAGE_LEVELS
    if image and statistics.finite == 1:
        spectrum = _spectrum(said, wanted)
        ctx.record(spectrum)
        ctx.record(_curve(spectrum))
    if len(shape) >= 4:
        for number, sample in enumerate(samples[:PICTURES]):
            _picture(ctx, sample, number)


def _statistics(said: Tensor, wanted: Tensor) -> OutputStatistics:
    finite = torch.isfinite(said)
    clean = torch.where(finite, said, torch.zeros_like(said))
    flat, truth = clean.flatten(), wanted.flatten()
    low, high = _percentiles(flat)
    target_low, target_high = _percentiles(truth)
    covariance = ((flat - flat.mean()) * (truth - truth.mean())).mean()
    variance, target_variance = flat.var(unbiased=False), truth.var(unbiased=False)
    slope = float(covariance / variance) if variance > 0 else 0.0
    axes = tuple(range(1, said.ndim))
    mean_target = wanted.mean(0, keepdim=True)
    own = (wanted - mean_target).square().mean().sqrt()
    return OutputStatistics(
        samples=len(said),
        prediction_mean=float(flat.mean()),
        target_mean=float(truth.mean()),
        prediction_std=float(clean.std(axes, unbiased=False).mean()),
        target_std=float(wanted.std(axes, unbiased=False).mean()),
        prediction_spread=_spread(clean),
        target_spread=_spread(wanted),
        prediction_low=low,
        prediction_high=high,
        target_low=target_low,
        target_high=target_high,
        at_low=_share_at(flat, float(flat.min()), float(flat.max() - flat.min())),
        at_high=_share_at(flat, float(flat.max()), float(flat.max() - flat.min())),
        target_at_low=_share_at(truth, float(truth.min()), float(truth.max() - truth.min())),
        target_at_high=_share_at(truth, float(truth.max()), float(truth.max() - truth.min())),
        correlation=float(covariance / (variance * target_variance).sqrt()) if variance * target_variance > 0 else 0.0,
        slope=slope,
        offset=float(truth.mean()) - slope * float(flat.mean()),
        to_mean_target=float((clean - mean_target).square().mean().sqrt() / own) if own > 0 else float("nan"),
        to_constant=float((clean - truth.mean()).square().mean().sqrt() / truth.std()) if truth.std() > 0 else 0.0,
        finite=float(finite.double().mean()),
        levels=_levels(flat),
        target_levels=_levels(truth),
    )


def _levels(values: Tensor) -> int:
    """Distinct values among some of them, counted up to a hundred."""
    return min(LEVELS, len(set(values[:: 1 + len(values) // 100_000].tolist())))


def _spread(values: Tensor) -> float:
    """Standard deviation over samples at a voxel, root mean square over voxels; NaN for one sample."""
    return float(values.var(0).mean().sqrt()) if len(values) > 1 else float("nan")


def _percentiles(values: Tensor) -> tuple[float, float]:
    some = values[:: 1 + len(values) // 500_000]
    low, high = torch.quantile(some, torch.tensor([0.005, 0.995]).to(some))
    return float(low), float(high)


def _share_at(values: Tensor, level: float, span: float) -> float:
    return float(((values - level).abs() <= 1e-6 * span).double().mean())


def _spectrum(said: Tensor, wanted: Tensor) -> OutputSpectrum:
    number, middles = bands_of(tuple(said.shape[2:]))
    count = len(middles)
    target = by_band(energy(wanted), number, count)
    weights = torch.bincount(number.flatten(), minlength=count).double()
    total = (target * weights).sum().clamp_min(1e-30)
    return OutputSpectrum(
        frequencies=tuple(middles.tolist()),
        prediction=tuple(by_band(energy(said), number, count).tolist()),
        target=tuple(target.tolist()),
        residual=tuple(by_band(energy(said - wanted), number, count).tolist()),
        shares=tuple((target * weights / total).tolist()),
        coefficients=tuple(int(weight) for weight in weights.tolist()),
        samples=len(said),
    )


def _curve(spectrum: OutputSpectrum) -> Curve:
    return Curve(
        name="output-spectrum",
        caption=f"Energy by spatial frequency, mean of {spectrum.samples} validation samples",
        x=spectrum.frequencies,
        series={
            "prediction": spectrum.prediction,
            "target": spectrum.target,
            "prediction minus target": spectrum.residual,
        },
        x_label="spatial frequency (share of Nyquist)",
        y_label="energy a coefficient",
        log_y=min(*spectrum.prediction, *spectrum.target, *spectrum.residual) > 0,
    )


def _picture(ctx: CheckContext, sample: Predicted, number: int) -> None:
    """Prediction, target and difference in the middle of the first spatial axis."""
    said, wanted = sample.prediction[0, 0].float(), sample.target[0, 0].float()
    if wanted.ndim == 3:
        said, wanted = said[len(said) // 2], wanted[len(wanted) // 2]
    low, high = float(sample.target.min()), float(sample.target.max())
    difference = (low + high) / 2 + (said - wanted)
    ctx.evidence.add_picture(
        Picture(
            name=f"output-{number}",
            caption=f"Validation sample {number}: what the trained model says, the truth, and the difference",
            low=low,
            high=high if high > low else low + 1.0,
            labels=("prediction", "target", "difference (grey is none)"),
        ),
        torch.stack([said, wanted, difference]).numpy(),
    )
