"""Reading and writing pairs of plain images: depth, colour, grids, and what is refused."""

from __future__ import annotations

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

from traindx.errors import InputError
from traindx.recipes.fusion.pairs import folders, images


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)
    return path


def ramp(dtype=np.uint8, shape=(6, 8), top=255):
    return (np.arange(np.prod(shape)).reshape(shape) * top // (np.prod(shape) - 1)).astype(dtype)


def nifti(path, values, affine=None):
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 3, 4, 1]) if affine is None else affine), path)
    return path


def test_eight_bits_are_read_on_their_whole_range(tmp_path):
    image = images.read(save(tmp_path / "a.png", ramp(top=100)))
    np.testing.assert_allclose(image.luminance[0], ramp(top=100) / 255, atol=1e-6)
    assert (image.bits, image.scale, image.rest, image.clipped) == (8, (0.0, 255.0), None, 0.0)
    assert str(image).endswith("a.png: 6 x 8, grey, 8 bit, 0 to 255")


@pytest.mark.parametrize(("largest", "white"), [(200, 255), (256, 1023), (4095, 4095), (4096, 16383), (65535, 65535)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_end_where_the_scanner_ends(tmp_path, largest, white, suffix):
    values = ramp(np.uint16, top=largest)
    path = tmp_path / f"a.{suffix}"
    tifffile.imwrite(path, values) if suffix == "tif" else save(path, values)
    image = images.read(path)
    assert (image.bits, image.scale) == (16, (0.0, float(white)))
    np.testing.assert_allclose(image.luminance[0], values / white, atol=1e-6)


def test_a_range_of_the_caller_is_taken_and_what_it_cuts_is_said(tmp_path):
    hu = np.linspace(-1000, 1000, 60, dtype=np.float32).reshape(5, 4, 3)
    image = images.read(nifti(tmp_path / "ct.nii.gz", hu), (-160.0, 240.0))
    expected = np.clip((hu + 160) / 400, 0, 1).transpose(2, 1, 0)
    np.testing.assert_allclose(image.luminance, expected, atol=1e-6)
    assert image.clipped == pytest.approx(((hu < -160) | (hu > 240)).mean())
    assert "% of it outside" in str(image)


def test_colour_is_luminance_and_a_rest_that_gives_it_back(tmp_path):
    colour = np.random.default_rng(0).integers(60, 190, (6, 8, 3), dtype=np.uint8)
    image = images.read(save(tmp_path / "pet.png", colour))
    weights = [0.299, 0.587, 0.114]
    np.testing.assert_allclose(image.luminance[0], (colour / 255) @ weights, atol=1e-5)
    outside = images.write(tmp_path / "out.png", image.luminance, image.rest, 8, None)
    assert outside == 0
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "out.png")), colour)


def test_brightness_changes_and_chroma_does_not(tmp_path):
    colour = np.full((4, 4, 3), (120, 90, 60), np.uint8)
    image = images.read(save(tmp_path / "pet.png", colour))
    images.write(tmp_path / "out.png", image.luminance + 0.1, image.rest, 8, None)
    written = PIL.Image.open(tmp_path / "out.png").convert("YCbCr")  # Pillow's own conversion, of the same standard
    first = PIL.Image.open(tmp_path / "pet.png").convert("YCbCr")
    difference = np.asarray(written).astype(int) - np.asarray(first).astype(int)
    assert np.abs(difference[..., 0] - 26).max() <= 1
    assert np.abs(difference[..., 1:]).max() <= 1
    assert images.write(tmp_path / "white.png", np.ones_like(image.luminance), image.rest, 8, None) == 1


def test_grey_that_is_stored_as_colour_is_grey(tmp_path):
    grey = np.repeat(ramp()[..., None], 3, axis=2)
    image = images.read(save(tmp_path / "a.png", grey))
    assert image.rest is None
    np.testing.assert_allclose(image.luminance[0], ramp() / 255, atol=1e-5)
    opaque = np.dstack([grey, np.full(ramp().shape, 255, np.uint8)])
    np.testing.assert_allclose(images.read(save(tmp_path / "b.png", opaque)).luminance[0], ramp() / 255, atol=1e-5)


def test_an_inverted_tiff_is_shown_as_it_is_meant(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(), photometric="miniswhite")
    np.testing.assert_allclose(images.read(tmp_path / "a.tif").luminance[0], 1 - ramp() / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: save(path / "a.png", np.dstack([ramp()] * 4)), "transparent"),
        (
            lambda path: tifffile.imwrite(path / "a.tif", np.zeros((3, 5, 6), np.uint8), photometric="minisblack"),
            "3 pages",
        ),
        (lambda path: (path / "a.png").write_bytes(b"not a picture"), "cannot be read"),
        (lambda path: (path / "a.tif").write_bytes(b"not a picture"), "cannot be read"),
        (lambda path: (path / "a.txt").write_text("x"), "of a kind that is not read"),
        (lambda path: nifti(path / "a.nii.gz", np.ones((4, 4, 2), np.float32)), "is constant"),
        (lambda path: nifti(path / "a.nii.gz", np.full((4, 4, 2), np.nan, np.float32)), "not finite"),
        (lambda path: tifffile.imwrite(path / "a.tif", np.zeros((5, 6), np.int32)), "holds int32"),
        (lambda path: None, "does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, make, said):
    make(tmp_path)
    path = next(iter(tmp_path.iterdir()), tmp_path / "a.png")
    with pytest.raises(InputError, match=said):
        images.read(path)


def test_colour_of_sixteen_bit_is_refused_and_not_cut_to_eight(tmp_path):
    import struct
    import zlib

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = b"".join(b"\x00" + bytes(12) for _ in range(2))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(InputError, match="colour with 16 bit"):
        images.read(tmp_path / "a.png")


def test_a_pair_must_be_of_one_size_one_kind_and_one_grid(tmp_path):
    a, b = save(tmp_path / "a.png", ramp()), save(tmp_path / "b.png", ramp(shape=(8, 6)))
    with pytest.raises(InputError, match=r"6 x 8 and .*b\.png is 8 x 6"):
        folders.read_pair(a, b)
    volume = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    one = nifti(tmp_path / "one.nii.gz", volume)
    with pytest.raises(InputError, match="a picture and a volume"):
        folders.read_pair(a, one)
    with pytest.raises(InputError, match="different grids"):
        folders.read_pair(one, nifti(tmp_path / "two.nii", volume, np.diag([2.0, 3, 5, 1])))
    colour = save(tmp_path / "c.png", np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="both have colour"):
        folders.read_pair(colour, colour)


def test_depth_colour_and_grid_of_a_pair_are_those_of_its_images(tmp_path):
    eight, sixteen = save(tmp_path / "a.png", ramp()), save(tmp_path / "b.png", ramp(np.uint16, top=4095))
    pair = folders.read_pair(eight, sixteen)
    fused = torch.full((1, 1, 6, 8), 0.5)
    pair.write(tmp_path / "fused.png", fused)
    written = np.asarray(PIL.Image.open(tmp_path / "fused.png"))
    assert written.dtype == np.uint16
    assert np.ptp(written) == 0
    assert abs(int(written[0, 0]) - 32768) <= 1
    volume = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    affine = np.array([[0, 2.0, 0, 7], [2, 0, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])
    stack = folders.read_pair(*(nifti(tmp_path / f"{name}.nii.gz", volume, affine) for name in ("one", "two")))
    first, _ = stack.tensors
    assert first.shape == (3, 1, 4, 5)
    stack.write(tmp_path / "fused.nii.gz", first)
    back = nibabel.load(tmp_path / "fused.nii.gz")
    np.testing.assert_allclose(back.affine, affine)
    white = np.percentile(volume, 99.9)
    expected = np.clip((volume - volume.min()) / (white - volume.min()), 0, 1)
    np.testing.assert_allclose(back.get_fdata(), expected, atol=1e-5)


def test_a_folder_of_two_modalities(tmp_path):
    for name in ("7", "8"):
        save(tmp_path / "ct" / f"{name}.png", ramp())
        save(tmp_path / "mri" / f"{name}.tif", ramp())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("x")
    folder = folders.folder_of_pairs(tmp_path)
    assert folder.modalities == ("ct", "mri")
    assert list(folder.files) == ["7", "8"]
    assert folder.read("7").b.path == tmp_path / "mri" / "7.tif"
    save(tmp_path / "ct" / "9.png", ramp())
    with pytest.raises(InputError, match=r"ct/9\.png has no partner"):
        folders.folder_of_pairs(tmp_path)
    save(tmp_path / "pet" / "7.png", ramp())
    with pytest.raises(InputError, match="3 folders with images: ct, mri, pet"):
        folders.folder_of_pairs(tmp_path)


def test_slices_of_a_patient_are_one_patient():
    assert folders.patients(["16003", "16004", "2005", "p1_s07", "p1_s08"]) == {
        "16003": "16",
        "16004": "16",
        "2005": "2",
        "p1_s07": "p1_s",
        "p1_s08": "p1_s",
    }
    assert folders.patients(["007", "008"]) == {"007": "007", "008": "008"}
    assert folders.patients(["scan1", "scan2"]) == {"scan1": "scan1", "scan2": "scan2"}
    assert folders.patients(["a-1", "b-1"], r"^(\w)-") == {"a-1": "a", "b-1": "b"}
    with pytest.raises(InputError, match="does not match"):
        folders.patients(["a"], r"\d")
    with pytest.raises(InputError, match="is wrong"):
        folders.patients(["a"], "(")
