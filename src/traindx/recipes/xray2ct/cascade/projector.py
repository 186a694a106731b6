r"""A fast radiograph of a volume on the recipe's geometry: two matrix products a plane, forwards and backwards.

Joseph's method (Joseph 1982, *An improved algorithm for reprojecting rays through pixel images*): the ray through each
pixel is sampled once in every plane across the viewing direction, bilinearly, and the samples are summed with the
length of the ray between two planes. Seen from a point, a plane is only scaled, along rows and columns apart, so the
bilinear sampling is :math:`A_j V_j B_j^T` with two small matrices for each plane j. nanodrr renders the same line
integrals with two trilinear samples a voxel; it makes the radiographs that a training is given, and this projector
serves where one is needed at every step: radiographs of augmented volumes and the agreement of predictions with them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from traindx.recipes.xray2ct.geometry import ConeGeometry

_SIDE = {"frontal": -1.0, "lateral": 1.0}  # the rays run towards smaller y (frontal), or larger x (lateral)


class Projector(nn.Module):
    """Line integrals of attenuation along the rays of some views.

    Args:
        geometry: Where source, volume and detector are.
        views: Which views are rendered.
    """

    def __init__(self, geometry: ConeGeometry, views: tuple[str, ...]) -> None:
        super().__init__()
        self.geometry = geometry
        self.views = views
        for view in views:
            rows, columns, length = _matrices(geometry, view)
            self.register_buffer(f"rows_{view}", rows, persistent=False)
            self.register_buffer(f"columns_{view}", columns, persistent=False)
            self.register_buffer(f"length_{view}", length, persistent=False)

    def forward(self, mu: Tensor, view: str) -> Tensor:
        """Render.

        Args:
            mu: Linear attenuation in 1/mm, shape ``(B, 1, D, H, W)``.
            view: One of the views that it was made for.

        Returns:
            Dimensionless line integrals, shape ``(B, 1, rows, columns)``, always float32.
        """
        with torch.autocast(mu.device.type, enabled=False):
            # planes across the viewing direction first, then rows (D) and columns of the image
            planes = mu.float()[:, 0].permute((0, 2, 1, 3) if view == "frontal" else (0, 3, 1, 2))
            seen = self.get_buffer(f"rows_{view}") @ planes @ self.get_buffer(f"columns_{view}").transpose(1, 2)
            image: Tensor = seen.sum(dim=1, keepdim=True) * self.get_buffer(f"length_{view}")
        return image


def _matrices(geometry: ConeGeometry, view: str) -> tuple[Tensor, Tensor, Tensor]:
    """Interpolation along rows ``(planes, rows, D)`` and columns ``(planes, columns, W or H)``, and ray lengths."""
    d, h, w = geometry.shape
    sd, sh, sw = geometry.spacing_mm
    planes, across, step, side = (h, w, sh, sw) if view == "frontal" else (w, h, sw, sh)
    depth = geometry.source_to_isocentre_mm + _SIDE[view] * _centres(planes, step)
    scale = depth / geometry.source_to_detector_mm  # from the detector to the plane
    rows, columns = geometry.pixels
    v, u = (_centres(count, size) for count, size in zip((rows, columns), geometry.pixel_mm, strict=True))
    length = step * (1 + (u[None].square() + v[:, None].square()) / geometry.source_to_detector_mm**2).sqrt()
    return _linear(scale[:, None] * v / sd, d), _linear(scale[:, None] * u / side, across), length


def _centres(count: int, step: float) -> Tensor:
    return (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * step


def _linear(position: Tensor, count: int) -> Tensor:
    """Weights of ``count`` voxels in linear interpolation at positions in voxels from the centre; 0 outside."""
    place = position + (count - 1) / 2
    return (1 - (place[..., None] - torch.arange(count, dtype=torch.float32)).abs()).clamp_min(0)
