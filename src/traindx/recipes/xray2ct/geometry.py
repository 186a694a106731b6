"""Where source, patient and detector are: the one geometry that radiographs are rendered and features lifted with.

A volume is a tensor ``(B, 1, D, H, W)``: D runs from superior to inferior, H from anterior to posterior, W from the
patient's right to the left. World coordinates in mm are (x, y, z) along (W, H, D), with the origin at the centre of the
volume. Rows of a radiograph run along D and its columns along W (frontal, seen from the front) or H (lateral, anterior
on the left).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from traindx.errors import InputError

VIEWS = ("frontal", "lateral")

# Columns: image right, image down, viewing direction, as directions of (x, y, z). Radiographs are hung as seen from the
# detector: what the source sees is mirrored.
_CAMERA_AXES = {
    "frontal": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),  # postero-anterior: the source is behind
    "lateral": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),  # left lateral: the source is on the right
}


@dataclass(frozen=True)
class ConeGeometry:
    """A point source, a flat detector and a volume centred on the central ray.

    Attributes:
        shape: Voxels along D, H, W.
        spacing_mm: Voxel size along D, H, W.
        pixels: Detector rows and columns.
        source_to_isocentre_mm: Distance from the source to the centre of the volume.
        source_to_detector_mm: Distance from the source to the detector. The defaults are a chest stand with a focus to
            detector distance of 1.8 m (European guidelines on quality criteria for radiographic images, EUR 16260).
        margin: The detector covers this multiple of the shadow of the volume's central plane.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    pixels: tuple[int, int]
    source_to_isocentre_mm: float = 1500.0
    source_to_detector_mm: float = 1800.0
    margin: float = 1.1

    def __post_init__(self) -> None:
        half_depth = max(count * size for count, size in zip(self.shape, self.spacing_mm, strict=True)) / 2
        if self.source_to_isocentre_mm <= half_depth:
            raise InputError(
                f"the source is {self.source_to_isocentre_mm:g} mm from the centre, inside the volume",
                expected=f"more than {half_depth:g} mm",
                do="check that the spacing is in mm",
            )

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the volume along D, H, W."""
        d, h, w = (count * size for count, size in zip(self.shape, self.spacing_mm, strict=True))
        return d, h, w

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Height and width of a detector pixel."""
        magnification = self.source_to_detector_mm / self.source_to_isocentre_mm
        d, h, w = self.extent_mm
        rows, columns = self.pixels
        return d * magnification * self.margin / rows, max(h, w) * magnification * self.margin / columns

    def world_from_camera(self, view: str, like: Tensor | None = None) -> Tensor:
        """Camera coordinates (image right, image down, forward) to world coordinates, shape ``(1, 4, 4)``.

        Raises:
            InputError: No such view.
        """
        if view not in _CAMERA_AXES:
            raise InputError(f"there is no view {view!r}", expected=f"one of {', '.join(_CAMERA_AXES)}")
        axes = torch.tensor(_CAMERA_AXES[view]).T
        matrix = torch.eye(4)
        matrix[:3, :3] = axes
        matrix[:3, 3] = -self.source_to_isocentre_mm * axes[:, 2]
        return matrix[None] if like is None else matrix[None].to(like)

    def lifting_grid(self, view: str) -> Tensor:
        """Where each voxel's ray meets the detector, for ``torch.nn.functional.grid_sample``.

        Returns:
            Shape ``(D, H, W, 2)``, (column, row) in [-1, 1] with ``align_corners=False``: sampling an image of this
            view there puts at every voxel what the detector saw along the ray through it.
        """
        centres = [
            (torch.arange(count, dtype=torch.float32) - (count - 1) / 2) * size
            for count, size in zip(self.shape, self.spacing_mm, strict=True)
        ]
        z, y, x = torch.meshgrid(*centres, indexing="ij")
        world = torch.stack((x, y, z, torch.ones_like(x)), dim=-1)
        camera = world @ torch.linalg.inv(self.world_from_camera(view)[0]).T
        on_detector = camera[..., :2] * (self.source_to_detector_mm / camera[..., 2:3])
        rows, columns = self.pixels
        height, width = self.pixel_mm
        grid: Tensor = on_detector / torch.tensor([columns * width / 2, rows * height / 2])
        return grid

    def coarser(self, factor: int) -> ConeGeometry:
        """The same rays over a volume and a detector of ``1/factor`` of the voxels and pixels each way.

        Raises:
            InputError: The factor does not divide the shape.
        """
        if any(count % factor for count in (*self.shape, *self.pixels)):
            raise InputError(f"{factor} does not divide volume {self.shape} and detector {self.pixels}")
        d, h, w = (count // factor for count in self.shape)
        sd, sh, sw = (size * factor for size in self.spacing_mm)
        rows, columns = (count // factor for count in self.pixels)
        return ConeGeometry(
            (d, h, w),
            (sd, sh, sw),
            (rows, columns),
            self.source_to_isocentre_mm,
            self.source_to_detector_mm,
            self.margin,
        )
