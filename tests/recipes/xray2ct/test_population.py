"""The packaged patient, its copies, and files that cannot be used."""

from __future__ import annotations

import gzip
import itertools

import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from traindx.errors import InputError
from traindx.recipes.xray2ct.population import (
    AIR_HU,
    Variation,
    deformed_copies,
    low_passed,
    packaged_ct,
    read_ct,
    resized,
)
from traindx.recipes.xray2ct.sources import VALIDATION_FROM, load

STILL = Variation(scale=0, rotation_degrees=0, shift_mm=0, bend_mm=0, density=0)


def test_packaged_ct_is_a_chest_in_hounsfield_units():
    ct = packaged_ct()
    assert ct.hu.shape == (110, 120, 120)
    assert ct.spacing_mm == (3.0, 3.0, 3.0)
    assert float(ct.hu.min()) >= -1024  # no padding left in
    assert float(ct.hu.max()) > 700  # bone and contrast agent
    # superior first: the apices hold less lung than the slices through the heart
    lung = ((ct.hu < -600) & (ct.hu > -950)).float()[:, 40:90, 20:100].mean(dim=(1, 2))
    assert float(lung[40:60].mean()) > 2 * float(lung[95:].mean())
    # anterior first: the couch is behind the patient
    assert float((ct.hu[55, 100:] > -800).float().mean()) < float((ct.hu[55, 60:90] > -800).float().mean())


def test_a_ct_reads_the_same_whatever_way_it_is_stored(tmp_path):
    volume = np.random.default_rng(0).integers(-1000, 900, (4, 5, 6)).astype(np.int16)
    image = nibabel.Nifti1Image(volume, np.diag([2.0, 3.0, 4.0, 1.0]))
    nibabel.save(image, tmp_path / "plain.nii.gz")
    expected = read_ct(tmp_path / "plain.nii.gz")
    assert expected.spacing_mm == (4.0, 3.0, 2.0)
    for number, axes in enumerate(itertools.permutations(("RL", "AP", "SI"))):
        codes = tuple(axis[number % 2] for axis in axes)
        turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(codes)))
        nibabel.save(turned, tmp_path / f"{number}.nii.gz")
        found = read_ct(tmp_path / f"{number}.nii.gz")
        assert torch.equal(found.hu, expected.hu), codes
        np.testing.assert_allclose(found.affine, expected.affine)


def test_copies_are_reproducible_and_do_not_depend_on_their_number():
    few, spacing = deformed_copies(2, 16, seed=3)
    many, _ = deformed_copies(4, 16, seed=3)
    assert torch.equal(few, many[:2])
    later, _ = deformed_copies(1, 16, seed=3, first=3)
    assert torch.equal(later, many[3:])
    assert not torch.equal(deformed_copies(2, 16, seed=4)[0], few)
    assert spacing == pytest.approx((330 / 16, 360 / 16, 360 / 16))


def test_a_copy_without_variation_is_the_patient():
    copy, _ = deformed_copies(1, 24, seed=0, variation=STILL)
    plain = resized(packaged_ct().hu, 24)
    inside = (slice(2, -2),) * 3
    assert float((copy[0, 0][inside] - plain[inside]).abs().mean()) < 12  # two ways of interpolating
    assert float((copy[0, 0] - plain.flip(2)).abs().mean()) > 50


def test_beside_the_patient_is_air_and_above_it_the_body_goes_on():
    copy, _ = deformed_copies(1, 24, seed=0, variation=Variation(0, 0, 60.0, 0, density=0))
    assert float(copy.min()) >= AIR_HU - 30
    assert float((copy[0, 0, 0] > -300).float().mean()) > 0.1
    assert float((copy[0, 0, -1] > -300).float().mean()) > 0.1


def test_resampling_does_not_fold_noise_over():
    """White noise sampled at every fourth voxel keeps its standard deviation; low-passed, it loses it."""
    noise = torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(0))
    naive = noise[::4, ::4, ::4].std()
    assert float(resized(noise, 16).std()) < 0.2 * float(naive)
    assert float(low_passed(torch.full((16, 16, 16), 7.0), (2, 2, 2)).std()) < 1e-5


def test_validation_copies_are_never_training_copies():
    train, val = load("embedded", 8, seed=0, train=3, val=2)
    more, same = load("embedded", 8, seed=0, train=5, val=2)
    assert torch.equal(val.hu, same.hu)
    assert not set(more.ids) & set(val.ids)
    assert len(train) == 3
    assert val.ids[0].endswith(str(VALIDATION_FROM))


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 4, 4), np.int16), "Hounsfield"),
        (np.random.default_rng(0).integers(0, 255, (4, 4, 4)).astype(np.uint8), "Hounsfield"),
        (np.full((4, 4, 4, 2), -1000, np.int16), "three dimensions"),
        (np.full((4, 4, 4), np.nan, np.float32), "Hounsfield"),
    ],
)
def test_a_file_that_is_no_ct_is_refused(tmp_path, volume, message):
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(InputError, match=message):
        read_ct(tmp_path / "odd.nii.gz")


def test_a_damaged_file_is_refused_by_name(tmp_path):
    whole = gzip.compress(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)).to_bytes())
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii.gz").write_text("not an image")
    for name in ("cut.nii.gz", "text.nii.gz", "absent.nii.gz"):
        with pytest.raises(InputError, match=name):
            read_ct(tmp_path / name)


@pytest.mark.data
def test_openkbp_patients_have_the_documented_axes(data_root, monkeypatch):
    monkeypatch.setenv("TRAINDX_DATA", str(data_root))
    train, val = load("auto", 32, seed=0, train=4, val=100)
    assert len(train) == 4
    assert len(val) == 17
    assert not set(train.ids) & set(val.ids)
    # superior first: a head is narrower than shoulders
    width = (train.hu > -300).float().amax(dim=3).sum(dim=-1)[:, 0]  # (N, D)
    assert (width[:, 24:28].mean(dim=1) > 1.3 * width[:, 4:8].mean(dim=1)).all()


def test_missing_data_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("TRAINDX_DATA", raising=False)
    with pytest.raises(InputError, match="TRAINDX_DATA"):
        load("openkbp", 8, 0, 1, 1)
    monkeypatch.setenv("TRAINDX_DATA", str(tmp_path))
    with pytest.raises(InputError, match="does not exist"):
        load("auto", 8, 0, 1, 1)
