r"""The exact denoiser of Gaussians, and the exact step between two noise levels.

For :math:`x_0\sim N(m, s^2)` and :math:`x_t = a x_0 + \sigma\epsilon` with :math:`a^2=\bar\alpha_t,\
\sigma^2=1-\bar\alpha_t` the posterior mean is linear:

.. math:: \hat x_0 = m + k (x_t - a m),\quad k = \frac{a s^2}{a^2 s^2 + \sigma^2},\qquad
          \hat\epsilon = (x_t - a\hat x_0)/\sigma,\qquad \hat v = a\hat\epsilon - \sigma\hat x_0 .

A correct deterministic step to :math:`\bar\alpha'` is :math:`x' = \sqrt{\bar\alpha'}\hat x_0 +
\sqrt{1-\bar\alpha'}\hat\epsilon` (DDIM, Song et al. 2021, eq. 12, with :math:`\sigma_t = 0`), which is affine in x:
every voxel has one right answer. A point mass (s = 0) will not do: with it the last step repairs whatever the ones
before it broke.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from traindx.core import parameterisation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

MIDDLE = 4
"""The first Gaussians of a field lie in the middle of the data range; those from here on lie near its ends."""


@dataclass(frozen=True)
class GaussianField:
    """Independent voxels, each drawn from one of several Gaussians.

    Neighbouring voxels belong to different Gaussians, so that x, x̂0 and the network's output are never collinear over
    an image and one run tells the coefficients of a step apart.

    Attributes:
        means: Mean of each Gaussian.
        sds: Standard deviation of each.
        member: Index of the Gaussian of each voxel, shape of x.
    """

    means: tuple[float, ...]
    sds: tuple[float, ...]
    member: Tensor

    @classmethod
    def over(cls, shape: Sequence[int], low: float, high: float, device: str = "cpu") -> GaussianField:
        """Gaussians inside a data range, four in its middle and one near each end.

        The middle ones have standard deviations of 2 to 10 % of the range: wide enough that a wrong formula cannot hide
        in a point mass. The outer ones stay within the last 4 % of the range, where only a clamp that cuts into the
        data reaches them. 6 % of the voxels belong to each of these.
        """
        import torch

        centre, width = (low + high) / 2, high - low
        means = (0.15, -0.2, 0.05, 0.0, -0.48, 0.48)
        sds = (0.1, 0.05, 0.02, 0.1, 0.004, 0.004)
        # A seed that nobody uses: with the loop's own seed, membership would follow the noise that it starts from.
        generator = torch.Generator().manual_seed(6_510_177)
        draw = torch.rand(*shape, generator=generator)
        edges = torch.tensor([0.22, 0.44, 0.66, 0.88, 0.94])
        return cls(
            tuple(centre + width * value for value in means),
            tuple(width * value for value in sds),
            torch.bucketize(draw, edges).to(torch.uint8).to(device),
        )

    def mean(self) -> Tensor:
        """Mean of every voxel, 64-bit (32-bit on devices without it)."""
        return self._spread(self.means)

    def sd(self) -> Tensor:
        """Standard deviation of every voxel, 64-bit (32-bit on devices without it)."""
        return self._spread(self.sds)

    def _spread(self, values: tuple[float, ...]) -> Tensor:
        import torch

        dtype = torch.float32 if self.member.device.type == "mps" else torch.float64
        return torch.tensor(values, dtype=dtype, device=self.member.device)[self.member.long()]


def posterior_mean(x_t: Tensor, alpha_bar: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """x̂0 of Gaussian voxels; ``alpha_bar`` broadcasts against ``x_t``."""
    return parameterisation.posterior_mean(mean, sd, x_t, alpha_bar.sqrt(), (1 - alpha_bar).clamp_min(0).sqrt())


def noise_estimate(x_t: Tensor, x0: Tensor, alpha_bar: Tensor) -> Tensor:
    """ε̂ from x_t and x̂0; zero where there is no noise."""
    import torch

    sigma = (1 - alpha_bar).clamp_min(0).sqrt()
    return torch.where(sigma > 0, (x_t - alpha_bar.sqrt() * x0) / sigma.clamp_min(1e-300), torch.zeros_like(x_t))


def encode(kind: str, x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """The network output of a prediction type that stands for this x0 and this noise (Salimans and Ho 2022, app. D)."""
    return parameterisation.encode(x0, noise, alpha_bar.sqrt(), (1 - alpha_bar).clamp_min(0).sqrt(), kind)


def answer(kind: str, x_t: Tensor, alpha_bar: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """What the exact denoiser of Gaussian voxels returns in a prediction type."""
    x0 = posterior_mean(x_t, alpha_bar, mean, sd)
    return encode(kind, x0, noise_estimate(x_t, x0, alpha_bar), alpha_bar)
