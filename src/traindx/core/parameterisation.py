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


def to_x0(output: Tensor, x: Tensor, a: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """The data that an output implies."""
    if prediction == "sample":
        return output
    if prediction == "v":
        return a * x - sigma * output
    if prediction == "epsilon":
        return (x - sigma * output) / a.clamp_min(SMALLEST)
    raise InputError(f"prediction type {prediction!r} is unknown", expected="epsilon, v or sample")


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
    epsilon = (x - a * x0) / sigma.clamp_min(SMALLEST)
    if prediction == "epsilon":
        return epsilon
    if prediction == "v":
        return a * epsilon - sigma * x0
    raise InputError(f"prediction type {prediction!r} is unknown", expected="epsilon, v or sample")


def convert(output: Tensor, x: Tensor, a: Tensor, sigma: Tensor, trained: str, wanted: str) -> Tensor:
    """An output of one prediction type as an output of another."""
    if trained == wanted:
        return output
    x0 = to_x0(output, x, a, sigma, trained)
    epsilon = to_epsilon(output, x, a, sigma, trained)
    if wanted == "sample":
        return x0
    return epsilon if wanted == "epsilon" else a * epsilon - sigma * x0
