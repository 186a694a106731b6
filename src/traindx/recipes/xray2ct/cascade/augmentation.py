"""Other patients from the ones at hand: mirrored, moved, scaled, turned, bent and a little denser.

The volume is changed and its radiographs are rendered from it again, so image and volume can never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

AIR_HU = -1000.0


@dataclass(frozen=True)
class Augmentation:
    """How far a volume is changed; half-widths of uniform distributions unless said otherwise.

    Attributes:
        flip: Probability of a mirror image, left for right.
        scale: Relative change of size along each axis and of all axes together.
        rotation_degrees: About each axis.
        shift: Along each axis, as a share of the field of view.
        bend: Standard deviation of a smooth displacement at its control points, as a share of the field of view.
        density: Relative change of attenuation.
        control_points: Control points of the displacement along each axis.
    """

    flip: float = 0.5
    scale: float = 0.1
    rotation_degrees: float = 6.0
    shift: float = 0.05
    bend: float = 0.012
    density: float = 0.02
    control_points: int = 6

    def __call__(self, hu: Tensor) -> Tensor:
        """Change every volume on its own, by draws from the global generator.

        Args:
            hu: Hounsfield units, shape ``(B, 1, D, H, W)``.
        """
        count, device = len(hu), hu.device
        affine = self._affine(count).to(device)
        grid = F.affine_grid(affine, list(hu.shape), align_corners=False)
        if self.bend:
            control = 2 * self.bend * torch.randn(count, 3, *(self.control_points,) * 3)
            field = F.interpolate(control.to(device), size=hu.shape[2:], mode="trilinear", align_corners=True)
            grid = grid + field.permute(0, 2, 3, 4, 1)
        mu = (hu - AIR_HU).clamp_min(0)
        warped = F.grid_sample(mu, grid, padding_mode="border", align_corners=False)
        denser = 1 + self.density * _uniform(count, 1).to(device)
        return warped * denser.view(-1, 1, 1, 1, 1) + AIR_HU

    def _affine(self, count: int) -> Tensor:
        """Affine maps of the sampling grid, shape ``(count, 3, 4)``, coordinates (W, H, D)."""
        angle = _uniform(count, 3) * self.rotation_degrees * torch.pi / 180
        turn = torch.eye(3).expand(count, 3, 3)
        for axis in range(3):
            turn = turn @ _rotation(angle[:, axis], axis)
        size = 1 + self.scale * (_uniform(count, 3) + _uniform(count, 1)) / 2**0.5
        mirror = torch.ones(count, 3)
        mirror[:, 0] = torch.where(torch.rand(count) < self.flip, -1.0, 1.0)
        matrix = turn * (size * mirror)[:, None]
        return torch.cat((matrix, 2 * self.shift * _uniform(count, 3)[:, :, None]), dim=2)


def _uniform(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape) - 1


def _rotation(angle: Tensor, axis: int) -> Tensor:
    matrix = torch.zeros(len(angle), 3, 3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, axis, axis] = 1
    matrix[:, one, one] = matrix[:, other, other] = angle.cos()
    matrix[:, one, other] = -angle.sin()
    matrix[:, other, one] = angle.sin()
    return matrix
