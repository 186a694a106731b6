"""From radiographs to what the denoiser is given: features along the rays of the same geometry, and a summary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry


class RadiographEncoder(nn.Module):
    """Encode both radiographs by one network and spread the features back along the rays.

    Every pixel knows where it is on the detector, and the views are told apart by an embedding, so exchanging them
    changes the result.

    Args:
        geometry: Where radiographs and volume are.
        patch: The features are lifted onto a grid that is coarser by this factor.
        channels: Channels at full resolution; twice as many on the coarser grid.
        lifted: Channels lifted from each view.
        condition: Length of the summary vector.
    """

    def __init__(self, geometry: ConeGeometry, patch: int, channels: int, lifted: int, condition: int) -> None:
        super().__init__()
        self.lifted_channels = lifted * len(VIEWS)
        self.local = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.SiLU()
        )
        self.wide = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, stride=patch),
            nn.SiLU(),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1),
            nn.SiLU(),
        )
        self.to_lift = nn.Conv2d(2 * channels, lifted, 1)
        self.view = nn.Parameter(0.02 * torch.randn(len(VIEWS), 2 * channels, 1, 1))
        self.summarise = nn.Linear(len(VIEWS) * 2 * channels, condition)
        coarse = geometry.coarser(patch)
        for name in VIEWS:
            self.register_buffer(f"rays_{name}", coarse.lifting_grid(name), persistent=False)
        rows, columns = geometry.pixels
        y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
        self.register_buffer("where", torch.stack((y, x))[None], persistent=False)

    def forward(self, frontal: Tensor, lateral: Tensor) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            frontal: Shape ``(B, 1, h, w)``.
            lateral: The same.

        Returns:
            Features at every voxel of the coarser grid, ``(B, lifted_channels, d, h, w)``, first those of the frontal
            view; and a summary of both views, ``(B, condition)``.
        """
        lifted, pooled = [], []
        for index, (name, image) in enumerate(zip(VIEWS, (frontal, lateral), strict=True)):
            where = self.get_buffer("where").expand(image.shape[0], -1, -1, -1)
            features = self.wide(self.local(torch.cat((image, where), dim=1))) + self.view[index]
            lifted.append(back_project(self.to_lift(features), self.get_buffer(f"rays_{name}")))
            pooled.append(features.mean(dim=(2, 3)))
        summary: Tensor = self.summarise(torch.cat(pooled, dim=1))
        return torch.cat(lifted, dim=1), summary


def back_project(image: Tensor, rays: Tensor) -> Tensor:
    """Give every voxel what the detector saw along the ray through it.

    Args:
        image: Shape ``(B, C, h, w)``.
        rays: Shape ``(D, H, W, 2)``, see :meth:`ConeGeometry.lifting_grid`.

    Returns:
        Shape ``(B, C, D, H, W)``.
    """
    d, h, w, _ = rays.shape
    grid = rays.reshape(1, d * h, w, 2).expand(image.shape[0], -1, -1, -1)
    lifted = F.grid_sample(image, grid, align_corners=False, padding_mode="zeros")
    return lifted.view(*image.shape[:2], d, h, w)
