"""Where studies come from: NIfTI on one grid or two, masks by name, splits by patient."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from traindx.errors import InputError
from traindx.recipes.fusion import studies
from traindx.recipes.fusion.phantom import phantom


def save(path, volume, affine):
    """A (D, H, W) array as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(volume, dtype=np.float32).transpose(2, 1, 0), affine), path)


@pytest.fixture
def folder(tmp_path):
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = [5, -7, 11]
    for number in range(4):
        hu, mr, lesion = phantom(number)
        save(tmp_path / f"p{number}" / "ct.nii.gz", hu, affine)
        save(tmp_path / f"p{number}" / "mri.nii.gz", mr, affine)
        save(tmp_path / f"p{number}" / "tumour_mask.nii.gz", lesion, affine)
    return tmp_path


def test_a_folder_gives_back_what_was_written(folder):
    study = studies.from_folder(folder / "p1")
    hu, mr, lesion = phantom(1)
    assert np.allclose(study.hu, hu)
    assert np.allclose(study.mr, mr)
    assert np.array_equal(study.lesion, lesion)
    assert study.affine[0, 3] == 5


def test_mr_on_another_grid_is_brought_onto_that_of_ct(folder):
    """The same physical volume, stored twice as coarse and reversed along two axes."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in (12, 72, 72)), indexing="ij")
    smooth = 100 + x + 2 * y + 3 * z
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = [5, -7, 11]
    coarse = smooth[:, ::-2, ::-2]
    own = affine @ np.array([[-2.0, 0, 0, 71], [0, -2, 0, 71], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(folder / "p0" / "mri.nii.gz", coarse, own)
    moved = studies.from_folder(folder / "p0").mr
    assert np.allclose(moved[:, 2:-2, 2:-2], smooth[:, 2:-2, 2:-2], atol=1e-2)


def test_bone_and_brain_masks_are_told_from_lesions(folder):
    hu, _, lesion = phantom(2)
    affine = nibabel.load(folder / "p2" / "ct.nii.gz").affine
    save(folder / "p2" / "bone_mask.nii.gz", hu > 300, affine)
    save(folder / "p2" / "brain_mask.nii.gz", hu > -300, affine)
    study = studies.from_folder(folder / "p2")
    assert np.array_equal(study.bone, hu > 300)
    assert np.array_equal(study.body, hu > -300)
    assert np.array_equal(study.lesion, lesion)


def test_splits_are_by_patient_seeded_and_can_be_stated(folder):
    names = studies.names("folder", folder)
    assert names == ["p0", "p1", "p2", "p3"]
    split = studies.split(names, folder, seed=1)
    assert split == studies.split(names, folder, seed=1)
    assert set(split.train) | set(split.val) == set(names)
    assert not set(split.train) & set(split.val)
    (folder / "split.json").write_text(json.dumps({"train": ["p0", "p1"], "val": ["p3"]}))
    assert studies.split(names, folder, seed=1).val == ("p3",)
    (folder / "split.json").write_text(json.dumps({"train": ["p0"], "val": ["p0"]}))
    with pytest.raises(InputError, match="two parts"):
        studies.split(names, folder, seed=1)


def test_what_cannot_be_used_is_refused_in_words(folder, tmp_path_factory, monkeypatch):
    hu, _, _ = phantom(0)
    save(folder / "p0" / "ct.nii.gz", np.clip(hu, 0, 255), np.diag([2.0, 2.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="Hounsfield"):
        studies.from_folder(folder / "p0")
    (folder / "p1" / "mri.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        studies.from_folder(folder / "p1")
    (folder / "p2" / "mri.nii.gz").unlink()
    with pytest.raises(InputError, match="lacks MR"):
        studies.from_folder(folder / "p2")
    with pytest.raises(InputError, match="holds no study"):
        studies.names("folder", tmp_path_factory.mktemp("empty"))
    monkeypatch.delenv("TRAINDX_DATA", raising=False)
    with pytest.raises(InputError, match="needs data"):
        studies.resolve("sts", None)
    assert studies.resolve("auto", None) == ("phantom", None)


def test_a_phantom_is_a_patient_that_two_modalities_disagree_on():
    hu, mr, lesion = phantom(0)
    other, _, _ = phantom(1)
    again, _, _ = phantom(0)
    assert np.array_equal(hu, again)
    assert not np.array_equal(hu, other)
    bone, soft = hu > 600, (hu > 0) & (hu < 100)
    assert mr[bone].mean() < 0.5 * mr[soft].mean()  # cortex is dark in MR and bright in CT
    around = soft & ~lesion
    in_ct = abs(hu[lesion].mean() - hu[around].mean()) / 1500
    in_mr = abs(mr[lesion].mean() - mr[around].mean()) / 900
    assert in_mr > 3 * in_ct  # CT barely shows the lesion


def test_the_collection_is_read_with_its_units(data_root):
    root = data_root / studies.COLLECTION
    names = studies.names("sts", root)
    study = next(iter(studies.load("sts", root, names[:1])))
    assert -1100 < study.hu.min() < -800
    assert 500 < study.hu.max() < 4000
    assert study.lesion.any()
    spacing = np.load(root / "volumes" / f"{names[0]}.npz")["spacing"]
    assert np.allclose(np.diag(study.affine)[:3], spacing[::-1])
    split = studies.split(names, root, seed=0)
    assert len(split.val) == 10
    assert len(names) == len(set(split.train) | set(split.val))
