r"""What a denoiser's output means: noise, data or velocity, and how to get from one to the other.

With :math:`x_t = a x_0 + \sigma\epsilon`, :math:`a = \sqrt{\bar\alpha_t}`, :math:`\sigma = \sqrt{1-\bar\alpha_t}` and
:math:`v = a\epsilon - \sigma x_0` (Salimans & Ho 2022, *Progressive Distillation*, appendix D).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from traindx.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TYPES = ("epsilon", "v", "sample")

# below this a division would only magnify round-off of float32 (eps 1.2e-7 over 1e-4 is 1e-3 of the data)
SMALLEST = 1e-4


def coefficients(alphas_cumprod: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    r"""The pair (a, sigma) at timesteps ``t``, shaped to broadcast against ``like``.

    Args:
        alphas_cumprod: :math:`\bar\alpha`, shape ``(T,)``.
        t: Timesteps of shape ``(B,)``; fractional ones are interpolated.
        like: Tensor of shape ``(B, ...)``.
    """
    table = alphas_cumprod.detach().to(device=like.device, dtype=torch.float64)
    position = t.to(device=like.device, dtype=torch.float64).clamp(0, len(table) - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=len(table) - 1)
    share = position - below
    alpha_bar = (table[below] * (1 - share) + table[above] * share).clamp(0, 1)
    shape = (-1,) + (1,) * (like.dim() - 1)
    dtype = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
    return alpha_bar.sqrt().to(dtype).view(shape), (1 - alpha_bar).sqrt().to(dtype).view(shape)


def noised(x0: Tensor, noise: Tensor, a: Tensor, sigma: Tensor) -> Tensor:
    """The noisy data x_t."""
    return a * x0 + sigma * noise


def encode(x0: Tensor, noise: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The output of a prediction type that stands for this data and this noise: the target of a training."""
    if prediction == "sample":
        return x0
    if prediction == "epsilon":
        return noise
    if prediction == "v":
        return a * noise - sigma * x0
    raise unknown(prediction)


def unknown(prediction: str) -> InputError:
    """The error for a prediction type that does not exist."""
    return InputError(f"prediction type {prediction!r} is unknown", expected=", ".join(TYPES))


def to_x0(output: Tensor, x: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The data that an output implies."""
    if prediction == "sample":
        return output
    if prediction == "v":
        return a * x - sigma * output
    if prediction == "epsilon":
        return (x - sigma * output) / a.clamp_min(SMALLEST)
    raise unknown(prediction)


def to_epsilon(output: Tensor, x: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The noise that an output implies."""
    if prediction == "epsilon":
        return output
    if prediction == "v":
        return a * output + sigma * x
    return (x - a * to_x0(output, x, a, sigma, prediction)) / sigma.clamp_min(SMALLEST)


def from_x0(x0: Tensor, x: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The output that a network of this prediction type would give for the data ``x0``."""
    if prediction == "sample":
        return x0
    return encode(x0, (x - a * x0) / sigma.clamp_min(SMALLEST), a, sigma, prediction)


def convert(output: Tensor, x: Tensor, a: Tensor, sigma: Tensor, trained: str, wanted: str) -> Tensor:
    """An output of one prediction type as an output of another."""
    if trained == wanted:
        return output
    x0, epsilon = (read(output, x, a, sigma, trained) for read in (to_x0, to_epsilon))
    return encode(x0, epsilon, a, sigma, wanted)


def posterior_mean(mean: Tensor, deviation: Tensor | float, x: Tensor, a: Tensor, sigma: Tensor) -> Tensor:
    r"""Mean of :math:`x_0 \sim N(m, s^2)` given :math:`x_t = a x_0 + \sigma\epsilon`.

    Args:
        mean: m, of a shape that broadcasts against ``x``.
        deviation: s.
        x: The observation x_t.
        a: Coefficient of the data.
        sigma: Coefficient of the noise.
    """
    variance = deviation**2
    return mean + a * variance / (a.square() * variance + sigma.square()) * (x - a * mean)


def from_estimate(estimate: Tensor, error: float, x: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    r"""The output that an estimate h of the data with standard error e implies, without dividing by a small sigma.

    What is predicted is the posterior mean :math:`\hat x_0 = h + a e^2 (x_t - a h) / D` with
    :math:`D = a^2 e^2 + \sigma^2`. Inserting it into :math:`\epsilon = (x_t - a\hat x_0)/\sigma` gives
    :math:`\epsilon = \sigma (x_t - a h)/D` and :math:`v = \sigma (a (1 - e^2) x_t - h)/D`: the preconditioning of
    Karras et al. 2022 (EDM, table 1) around h instead of 0.
    """
    if prediction == "sample":
        return posterior_mean(estimate, error, x, a, sigma)
    spread = a.square() * error**2 + sigma.square()
    if prediction == "epsilon":
        return sigma * (x - a * estimate) / spread
    if prediction == "v":
        return sigma * (a * (1 - error**2) * x - estimate) / spread
    raise unknown(prediction)
