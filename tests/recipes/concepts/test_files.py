"""PNG and DICOM as they come: 16 bits, MONOCHROME1, rescale, windows, and files that are none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from traindx.errors import InputError
from traindx.recipes.concepts.reading import for_network, read_radiograph


@pytest.fixture(scope="module")
def film(radiographs):
    return radiographs.images[0]


def write_dicom(path, values, **header):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 16, 12, 11
    data.PixelRepresentation = 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = values.astype("<u2").tobytes()
    for name, value in header.items():
        setattr(data, name, value)
    pydicom.dcmwrite(str(path), data)
    return path


def test_sixteen_bits_are_not_clipped(tmp_path, film):
    Image.fromarray(film).save(tmp_path / "a.png")
    assert np.array_equal(read_radiograph(tmp_path / "a.png"), film.astype(np.float32))
    assert film.max() > 255


def test_colour_becomes_grey(tmp_path, film):
    grey = (film / 16).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.png")
    assert np.array_equal(read_radiograph(tmp_path / "a.png"), grey.astype(np.float32))


def test_monochrome1_is_turned_over(tmp_path, film):
    plain = read_radiograph(write_dicom(tmp_path / "a.dcm", film))
    turned = read_radiograph(
        write_dicom(tmp_path / "b.dcm", film.max() - film, PhotometricInterpretation="MONOCHROME1")
    )
    assert np.corrcoef(plain.ravel(), turned.ravel())[0, 1] == pytest.approx(1.0)
    a, b = (for_network(values, 64)[1] for values in (plain, turned))
    assert float((a - b).abs().max()) < 1e-4


def test_slope_and_intercept_are_applied(tmp_path, film):
    read = read_radiograph(write_dicom(tmp_path / "a.dcm", film, RescaleSlope="2", RescaleIntercept="-100"))
    assert np.allclose(read, 2.0 * film - 100)


def test_a_window_is_applied_as_the_standard_says(tmp_path, film):
    path = write_dicom(tmp_path / "a.dcm", film, WindowCenter="1500", WindowWidth="1000")
    read = read_radiograph(path)
    # DICOM PS3.3 C.11.2.1.2.1 for an output of 0 to 4095
    expected = np.clip(((film - (1500 - 0.5)) / (1000 - 1) + 0.5) * 4095, 0, 4095)
    assert np.allclose(read, expected, atol=1.0)


def test_png_and_dicom_of_one_film_give_the_network_the_same(tmp_path, film):
    Image.fromarray(film).save(tmp_path / "a.png")
    write_dicom(tmp_path / "a.dcm", film)
    a, b = (for_network(read_radiograph(tmp_path / name), 64)[1] for name in ("a.png", "a.dcm"))
    assert float((a - b).abs().max()) == 0


def test_the_path_of_prediction_is_that_of_validation(film, radiographs):
    from traindx.recipes.concepts.data import Dataset

    batch = Dataset(radiographs, size=64, map_size=(16, 16)).batch([0])
    assert float((for_network(film.astype(np.float32), 64)[1] - batch["image"]).abs().max()) == 0


@pytest.mark.parametrize("shape", [(64, 96), (200, 64), (65, 64)])
def test_other_shapes_are_stretched_to_the_network(film, shape):
    values = np.asarray(Image.fromarray(film.astype(np.float32)).resize(shape[::-1]))
    assert for_network(values, 64)[1].shape == (1, 1, 64, 64)


@pytest.mark.parametrize("name", ["missing.png", "text.png", "text.dcm", "constant.png", "tiny.png"])
def test_what_is_no_radiograph_is_named(tmp_path, name):
    for text in ("text.png", "text.dcm"):
        (tmp_path / text).write_text("not an image")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(tmp_path / "constant.png")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "tiny.png")
    with pytest.raises(InputError, match=name):
        read_radiograph(tmp_path / name)
