"""Writing volumes as NIfTI."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def write_nifti(
    path: Path, volume: Tensor, affine: NDArray[np.float64], axes: tuple[int, int, int] = (0, 1, 2)
) -> None:
    """Write a volume in its own data type; the file is complete or not there.

    Args:
        path: Where to.
        volume: Shape ``(D, H, W)``.
        affine: Voxel index to mm, for the axes as they are written.
        axes: Order of the axes in the file.
    """
    import nibabel

    image = nibabel.Nifti1Image(volume.numpy().transpose(axes), affine)
    image.header.set_xyzt_units("mm")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        nibabel.save(image, unfinished)
        os.replace(unfinished, path)
