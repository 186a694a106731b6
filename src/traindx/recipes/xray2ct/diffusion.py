r"""The diffusion process: noise schedule by :mod:`diffusers`, training target, and what an output implies.

:math:`x_t = a x_0 + \sigma\epsilon` with :math:`a = \sqrt{\bar\alpha_t}`, :math:`\sigma = \sqrt{1-\bar\alpha_t}`, and
the network predicts :math:`v = a\epsilon - \sigma x_0` (Salimans & Ho 2022, *Progressive Distillation*, appendix D).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from traindx.errors import InputError

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

    from traindx.case import PredictionType

_DIFFUSERS_NAME = {"v": "v_prediction", "epsilon": "epsilon", "sample": "sample"}
_OFFSET = 0.008  # Nichol & Dhariwal 2021, equation 17: keeps the first noise level above zero
_LARGEST_BETA = 0.999  # same place: no step may destroy everything


def shifted_cosine_betas(count: int, shift: float = 1.0) -> Tensor:
    r"""Betas of the cosine schedule with its signal-to-noise ratio multiplied by ``shift ** 2``.

    A volume repeats itself over many voxels, so at a given noise level far more of it can be read than of an image;
    with the plain schedule (``shift=1``) nearly every timestep is easy and the radiographs are hardly needed. See
    Hoogeboom et al. 2023, *simple diffusion*, section 3.1.

    Args:
        count: Number of timesteps T.
        shift: 1 for the cosine schedule of Nichol & Dhariwal 2021.

    Returns:
        Shape ``(T,)``, float64, before it is rescaled to a terminal signal-to-noise ratio of zero.
    """
    time = torch.arange(count + 1, dtype=torch.float64) / count
    alpha_bar = torch.cos((time + _OFFSET) / (1 + _OFFSET) * math.pi / 2).square()
    signal, noise = alpha_bar * shift**2, 1 - alpha_bar
    alpha_bar = signal / (signal + noise)
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp_max(_LARGEST_BETA)


@dataclass(frozen=True)
class Process:
    """A diffusion process: schedule, what is predicted, and how it is sampled.

    Attributes:
        prediction: ``v``, ``epsilon`` or ``sample``.
        timesteps: Number of training timesteps T.
        shift: See :func:`shifted_cosine_betas`.
        sampling_steps: Steps of the DDIM sampler; must divide T, because diffusers steps by ``T // steps``.
    """

    prediction: PredictionType = "v"
    timesteps: int = 1000
    shift: float = 0.25
    sampling_steps: int = 8

    def __post_init__(self) -> None:
        if self.prediction not in _DIFFUSERS_NAME:
            raise InputError(f"prediction type {self.prediction!r} is unknown", expected=", ".join(_DIFFUSERS_NAME))
        if self.timesteps % self.sampling_steps:
            raise InputError(
                f"{self.sampling_steps} sampling steps do not divide {self.timesteps} timesteps",
                expected="a divisor: the sampler would otherwise step to another noise level than it continues from",
            )

    def scheduler(self) -> DDIMScheduler:
        """A fresh DDIM scheduler with trailing timesteps and zero terminal SNR (Lin et al. 2023)."""
        from diffusers import DDIMScheduler

        return DDIMScheduler(
            num_train_timesteps=self.timesteps,
            trained_betas=shifted_cosine_betas(self.timesteps, self.shift).tolist(),
            prediction_type=_DIFFUSERS_NAME[self.prediction],
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
            clip_sample=False,
        )

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        r""":math:`\bar\alpha_t`, shape ``(T,)``; exactly 0 at the end."""
        table: Tensor = self.scheduler().alphas_cumprod
        return table

    @cached_property
    def betas(self) -> Tensor:
        r""":math:`\beta_t`, shape ``(T,)``."""
        table: Tensor = self.scheduler().betas
        return table

    def alpha_bar(self, t: Tensor) -> Tensor:
        r""":math:`\bar\alpha` at integer timesteps of shape ``(B,)``, on their device."""
        return self.alphas_cumprod.to(t.device)[t]

    def noised(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The noisy volume x_t."""
        a, sigma = self._coefficients(t, x0)
        return a * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should output."""
        if self.prediction == "sample":
            return x0
        if self.prediction == "epsilon":
            return noise
        a, sigma = self._coefficients(t, x0)
        return a * noise - sigma * x0

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data that an output implies."""
        if self.prediction == "sample":
            return output
        a, sigma = self._coefficients(t, x_t)
        if self.prediction == "epsilon":
            return (x_t - sigma * output) / a.clamp_min(1e-4)  # a is 0 at the last timestep; 1e-4 keeps float32 digits
        return a * x_t - sigma * output

    def network_time(self, t: Tensor) -> Tensor:
        """Integer timesteps as the network is given them: t / T, float32, in [0, 1)."""
        return t.float() / self.timesteps

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        alpha_bar = self.alpha_bar(t).to(like).view(-1, *(1,) * (like.dim() - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
