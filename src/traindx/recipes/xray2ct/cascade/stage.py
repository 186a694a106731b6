r"""Stages: each makes a volume of its resolution from the one before and from what the radiographs say against it.

What a stage is given of the earlier volume is not only the volume. Its radiographs are rendered and subtracted from
the given ones, and the difference is spread back along the rays: the first step of every iterative reconstruction
(Andersen & Kak 1984, *SART*), which tells where the earlier volume is too dense or too thin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.kit.diffusion import from_estimate, posterior_mean
from traindx.recipes.xray2ct.cascade.ladder import at_size, refined
from traindx.recipes.xray2ct.cascade.projector import Projector
from traindx.recipes.xray2ct.cascade.unet import VolumeUNet
from traindx.recipes.xray2ct.encoder import back_project
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.radiograph import DISPLAY_WIDTH, from_network, mu_from_hu

_NOISE_TIMES = 2  # time of the diffusion, and noise of the condition


class Agreement(nn.Module):
    """How far a volume is from the given radiographs, at a detector of its own resolution.

    Args:
        geometry: Geometry of the volume.
        views: The radiographs that are given.
        window: Hounsfield window of the volumes.
    """

    def __init__(self, geometry: ConeGeometry, views: tuple[str, ...], window: HounsfieldWindow) -> None:
        super().__init__()
        self.window, self.views, self.pixels = window, views, geometry.shape[0]
        self.projector = Projector(at_size(geometry, geometry.shape[0], self.pixels), views)

    def differences(self, volume: Tensor, radiographs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Given minus rendered line integrals, in network values.

        Args:
            volume: Network values, shape ``(B, 1, D, H, W)``.
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.

        Returns:
            One image a view, ``(B, 1, pixels, pixels)``.
        """
        mu = mu_from_hu(self.window.decode(volume.float()))
        found = {}
        for view in self.views:
            given = F.adaptive_avg_pool2d(from_network(radiographs[view].float()), self.pixels)
            found[view] = (given - self.projector(mu, view)) / DISPLAY_WIDTH
        return found

    def forward(self, volume: Tensor, radiographs: Mapping[str, Tensor]) -> Tensor:
        """Mean squared difference over all views, a scalar."""
        parts = [image.square().mean() for image in self.differences(volume, radiographs).values()]
        return torch.stack(parts).mean()


class Stage(nn.Module):
    """What both kinds of stage share: the prior, the geometry, and what the radiographs say of an earlier volume.

    Args:
        geometry: Geometry of the stage; its shape is the stage's.
        window: Hounsfield window of the volumes.
        prior: Mean training volume in network values at the stage's resolution, ``(1, 1, D, H, W)``, and the standard
            deviation of volumes around what the stage starts from.
        views: The radiographs that are given.
        noisy: The network is also given a noisy volume and two times.
        options: Further options of :class:`~traindx.recipes.xray2ct.cascade.unet.VolumeUNet`.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        window: HounsfieldWindow,
        *,
        prior: tuple[Tensor, float] | None = None,
        views: tuple[str, ...] = VIEWS,
        noisy: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        mean, deviation = prior if prior is not None else (torch.zeros(1, 1, *geometry.shape), 1.0)
        self.size, self.views, self.window = geometry.shape[0], views, window
        self.register_buffer("prior_mean", mean.clone())
        self.register_buffer("prior_deviation", torch.tensor(float(deviation)))
        self.agreement = Agreement(geometry, views, window)
        for view in views:
            self.register_buffer(f"rays_{view}", geometry.lifting_grid(view), persistent=False)
        volumes = 2 + 2 * len(views) + noisy
        self.network = VolumeUNet(geometry, volumes, views=views, times=_NOISE_TIMES * noisy, **options)

    def start(self, earlier: Tensor | None, count: int) -> Tensor:
        """What the stage refines: the earlier volume on its own grid, or the mean of the training volumes."""
        if earlier is None:
            return self.get_buffer("prior_mean").expand(count, -1, -1, -1, -1)
        return refined(earlier, self.size)

    def given(self, start: Tensor, radiographs: Mapping[str, Tensor]) -> Tensor:
        """All that is known before the network: start, mean, what the rays saw, and where that contradicts the start.

        Returns:
            Shape ``(B, 2 + 2 * views, D, H, W)``.
        """
        with torch.no_grad():
            against = self.agreement.differences(start, radiographs)
            parts = [start, self.get_buffer("prior_mean").expand_as(start)]
            for view in self.views:
                rays = self.get_buffer(f"rays_{view}")
                seen = _at_most(radiographs[view], self.size)
                parts += [back_project(seen.float(), rays), back_project(against[view], rays)]
        return torch.cat(parts, dim=1)


class RegressionStage(Stage):
    """The volume itself: the start plus what the network changes about it."""

    def forward(self, earlier: Tensor | None, radiographs: Mapping[str, Tensor]) -> Tensor:
        """Reconstruct.

        Args:
            earlier: Output of the stage before, in network values, ``(B, 1, d, h, w)``; None in the first stage.
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.

        Returns:
            Network values, shape ``(B, 1, D, H, W)``.
        """
        start = self.start(earlier, radiographs[self.views[0]].shape[0])
        out: Tensor = start + self.network(self.given(start, radiographs), radiographs)
        return out


class DiffusionStage(Stage):
    r"""What a diffusion process wants to know of a noisy volume, given the earlier stage and the radiographs.

    The estimate h of :math:`x_0` begins from the posterior mean of :math:`x_0 \sim N(\text{start}, s^2)` given
    :math:`x_t`, and v, epsilon or x0 follow analytically with an assumed standard error of h, at full resolution; see
    :class:`traindx.recipes.xray2ct.model.Denoiser`.

    Args:
        geometry: See :class:`Stage`.
        window: See :class:`Stage`.
        prediction: ``v``, ``epsilon`` or ``sample``.
        head_error: Assumed standard error of h, in network units.
        options: Further options of :class:`Stage`.
    """

    def __init__(
        self,
        geometry: ConeGeometry,
        window: HounsfieldWindow,
        *,
        prediction: str = "v",
        head_error: float = 0.05,
        **options: Any,
    ) -> None:
        super().__init__(geometry, window, noisy=True, **options)
        self.prediction, self.head_error = prediction, head_error

    def forward(
        self,
        x_t: Tensor,
        time: Tensor,
        alpha_bar: Tensor,
        start: Tensor,
        radiographs: Mapping[str, Tensor],
        noise_level: Tensor | None = None,
    ) -> Tensor:
        r"""Predict.

        Args:
            x_t: Noisy volumes, shape ``(B, 1, D, H, W)``.
            time: t / T, shape ``(B,)``.
            alpha_bar: :math:`\bar\alpha_t`, shape ``(B,)``.
            start: What the stage starts from, see :meth:`Stage.start`, possibly with noise added.
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.
            noise_level: Standard deviation of the noise that was added to ``start``, shape ``(B,)``; 0 by default.
        """
        alpha_bar = alpha_bar.to(x_t.dtype).view(-1, 1, 1, 1, 1)
        a, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        noise_level = torch.zeros_like(time) if noise_level is None else noise_level.to(time)
        spread = (self.get_buffer("prior_deviation").square() + noise_level.view(-1, 1, 1, 1, 1).square()).sqrt()
        begin = posterior_mean(start, spread, x_t, a, sigma)
        volumes = torch.cat((begin, self.given(start, radiographs)), dim=1)
        times = torch.stack((time.float(), noise_level.float()), dim=1)
        estimate = begin + self.network(volumes, radiographs, times).to(begin)
        return from_estimate(estimate, self.head_error, x_t, a, sigma, self.prediction)


def _at_most(image: Tensor, size: int) -> Tensor:
    """An image averaged to ``size`` pixels a side where it has more, so that a coarse grid does not skip any."""
    return F.adaptive_avg_pool2d(image, size) if image.shape[-1] > size else image
