r"""A sampler without a loop over tables: every step of deterministic DDIM with its numbers, for a fixed program.

:meth:`~traindx.recipes.kit.diffusion.Process.draw` steps by diffusers, which looks its tables up as it goes. Here the
same steps are written out once, so a tracer meets arithmetic alone (Song et al. 2021, *DDIM*, equation 12, eta = 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from traindx.core import parameterisation
from traindx.recipes.kit.diffusion import Process


@dataclass(frozen=True)
class Step:
    r"""One step of the sampler.

    Attributes:
        time: t / T, as the network is told.
        alpha_bar: :math:`\bar\alpha_t`.
        next_alpha_bar: That of the timestep that is stepped to; 1 in the last step.
    """

    time: float
    alpha_bar: float
    next_alpha_bar: float


def steps_of(process: Process) -> tuple[Step, ...]:
    """The steps of a process, from pure noise to data."""
    scheduler = process.scheduler()
    scheduler.set_timesteps(process.sampling_steps)
    times = [int(t) for t in scheduler.timesteps.tolist()]
    stride = process.timesteps // process.sampling_steps
    final = float(scheduler.final_alpha_cumprod)

    def alpha_bar(t: int) -> float:
        return float(process.alphas_cumprod[t]) if t >= 0 else final

    return tuple(Step(t / process.timesteps, alpha_bar(t), alpha_bar(t - stride)) for t in times)


Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]


def unrolled(steps: tuple[Step, ...], prediction: str, denoise: Denoise, noise: Tensor) -> Tensor:
    """Draw from noise.

    Args:
        steps: Of the process.
        prediction: What the network predicts.
        denoise: ``(x_t, time, alpha_bar) -> output`` with both of shape ``(B,)``.
        noise: Shape ``(B, 1, ...)``.

    Returns:
        Network values, the shape of the noise; not clipped.
    """
    x = noise
    one = torch.ones_like(noise.flatten(1)[:, 0])
    for step in steps:
        a, sigma = (torch.full_like(x[:1, :1], value**0.5) for value in (step.alpha_bar, 1 - step.alpha_bar))
        output = denoise(x, one * step.time, one * step.alpha_bar)
        x0 = parameterisation.to_x0(output, x, a, sigma, prediction)
        epsilon = parameterisation.to_epsilon(output, x, a, sigma, prediction)
        x = step.next_alpha_bar**0.5 * x0 + (1 - step.next_alpha_bar) ** 0.5 * epsilon
    return x
