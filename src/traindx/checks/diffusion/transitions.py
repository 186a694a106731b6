r"""From a traced run to the coefficients of each step: ``x_next = p x̂0 + q ε̂ + offset + n z``.

Because neighbouring voxels belong to different Gaussians, x̂0 and ε̂ are not collinear, and plain least squares over the
judged voxels returns p and q to rounding error. Fresh noise that torch drew is read off and used as one more regressor.
Multistep solvers depend on earlier outputs too; for them p and q are sums over the history, which a consistent linear
multistep method has equal to those of the exact step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.checks.diffusion.sampler_trace import Trace
from traindx.core.gaussian_oracle import MIDDLE

Array = NDArray[np.float64]

MIN_VOXELS = 64
LINEAR = 1e-5
"""Residual, relative to x, below which a step counts as linear; 32-bit rounding with √ᾱ = 0.006 leaves about 1e-5. For
half precision it is eight units of rounding."""
LONGEST_HISTORY = 3


@dataclass(frozen=True)
class StepFit:
    """Coefficients of one step.

    Attributes:
        step: Index in the run.
        timestep: Told to the network.
        p: Coefficient of x̂0.
        q: Coefficient of ε̂.
        n: Standard deviation of fresh noise.
        offset: Constant.
        gram: Mean products of (x̂0, ε̂) over the judged voxels, shape ``(2, 2)``.
        residual: Root mean square of what is left, relative to that of x_next.
        order: Outputs the step depends on.
        noise_seen: False if n was estimated from the residual.
        fresh: The fresh noise itself at all voxels, already scaled; None without.
        judged: Which voxels were used.
    """

    step: int
    timestep: int
    p: float
    q: float
    n: float
    offset: float
    gram: Array
    residual: float
    order: int
    noise_seen: bool
    fresh: Tensor | None
    judged: Tensor


def fit_steps(trace: Trace) -> list[StepFit | None]:
    """Fit every step; None where too few finite voxels are left, or where the result has another size."""
    return [fit_step(trace, step) for step in range(len(trace.calls))]


def judged_voxels(trace: Trace, step: int) -> Tensor:
    """Voxels that say something about a step's formula: of the middle Gaussians, x̂0 in range, not touched by a
    clamp."""
    x0 = trace.x0(step)
    good = torch.isfinite(x0) & (x0 >= trace.low) & (x0 <= trace.high) & (trace.member < MIDDLE)
    for clamp in trace.calls[step].after.clamps:
        good &= clamp.before == clamp.after
    return good


def fit_step(trace: Trace, step: int, result: Tensor | None = None, voxels: Tensor | None = None) -> StepFit | None:
    """Fit one step.

    Args:
        trace: The run.
        step: Index of the step.
        result: What the step returned; the next call's x by default.
        voxels: Restrict to these judged voxels.
    """
    call = trace.calls[step]
    y = trace.next_x(step) if result is None else result
    if y is None:
        return None
    good = judged_voxels(trace, step) if voxels is None else voxels
    good = good & torch.isfinite(y)
    if int(good.sum()) < MIN_VOXELS // (1 if voxels is None else 4):
        return None
    scale = float(y[good].square().mean().sqrt())
    if scale == 0:
        return None
    noises = [noise for noise in call.after.noises if torch.isfinite(noise).all()]
    linear = max(LINEAR, 8 * torch.finfo(trace.dtype).eps)
    fit = _least_squares(trace, step, y, good, scale, noises, history=0)
    for history in range(1, min(LONGEST_HISTORY, step) + 1):
        if fit.residual <= linear:
            break
        longer = _least_squares(trace, step, y, good, scale, noises, history)
        if longer.residual < 0.01 * fit.residual:
            fit = longer
    if fit.residual > linear and trace.other_noise:
        fit = _as_noise(trace, fit, step, y, good, scale, noises)
    return fit


def _design(trace: Trace, step: int, good: Tensor, noises: list[Tensor], history: int) -> Array:
    columns = []
    for back in range(history + 1):
        columns += [trace.x0(step - back)[good], trace.noise(step - back)[good]]
    columns.append(torch.ones(int(good.sum()), dtype=torch.float64))
    columns += [noise[good] for noise in noises]
    design: Array = torch.stack(columns, dim=1).numpy()
    return design


def _least_squares(
    trace: Trace, step: int, y: Tensor, good: Tensor, scale: float, noises: list[Tensor], history: int
) -> StepFit:
    design = _design(trace, step, good, noises, history)
    found, *_ = np.linalg.lstsq(design, y[good].numpy(), rcond=1e-13)
    left = y[good].numpy() - design @ found
    pairs = found[: 2 * (history + 1)].reshape(-1, 2).sum(axis=0)
    weights = found[2 * (history + 1) + 1 :]
    used = [(float(weight), noise) for weight, noise in zip(weights, noises, strict=True) if abs(weight) > 1e-9]
    fresh = torch.stack([weight * noise for weight, noise in used]).sum(dim=0) if used else None
    basis = design[:, :2]
    return StepFit(
        step,
        trace.calls[step].timestep,
        float(pairs[0]),
        float(pairs[1]),
        float(np.sqrt(sum(weight**2 for weight, _ in used))),
        float(found[2 * (history + 1)]),
        basis.T @ basis / len(basis),
        float(np.sqrt(np.mean(left**2))) / scale,
        history + 1,
        True,
        fresh,
        good,
    )


def _as_noise(
    trace: Trace, fit: StepFit, step: int, y: Tensor, good: Tensor, scale: float, noises: list[Tensor]
) -> StepFit:
    """If what is left looks like independent Gaussian noise, take it for noise that torch did not draw."""
    design = _design(trace, step, good, noises, 0)
    found, *_ = np.linalg.lstsq(design, y[good].numpy(), rcond=1e-13)
    left = y[good].numpy() - design @ found
    sd = float(left.std())
    if sd == 0:
        return fit
    count = len(left)
    skew, kurtosis = float(np.mean((left / sd) ** 3)), float(np.mean((left / sd) ** 4)) - 3
    # Standard errors of the moments of a Gaussian sample: sqrt(6/n) and sqrt(24/n); four of each.
    gaussian = abs(skew) < 4 * (6 / count) ** 0.5 and abs(kurtosis) < 4 * (24 / count) ** 0.5
    spreads = [float(left[members].std()) for members in _members(trace, good) if members.sum() > 30]
    even = max(spreads) < 1.3 * min(spreads) if len(spreads) > 1 else False
    if not (gaussian and even):
        return fit
    return replace(
        fit, p=float(found[0]), q=float(found[1]), offset=float(found[2]), n=sd, noise_seen=False, residual=0.0
    )


def _members(trace: Trace, good: Tensor) -> list[NDArray[np.bool_]]:
    member = trace.member[good].numpy()
    return [member == index for index in np.unique(member)]
