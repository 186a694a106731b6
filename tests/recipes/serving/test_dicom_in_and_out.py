"""DICOM in and out: what lies at some millimetres lies there for SimpleITK, an independent reader, as well."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pydicom
import pytest

import untrained
from dicom_phantom import GEOMETRIES, marker, place, series, values
from traindx.cli.app import run
from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.kit import dicom_ct, dicom_series
from traindx.recipes.segmentation.volumes import list_volumes, read_volume

SHAPE = (20, 24, 30)  # slices, rows, columns
DIRECTIONS = {"R": (1, 0, 0), "A": (0, 1, 0), "S": (0, 0, 1), "L": (-1, 0, 0), "P": (0, -1, 0), "I": (0, 0, -1)}
TO_LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def sitk():
    return pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: there is no independent reader")


def read_by_itk(sitk, folder):
    """Values ``(slices, rows, columns)`` and the image, by GDCM's own ordering of the slices."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    return sitk.GetArrayFromImage(image), image


def brightest(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(array)), array.shape))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_series_lies_where_the_standard_and_simpleitk_say(name, tmp_path, sitk):
    geometry = GEOMETRIES[name]
    folder = series(tmp_path / "series", values(SHAPE), geometry)
    volume = read_volume(folder)
    found = brightest(volume.array[0])  # column, row, slice
    mm = (volume.affine @ [*found, 1])[:3] * TO_LPS
    np.testing.assert_allclose(mm, place(marker(SHAPE), geometry), atol=0.01)
    array, image = read_by_itk(sitk, folder)
    np.testing.assert_allclose(mm, image.TransformIndexToPhysicalPoint(brightest(array)[::-1]), atol=0.01)
    np.testing.assert_allclose(volume.array[0].transpose(2, 1, 0), array, atol=1e-3)
    np.testing.assert_allclose(volume.array[0].transpose(2, 1, 0), values(SHAPE), atol=0.26)  # half a stored step
    assert volume.spacing == pytest.approx((geometry["spacing"][1], geometry["spacing"][0], geometry["step"]), rel=1e-3)


def test_series_are_found_beside_other_volumes(tmp_path):
    series(tmp_path / "b", values(SHAPE), GEOMETRIES["upright"])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "c").mkdir()
    assert [path.name for path in list_volumes(tmp_path)] == ["a.nii.gz", "b"]


def test_slices_that_are_no_upright_grid_are_refused(tmp_path):
    volume, geometry = values(SHAPE), GEOMETRIES["upright"]
    with pytest.raises(InputError, match="the gantry was tilted"):
        dicom_series.read(series(tmp_path / "tilted", volume, geometry, tilt=0.6))
    with pytest.raises(InputError, match="mm apart"):
        dicom_series.read(series(tmp_path / "gap", volume, geometry, skip=7))
    first, second = (series(tmp_path / name, volume, geometry) for name in ("one", "two"))
    (second / "005").rename(first / "other")
    with pytest.raises(InputError, match="2 DICOM series") as refused:
        dicom_series.read(first)
    assert "a folder of its own" in str(refused.value)


def test_a_series_and_its_nifti_by_simpleitk_get_one_mask(tmp_path, sitk):
    """Conversion by another program and our reading of the series are the same volume to the network."""
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt", schemes=(untrained.CT,), spacing=(0.8, 1.1, 1.75))
    folder = series(tmp_path / "series", values(SHAPE), GEOMETRIES["oblique"])
    _, image = read_by_itk(sitk, folder)
    sitk.WriteImage(image, str(tmp_path / "converted.nii.gz"))
    out = tmp_path / "out"
    arguments = [str(folder), str(tmp_path / "converted.nii.gz"), f"--checkpoint={checkpoint}", f"--out={out}"]
    assert registry()["segmentation"].predict(arguments) == 0
    ours, theirs = nibabel.load(out / "series.nii.gz"), nibabel.load(out / "converted.nii.gz")
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=0.01)
    mask = np.asarray(ours.dataobj)
    assert len(np.unique(mask)) > 1
    assert (mask != np.asarray(theirs.dataobj)).mean() < 1e-3


def points_of(segmentation: pydicom.Dataset, number: int) -> set[tuple[float, ...]]:
    """Millimetres (LPS) of every voxel of a segment, from the functional groups alone."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    frames = (
        np.atleast_3d(segmentation.pixel_array) if segmentation.NumberOfFrames > 1 else segmentation.pixel_array[None]
    )
    found = set()
    for frame, own in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        if own.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        measures = (own if "PixelMeasuresSequence" in own else shared).PixelMeasuresSequence[0]
        turned = (own if "PlaneOrientationSequence" in own else shared).PlaneOrientationSequence[0]
        geometry = {
            "orientation": [float(v) for v in turned.ImageOrientationPatient],
            "spacing": [float(v) for v in measures.PixelSpacing],
            "origin": [float(v) for v in own.PlanePositionSequence[0].ImagePositionPatient],
            "step": 0.0,
        }
        found |= {
            tuple(np.round(place((0, int(row), int(column)), geometry), 1)) for row, column in np.argwhere(frame > 0)
        }
    return found


def near(first: set[tuple[float, ...]], second: set[tuple[float, ...]]) -> bool:
    a, b = (np.array(sorted(points)) for points in (first, second))
    if len(a) != len(b):
        return False
    return bool(
        np.abs(a.mean(axis=0) - b.mean(axis=0)).max() < 0.05 and np.abs(a.std(axis=0) - b.std(axis=0)).max() < 0.05
    )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_dicom_segmentation_marks_what_simpleitk_sees_there(name, tmp_path, sitk):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    from traindx.recipes.segmentation import dicom_seg

    folder = series(tmp_path / "series", values(SHAPE), GEOMETRIES[name])
    read = dicom_series.read(folder)
    classes = (read.values > 1000).astype(np.uint8) * 2
    dicom_seg.write(tmp_path / "seg.dcm", classes, ("liver", "marker"), read)
    made = pydicom.dcmread(tmp_path / "seg.dcm")
    array, image = read_by_itk(sitk, folder)
    wanted = image.TransformIndexToPhysicalPoint(brightest(array)[::-1])
    (point,) = points_of(made, 2)
    np.testing.assert_allclose(point, wanted, atol=0.06)
    assert points_of(made, 1) == set()


def test_predict_writes_a_segmentation_beside_the_mask(tmp_path):
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt", schemes=(untrained.CT,), spacing=(0.7, 0.9, 2.5))
    folder = series(tmp_path / "series", values(SHAPE), GEOMETRIES["upright"])
    codes = tmp_path / "codes.json"
    codes.write_text(json.dumps({"liver": ["10200004", "SCT", "Liver"]}))
    arguments = [str(folder), f"--checkpoint={checkpoint}", f"--out={tmp_path}", "--dicom-seg"]
    assert registry()["segmentation"].predict([*arguments, f"--segment-codes={codes}"]) == 0
    made, source = pydicom.dcmread(tmp_path / "series_seg.dcm"), dicom_series.header_of(folder)
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[name].value == source[name].value, name
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.Modality == "SEG"
    assert [str(one.SegmentLabel) for one in made.SegmentSequence] == ["liver", "lesion"]
    types = [one.SegmentedPropertyTypeCodeSequence[0] for one in made.SegmentSequence]
    assert [(str(one.CodeValue), str(one.CodeMeaning)) for one in types] == [
        ("10200004", "Liver"),
        ("123037004", "Anatomical structure"),
    ]
    mask = nibabel.load(tmp_path / "series.nii.gz")
    for number, value in ((1, 3), (2, 7)):
        index = np.argwhere(np.asarray(mask.dataobj) == value)
        wanted = nibabel.affines.apply_affine(mask.affine, index) * TO_LPS
        assert len(wanted) > 10
        assert near(points_of(made, number), {tuple(np.round(point, 1)) for point in wanted})


def test_what_cannot_be_a_segmentation_is_said(tmp_path, capsys, monkeypatch):
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt")
    image = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 16), np.int16), np.eye(4)), image)
    common = [str(image), f"--checkpoint={checkpoint}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(UsageError, match="without --dicom-seg"):
        registry()["segmentation"].predict([*common, "--segment-codes=codes.json"])
    import traindx.extras

    with monkeypatch.context() as missing:
        missing.setattr(traindx.extras, "find_spec", lambda name: None if name == "highdicom" else object())
        assert run(["predict", "segmentation", *common, "--dicom-seg"]) == 2
    assert "pip install 'traindx[dicom]'" in capsys.readouterr().err
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    assert registry()["segmentation"].predict([*common, "--dicom-seg"]) == 2
    assert "is no DICOM series" in capsys.readouterr().out


@pytest.mark.parametrize("axes", ["IPL", "SPL", "RAS", "oblique"])
def test_a_ct_series_lies_where_simpleitk_reads_it(axes, tmp_path, sitk):
    hu = values(SHAPE)
    hu[0, 5, 5] = -1350.0  # below the usual intercept
    affine = np.eye(4)
    if axes == "oblique":
        row, column = (np.array(GEOMETRIES["oblique"]["orientation"])[part] for part in (slice(3), slice(3, 6)))
        affine[:3, :3] = np.stack([-2.5 * np.cross(row, column), 1.1 * column, 0.8 * row], axis=1)
    else:
        affine[:3, :3] = np.stack([DIRECTIONS[code] for code in axes], axis=1) * [2.5, 1.1, 0.8]
    affine[:3, 3] = (17.0, -33.5, 250.25)
    folder = tmp_path / "ct"
    made = dicom_ct.write(folder, hu, affine, description="d", derivation="e")
    assert len(made) == SHAPE[0]
    array, image = read_by_itk(sitk, folder)
    assert array.shape[1:] == SHAPE[1:]
    for target in (marker(SHAPE), (0, 5, 5), (0, 0, 0), tuple(n - 1 for n in SHAPE)):
        mm = (affine @ [*target, 1])[:3] * TO_LPS
        index = image.TransformPhysicalPointToIndex(mm.tolist())
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), mm, atol=0.01)
        assert array[index[::-1]] == pytest.approx(hu[target])
    slices = [pydicom.dcmread(path) for path in made]
    assert len({item.SeriesInstanceUID for item in slices}) == 1
    assert len({item.FrameOfReferenceUID for item in slices}) == 1
    assert len({item.SOPInstanceUID for item in slices}) == SHAPE[0]
    assert {(float(item.RescaleSlope), float(item.RescaleIntercept)) for item in slices} == {(1.0, -1350.0)}
    assert [int(item.InstanceNumber) for item in slices] == list(range(1, SHAPE[0] + 1))
    assert "DERIVED" in slices[0].ImageType
    with pytest.raises(InputError, match="holds files already"):
        dicom_ct.write(folder, hu, affine, description="d", derivation="e")
    affine[:3, 1] += 0.3 * affine[:3, 2]
    with pytest.raises(InputError, match="right angles"):
        dicom_ct.write(tmp_path / "sheared", hu, affine, description="d", derivation="e")


def test_a_ct_from_radiographs_is_the_same_in_dicom_and_nifti(tmp_path, sitk):
    checkpoint = untrained.xray2ct(tmp_path / "model.ckpt")
    for view in ("frontal", "lateral"):
        np.save(tmp_path / f"{view}.npy", np.random.default_rng(2).uniform(0, 4, untrained.GEOMETRY.pixels))
    views = [f"--{view}={tmp_path / view}.npy" for view in ("frontal", "lateral")]
    out = tmp_path / "out"
    arguments = [f"--checkpoint={checkpoint}", *views, f"--out={out}", "--sampling-steps=2", "--dicom"]
    assert registry()["xray2ct"].predict(arguments) == 0
    nifti = nibabel.load(out / "frontal_predicted.nii.gz")
    array, image = read_by_itk(sitk, out / "frontal_predicted_dicom")
    stored = np.asarray(nifti.dataobj)
    assert image.GetSpacing() == pytest.approx((32.0, 36.0, 40.0))
    for index in np.ndindex(stored.shape):
        mm = (nifti.affine @ [*index, 1])[:3] * TO_LPS
        assert array[image.TransformPhysicalPointToIndex(mm.tolist())[::-1]] == stored[index]
    assert image.GetDirection() == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_a_ct_of_a_series_lies_over_it_in_its_frame_of_reference(tmp_path, sitk):
    checkpoint = untrained.cascade(tmp_path / "model.ckpt", "regression")
    geometry = {**GEOMETRIES["upright"], "spacing": (9.0, 7.0), "step": 12.0}
    folder = series(tmp_path / "series", values(SHAPE), geometry)
    arguments = [f"--checkpoint={checkpoint}", f"--ct={folder}", f"--out={tmp_path / 'out'}", "--dicom"]
    assert registry()["xray2ct_regression"].predict(arguments) == 0
    made = tmp_path / "out" / "series_predicted_dicom"
    own, source = dicom_series.header_of(made), dicom_series.header_of(folder)
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert own[name].value == source[name].value
    assert own.SeriesInstanceUID != source.SeriesInstanceUID
    assert "SYNTHETIC" in own.SeriesDescription
    corners = []
    for place_of in (made, folder):
        _, image = read_by_itk(sitk, place_of)
        size = np.array(image.GetSize())
        ends = [image.TransformContinuousIndexToPhysicalPoint(end.tolist()) for end in (-0.5 + 0 * size, size - 0.5)]
        corners.append(np.sort(np.array(ends), axis=0))
    np.testing.assert_allclose(corners[0], corners[1], atol=0.01)  # the same field of view
