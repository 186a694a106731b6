"""CT from any folder, and radiographs from files, against volumes whose anatomy is known."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from traindx.errors import InputError
from traindx.recipes.xray2ct.data import DataOptions, prepare
from traindx.recipes.xray2ct.folders import load_folder, on_grid, read_series, read_volume
from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.given_views import verify_views
from traindx.recipes.xray2ct.hounsfield import WINDOWS, destroyed, named_window, windows_table
from traindx.recipes.xray2ct.population import CT
from traindx.recipes.xray2ct.radiograph import from_network


def body(seed: int) -> np.ndarray:
    """HU by x, y, z from right to left, back to front and upwards: a right lung, a spine behind, a head above."""
    draw = np.random.default_rng(seed)
    volume = np.full((24, 20, 28), -1000.0)
    volume[3:21, 4:17, 1:20] = 40.0
    volume[8:15, 7:14, 18:27] = 60.0
    volume[4:10, 6:13, 4:16] = -800.0 + draw.normal(0, 5)
    volume[10:13, 5:7, 1:26] = 600.0 + draw.normal(0, 20)
    return volume + draw.normal(0, 3, volume.shape)


AFFINE = np.array([[5.0, 0, 0, -60], [0, 6.0, 0, -60], [0, 0, 7.0, -90], [0, 0, 0, 1]])  # to right, front and head


def nifti(path: Path, seed: int) -> None:
    nibabel.save(nibabel.Nifti1Image(body(seed)[::-1].astype(np.float32), AFFINE), path)


def dicom(folder: Path, seed: int, shuffled: bool = True, skip: int = -1) -> None:
    """The same body as slices whose names say nothing about their order."""
    folder.mkdir()
    volume = body(seed)[:, ::-1]  # x from right to left, y from front to back, z upwards: DICOM's own directions
    study, series = generate_uid(), generate_uid()
    for place in range(volume.shape[2]):
        if place == skip:
            continue
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        item.StudyInstanceUID, item.SeriesInstanceUID, item.Modality, item.PatientID = study, series, "CT", str(seed)
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [-60.0, -54.0, -90.0 + 7.0 * place]
        item.PixelSpacing, item.SliceThickness = [6.0, 5.0], 7.0
        item.RescaleSlope, item.RescaleIntercept = 0.5, -1024
        values = np.round((volume[:, :, place].T + 1024) / 0.5).clip(0, 65535).astype(np.uint16)
        item.Rows, item.Columns = values.shape
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 0, 1
        item.PhotometricInterpretation, item.PixelData = "MONOCHROME2", values.tobytes()
        name = (place * 11) % 28 if shuffled else place
        item.save_as(folder / f"{name:03d}", enforce_file_format=True)
    (folder / "notes.txt").write_text("not DICOM")


@pytest.fixture
def folder(tmp_path):
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for seed in range(3):
        nifti(volumes / f"p{seed}.nii.gz", seed)
    dicom(volumes / "p3", 3)
    table = tmp_path / "split.csv"
    table.write_text("id,split\np0,train\np1,train\np3,valid\np2,test\n")
    return volumes, table


def test_nifti_and_dicom_of_one_body_are_one_volume(tmp_path):
    nifti(tmp_path / "a.nii.gz", 5)
    dicom(tmp_path / "b", 5)
    one, other = read_volume(tmp_path / "a.nii.gz"), read_volume(tmp_path / "b")
    assert one.spacing_mm == other.spacing_mm == (7.0, 6.0, 5.0)
    torch.testing.assert_close(one.hu, other.hu, rtol=0, atol=0.51)
    assert float(other.hu[14, 10, 6]) < -700  # the right lung is on the right: small W
    assert float(other.hu[14, 14, 11]) > 400  # the spine behind: large H
    assert float(other.hu[:4, :, 4].max()) < -900  # the head above is narrower: small D


def test_slices_that_form_no_volume_are_refused(tmp_path):
    dicom(tmp_path / "gap", 0, skip=10)
    with pytest.raises(InputError, match="mm apart"):
        read_series(tmp_path / "gap")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="0 DICOM series"):
        read_series(tmp_path / "empty")
    dicom(tmp_path / "two", 1)
    dicom(tmp_path / "other", 2)
    moved = next((tmp_path / "other").glob("0*"))
    moved.rename(tmp_path / "two" / "x")
    with pytest.raises(InputError, match="2 DICOM series"):
        read_series(tmp_path / "two")
    oblique = pydicom.dcmread(tmp_path / "two" / "x")
    assert oblique.Modality == "CT"


def test_a_folder_is_split_as_its_table_says(folder):
    volumes, table = folder
    train, val = load_folder(volumes, table, 12, 10, 10)
    assert train.ids == ("p0", "p1")
    assert val.ids == ("p3",)
    assert train.hu.shape == (2, 1, 12, 12, 12)
    assert train.spacing_mm == pytest.approx((28 * 7 / 12, 20 * 6 / 12, 24 * 5 / 12))
    as_is, mirrored = ((train.hu - other).abs().mean() for other in (val.hu, val.hu.flip(4)))
    assert float(as_is) < 0.1 * float(mirrored)  # NIfTI or DICOM, they lie the same way round


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,split\np0,train\np9,valid\n", "names p9, which is not in"),
        ("id,split\np0,train\np0,valid\np1,valid\n", "p0 in train and in valid"),
        ("name,part\np0,train\n", "the columns name, part"),
        ("id,split\np0,train\n", "no patient of the split 'val'"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(folder, text, message):
    volumes, table = folder
    table.write_text(text)
    with pytest.raises(InputError, match=message):
        load_folder(volumes, table, 8, 10, 10)


def test_a_scan_that_ends_is_continued_by_air_and_lengths_stay_lengths():
    ct = CT(torch.full((20, 10, 10), 40.0), (5.0, 10.0, 10.0), np.eye(4))
    grid = on_grid(ct, (200.0, 200.0, 200.0), 20)
    inside = grid > -400
    assert inside.any(dim=2).any(dim=1).sum() == pytest.approx(10, abs=1)  # 100 mm of voxels of 10 mm
    assert float(grid[0, 0, 0]) == -1000.0
    assert float(grid[10, 10, 10]) == pytest.approx(40.0, abs=0.5)


def options(folder, tmp_path, **more) -> DataOptions:
    volumes, table = folder
    return DataOptions(
        source="folder",
        size=16,
        train=9,
        val=9,
        cache=str(tmp_path / "cache"),
        folder=str(volumes),
        split=str(table),
        **more,
    )


def test_a_folder_trains_as_any_source_and_follows_its_files(folder, tmp_path):
    first = prepare(options(folder, tmp_path))
    assert len(first.train) == 2
    assert torch.equal(prepare(options(folder, tmp_path)).train.patients.hu, first.train.patients.hu)
    nifti(folder[0] / "p0.nii.gz", 9)
    assert not torch.equal(prepare(options(folder, tmp_path)).train.patients.hu, first.train.patients.hu)
    with pytest.raises(InputError, match="together with a folder"):
        DataOptions(source="folder")


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_given_radiographs_are_read_and_compared_with_the_ct(folder, tmp_path, suffix):
    from PIL import Image

    rendered = prepare(options(folder, tmp_path))
    given, scale = tmp_path / "given", 1e-3
    given.mkdir()

    def write(name: str, image: torch.Tensor) -> None:
        if suffix == ".npy":
            np.save(given / f"{name}.npy", image.numpy())
        else:
            Image.fromarray((image / scale).round().clamp(0, 65535).numpy().astype(np.uint16)).save(
                given / f"{name}.png"
            )

    for part in (rendered.train, rendered.val):
        for index, name in enumerate(part.patients.ids):
            for view in VIEWS:
                write(f"{name}_{view}", from_network(part.radiographs[view][index, 0]).clamp_min(0))
    mine = prepare(options(folder, tmp_path, radiographs=str(given), radiograph_scale=scale))
    for view in VIEWS:
        torch.testing.assert_close(mine.train.radiographs[view], rendered.train.radiographs[view], rtol=0, atol=1e-3)
    image = from_network(rendered.train.radiographs["frontal"][1, 0]).clamp_min(0)
    write("p1_frontal", image.flip(1))
    with pytest.raises(
        InputError, match=r"p1: the frontal radiograph fits its CT better as frontal mirrored left to right"
    ):
        prepare(options(folder, tmp_path, radiographs=str(given), radiograph_scale=scale))
    (given / f"p1_frontal{suffix}").unlink()
    with pytest.raises(InputError, match="no files for p1_frontal"):
        prepare(options(folder, tmp_path, radiographs=str(given), radiograph_scale=scale))


def test_exchanged_and_foreign_radiographs_are_named(folder, tmp_path):
    data = prepare(options(folder, tmp_path)).train
    images = {view: from_network(image) for view, image in data.radiographs.items()}
    verify_views(images, images, data.patients.ids)
    with pytest.raises(InputError, match="the lateral view"):
        verify_views({"frontal": images["lateral"], "lateral": images["frontal"]}, images, data.patients.ids)
    noise = {view: torch.rand_like(image) for view, image in images.items()}
    with pytest.raises(InputError, match="correlat"):
        verify_views(noise, images, data.patients.ids)


def test_windows_say_what_they_destroy():
    assert destroyed(WINDOWS["full"]) == {"lung": 0, "fat": 0, "soft tissue": 0, "bone": 0}
    narrow = destroyed(WINDOWS["soft tissue"])
    assert narrow["lung"] == narrow["bone"] == 1
    assert narrow["soft tissue"] == 0
    hu = torch.linspace(200, 1000, 801)  # against what the window does: distinct values that are left of bone
    left = len(WINDOWS["bone"].encode(hu).unique()) / 801
    assert 1 - destroyed(WINDOWS["bone"])["bone"] == pytest.approx(left, abs=0.01)
    assert all(name in windows_table() for name in WINDOWS)
    with pytest.raises(InputError, match="kept"):
        named_window("brain")
