"""MetaImage and NRRD files that SimpleITK writes: the same values at the same places (where it is installed)."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from traindx.data.read_volumes import load

sitk = pytest.importorskip("SimpleITK")

TYPES = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize(("dtype", "packed", "ending"), itertools.product(TYPES, (False, True), ("mha", "mhd")))
def test_values_and_places_are_those_that_were_written(dtype: type, packed: bool, ending: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(dtype)  # z, y, x
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([0.7, 1.5, 3.0])
    image.SetOrigin([-5.0, 7.0, 11.0])
    image.SetDirection([0, -1, 0, 1, 0, 0, 0, 0, 1])
    path = str(tmp_path / f"volume.{ending}")
    sitk.WriteImage(image, path, packed)
    got, place = load(path)
    np.testing.assert_array_equal(got, values.T)
    assert place is not None
    assert place.shape == (3, 4)
    spacing = np.sqrt(np.square(place[:, :3]).sum(axis=0))
    np.testing.assert_allclose(spacing, image.GetSpacing(), rtol=1e-5)
    turned = np.diag([-1.0, -1.0, 1.0])  # ITK says x and y towards left and back, NIfTI right and front
    direction = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    itk, nifti = direction, turned @ direction
    assert np.allclose(place[:, :3], itk, atol=1e-5) or np.allclose(place[:, :3], nifti, atol=1e-5)
