from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from traindx.errors import InputError
from traindx.recipes.segmentation.volumes import list_volumes, read_volume, stem_of, write_mask

OBLIQUE = np.array([[-1.4, 0.1, 0.0, 5], [0.1, 0.9, 0.2, -7], [0.0, -0.2, 2.0, 3], [0, 0, 0, 1]])


def test_a_nifti_mask_keeps_affine_codes_and_dtype(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), OBLIQUE)
    image.set_qform(OBLIQUE, 1)
    image.set_sform(OBLIQUE, 2)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "image.nii.gz")
    volume = read_volume(tmp_path / "image.nii.gz")
    write_mask(tmp_path / "mask.nii.gz", np.ones((3, 4, 5), dtype=np.uint8), volume)
    mask = nib.load(tmp_path / "mask.nii.gz")
    source = nib.load(tmp_path / "image.nii.gz")
    assert np.allclose(mask.affine, source.affine, atol=1e-6)
    assert int(mask.header["qform_code"]) == 1
    assert int(mask.header["sform_code"]) == 2
    assert mask.get_data_dtype() == np.uint8
    assert np.asarray(mask.dataobj).max() == 1  # the image's own slope is not applied to the mask
    assert volume.spacing == pytest.approx(np.linalg.norm(OBLIQUE[:3, :3], axis=0))


def test_tiff_stacks_as_file_and_as_folder_hold_the_same(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 4000, (4, 6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "one.tif", stack)
    pages = tmp_path / "two"
    pages.mkdir()
    for index, page in enumerate(stack):
        tifffile.imwrite(pages / f"{index:03}.tif", page)
    assert np.array_equal(read_volume(tmp_path / "one.tif").array, read_volume(pages).array)
    assert [stem_of(path) for path in list_volumes(tmp_path)] == ["one", "two"]


def test_a_tiff_mask_is_written_as_a_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((4, 6, 7), dtype=np.uint8))
    mask = np.random.default_rng(0).integers(0, 2, (4, 6, 7)).astype(np.uint8)
    write_mask(tmp_path / "mask.tif", mask, read_volume(tmp_path / "image.tif"))
    assert np.array_equal(tifffile.imread(tmp_path / "mask.tif"), mask)


def test_spacing_of_an_imagej_stack_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "s.tif",
        np.zeros((3, 4, 5), np.uint8),
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"spacing": 2.0, "unit": "mm"},
    )
    assert read_volume(tmp_path / "s.tif").spacing == pytest.approx((2.0, 0.5, 0.25))


def test_channels_of_a_four_dimensional_nifti_come_first(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 2), np.float32), np.eye(4)), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").array.shape == (2, 3, 4, 5)


@pytest.mark.parametrize("name", ["empty.nii.gz", "text.nii", "text.tif", "notes.txt", "missing.nii"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    if name != "missing.nii":
        (tmp_path / name).write_bytes(b"" if "empty" in name else b"no image at all")
    with pytest.raises(InputError, match=name):
        read_volume(tmp_path / name)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.normal(size=(20, 20, 20)).astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut"):
        read_volume(tmp_path / "cut.nii.gz")
