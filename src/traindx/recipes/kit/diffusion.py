r"""The diffusion process of every recipe that has one: schedule by :mod:`diffusers`, loss, deterministic DDIM.

:math:`x_t = a x_0 + \sigma\epsilon` with :math:`a = \sqrt{\bar\alpha_t}`, :math:`\sigma = \sqrt{1-\bar\alpha_t}`; what
an output means, as noise, data or velocity, is :mod:`traindx.core.parameterisation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from traindx.core import parameterisation
from traindx.core.parameterisation import from_estimate, posterior_mean
from traindx.errors import InputError

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

    from traindx.case import PredictionType

__all__ = ["LARGEST_WEIGHT", "Process", "from_estimate", "loss_weight", "posterior_mean", "shifted_cosine_betas"]

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
            raise parameterisation.unknown(self.prediction)
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
        """The noisy data x_t."""
        return parameterisation.noised(x0, noise, *self.coefficients(t, x0))

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should output."""
        return parameterisation.encode(x0, noise, *self.coefficients(t, x0), self.prediction)

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data that an output implies."""
        return parameterisation.to_x0(output, x_t, *self.coefficients(t, x_t), self.prediction)

    def from_x0(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output that stands for some data: the inverse of :meth:`to_x0`."""
        return parameterisation.from_x0(x0, x_t, *self.coefficients(t, x_t), self.prediction)

    def network_time(self, t: Tensor) -> Tensor:
        """Integer timesteps as the network is given them: t / T, float32, in [0, 1)."""
        return t.float() / self.timesteps

    def noised_at_random(self, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy data, its noise and its timesteps, which are drawn in this order: timesteps, noise."""
        t = torch.randint(0, self.timesteps, (len(x0),), device=x0.device)
        noise = torch.randn_like(x0)
        return self.noised(x0, noise, t), noise, t

    def loss(self, output: Tensor, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Mean squared error of an output, weighted by :func:`loss_weight`."""
        weight = loss_weight(self, t).view(-1, *(1,) * (x0.dim() - 1))
        return (weight * (output - self.target(x0, noise, t)).square()).mean()

    def draw(self, denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
        """Deterministic DDIM from pure noise (Song et al. 2021, *DDIM*, equation 12 with eta = 0), without gradient.

        Args:
            denoise: ``(x_t, t) -> output`` with timesteps ``(B,)``.
            noise: What sampling starts from, at the timestep without any signal.

        Returns:
            Network values, the shape of the noise; not clipped.
        """
        scheduler = self.scheduler()
        scheduler.set_timesteps(self.sampling_steps)
        x = noise
        with torch.no_grad():
            for timestep in scheduler.timesteps.tolist():
                t = torch.full((len(x),), timestep, device=x.device)
                x = scheduler.step(denoise(x, t), timestep, x).prev_sample
        return x

    def contract(self) -> dict[str, Any]:
        """What a checkpoint must say of the process, in plain values."""
        schedule = {"timesteps": self.timesteps, "shift": self.shift, "zero_terminal_snr": True}
        return {"schedule": schedule, "prediction": self.prediction, "time": "t / T"}  # see network_time

    @classmethod
    def of(cls, contract: Mapping[str, Any], sampling_steps: int) -> Process:
        """The process of a contract."""
        schedule = contract["schedule"]
        return cls(contract["prediction"], schedule["timesteps"], schedule["shift"], sampling_steps)

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The pair (a, sigma) at timesteps ``t``, shaped to broadcast against ``like``."""
        alpha_bar = self.alpha_bar(t).to(like).view(-1, *(1,) * (like.dim() - 1))
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


LARGEST_WEIGHT = 1.0
r"""An error of :math:`\hat x_0` counts the same at all noise levels. This is min-SNR weighting (Hang et al. 2023,
equation 4) with SNR + 1 in place of SNR, so that pure noise, where sampling starts, keeps its full weight, and gamma
= 1 instead of 5: in trainings of 100 steps that was worth 0.7 dB, because an error at weak noise hardly matters to the
radiographs' task."""


_LEAST_SIGNAL = 0.05  # below it epsilon says nothing about x0, and its error would count without bound


def loss_weight(process: Process, t: Tensor) -> Tensor:
    r"""Weight of the squared error of the output at timesteps ``t``, shape ``(B,)``.

    An error of :math:`\hat x_0` counts ``min(SNR + 1, LARGEST_WEIGHT)`` times, whatever is predicted. An error of v
    stands for :math:`\sigma` times as much in :math:`\hat x_0`, one of epsilon for :math:`\sigma/a` times.
    """
    alpha_bar = process.alpha_bar(t)
    noise = 1 - alpha_bar
    wanted = (1 / noise.clamp_min(1e-6)).clamp_max(LARGEST_WEIGHT)
    if process.prediction == "sample":
        return wanted
    if process.prediction == "v":
        return wanted * noise
    return wanted * noise / alpha_bar.clamp_min(_LEAST_SIGNAL)
