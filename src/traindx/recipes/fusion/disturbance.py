r"""What clean, registered pairs lack: MR that has moved against CT, noise, and a field of view that ends too early.

The CT is the grid that everything lives on, so it is the MR that moves: a rigid motion in three dimensions about the
middle of the volume, of which a network that sees single slices can only take back the part in the plane. Noise is
Gaussian in CT and Rician in MR, as magnitude images have it. What lies beyond a plane is missing from MR; the CT
is whole.

A disturbance never touches what is asked for: the target F* stays that of the clean pair. Where MR is missing, F* holds
what MR *would* have shown, which nobody has seen: a network can only guess it from CT.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.fusion.normalisation import DISPLAY_HU, MR_WHITE
from traindx.recipes.fusion.studies import Study

AIR_HU = -1000.0
_BODY_POINTS = 4096  # that the share of a missing field of view is measured on
_BODY_HU = -300.0


@dataclass(frozen=True)
class Disturbances:
    """The most of each that is drawn; 0 for none.

    Attributes:
        millimetres: Length of the shift of MR.
        degrees: Angle by which MR is turned, about any axis.
        noise: Standard deviation as a share of the display range: 0.05 is 75 HU.
        missing: Share of the body that MR does not show.
    """

    millimetres: float = 0.0
    degrees: float = 0.0
    noise: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        for name, most in vars(self).items():
            if not 0 <= most < math.inf:
                raise InputError(f"{name} of a disturbance is {most}", expected="a finite number of 0 or more")
        if self.missing >= 1:
            raise InputError(f"{self.missing:g} of the body is to be missing from MR", expected="a share below 1")

    def __bool__(self) -> bool:
        return any(vars(self).values())


UNDISTURBED = Disturbances()


@dataclass(frozen=True)
class Disturbance:
    """One that was drawn; all vectors are along slices, rows and columns.

    Attributes:
        rotation: What turns MR, shape ``(3, 3)``.
        shift: What shifts it in mm, shape ``(3,)``.
        noise: Standard deviation as a share of the display range.
        missing: Share of the body that MR does not show.
        normal: Direction in which it ends, shape ``(3,)``.
    """

    rotation: Tensor
    shift: Tensor
    noise: float
    missing: float
    normal: Tensor

    def source(self, points: Tensor) -> Tensor:
        """Where in the clean MR lies what the moved one shows at points ``(..., 3)`` in mm from the middle."""
        return points @ self.rotation.T + self.shift

    def shown(self, points: Tensor) -> Tensor:
        """Where the moved MR shows what lies at points of the clean one: the inverse of :meth:`source`."""
        return (points - self.shift) @ self.rotation


def drawn(most: Disturbances, generator: torch.Generator | None = None) -> Disturbance:
    """Sizes between 0 and the most, evenly; each of noise and a missing field of view in half of the cases."""
    share = torch.rand(4, generator=generator).tolist()
    whether = (torch.rand(2, generator=generator) < 0.5).tolist()
    noise, missing = (
        most_of * part * there
        for most_of, part, there in zip((most.noise, most.missing), share[2:], whether, strict=True)
    )
    sizes = Disturbances(most.millimetres * share[0], most.degrees * share[1], noise, missing)
    return of_size(sizes, generator)


def of_size(sizes: Disturbances, generator: torch.Generator | None = None) -> Disturbance:
    """Exactly these sizes, in directions that are drawn evenly over the sphere."""
    axis, along, normal = F.normalize(torch.randn(3, 3, generator=generator, dtype=torch.float64), dim=1)
    angle = math.radians(sizes.degrees)
    z, y, x = axis.tolist()
    cross = torch.tensor([[0.0, -x, y], [x, 0.0, -z], [-y, z, 0.0]], dtype=torch.float64)
    # Rodrigues' formula; the axis is given in the order of the array, so the sense of the turn is of no meaning
    rotation = torch.eye(3, dtype=torch.float64) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return Disturbance(rotation, sizes.millimetres * along, sizes.noise, sizes.missing, normal)


class Disturbed:
    """A study under disturbances, read in blocks of any place and size.

    Args:
        study: The clean study.
        white: Intensity of its MR that is white.
    """

    def __init__(self, study: Study, white: float) -> None:
        self.hu, self.mr = torch.from_numpy(study.hu), torch.from_numpy(study.mr)
        self.white = white
        steps = study.affine[:3, :3]
        self.spacing = torch.tensor([float((steps[:, axis] ** 2).sum() ** 0.5) for axis in (2, 1, 0)]).double()
        self.middle = (torch.tensor(self.hu.shape) - 1).double() / 2
        body = torch.nonzero(self.hu > _BODY_HU)
        self.body = self._mm(body[:: max(1, len(body) // _BODY_POINTS)].double())

    def block(
        self,
        disturbance: Disturbance,
        corner: tuple[int, int, int],
        shape: tuple[int, int, int],
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """CT and MR as stored, and how far MR must be looked for, in a block that may reach beyond the volume.

        Returns:
            CT in HU and MR, each ``shape``, and in each voxel the rows and columns, ``(2, *shape)``, from it to the
            place where the moved MR shows what belongs there.
        """
        axes = [torch.arange(start, start + count).double() for start, count in zip(corner, shape, strict=True)]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        points = self._mm(grid)
        mr = self._sampled(self.mr, disturbance.source(points))
        shift = (disturbance.shown(points) - points) / self.spacing
        hu = self._sampled(self.hu - AIR_HU, points) + AIR_HU
        if disturbance.noise:
            low, high = DISPLAY_HU
            normal = torch.randn(3, *shape, generator=generator)
            hu = hu + disturbance.noise * (high - low) * normal[0]
            spread = disturbance.noise * self.white / MR_WHITE
            mr = ((mr + spread * normal[1]).square() + (spread * normal[2]).square()).sqrt()
        if disturbance.missing:
            ends = torch.quantile(self.body @ disturbance.normal, 1 - disturbance.missing)
            mr = mr * (points @ disturbance.normal <= ends)
        return hu.float(), mr.float(), shift[..., 1:].movedim(-1, 0).float()

    def _mm(self, index: Tensor) -> Tensor:
        return (index - self.middle) * self.spacing

    def _sampled(self, volume: Tensor, points: Tensor) -> Tensor:
        """Trilinear, 0 outside."""
        place = points / self.spacing / ((self.middle * 2 + 1) / 2)  # -1 and 1 are the outer faces of the volume
        grid = place.flip(-1).float()[None]
        out: Tensor = F.grid_sample(volume[None, None].float(), grid, padding_mode="zeros", align_corners=False)[0, 0]
        return out


def disturbed(study: Study, white: float, disturbance: Disturbance, generator: torch.Generator | None = None) -> Study:
    """A whole study under a disturbance; lesion, masks and grid stay as they are."""
    shape = study.hu.shape
    block = Disturbed(study, white).block(disturbance, (0, 0, 0), (shape[0], shape[1], shape[2]), generator)
    hu, mr = (part.numpy() for part in block[:2])
    return Study(study.id, hu, mr, study.lesion, study.affine, study.bone, study.body)
