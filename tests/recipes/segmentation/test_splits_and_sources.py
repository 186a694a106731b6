from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.segmentation.sources import CaseRef, folder_cases, list_cases, openkbp_cases, sarcoma_cases
from traindx.recipes.segmentation.splits import split_cases


def refs(names: list[tuple[str, str]]) -> list[CaseRef]:
    return [CaseRef(name, patient, lambda: None) for name, patient in names]  # type: ignore[arg-type,return-value]


@settings(max_examples=40, deadline=None)
@given(st.integers(12, 60), st.integers(2, 5), st.integers(0, 5), st.floats(0, 0.4))
def test_no_patient_is_in_two_parts_and_every_rest_is_validated_once(
    patients: int, folds: int, seed: int, holdout: float
) -> None:
    cases = refs([(f"p{p}_{visit}", f"p{p}") for p in range(patients) for visit in range(1 + p % 3)])
    of = {case.name: case.patient for case in cases}
    validated: list[str] = []
    tests = set()
    for fold in range(folds):
        split = split_cases(cases, fold=fold, folds=folds, holdout=holdout, seed=seed)
        parts = [{of[name] for name in part} for part in (split.train, split.val, split.test)]
        assert len(set.union(*parts)) == sum(len(part) for part in parts)
        assert len(split.train) + len(split.val) + len(split.test) == len(cases)
        validated += sorted(parts[1])
        tests.add(split.test)
    assert len(tests) == 1  # the hold-out is the same for every fold
    assert sorted(validated) == sorted(set(of.values()) - parts[2])


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(InputError, match="folds"):
        split_cases(refs([("a", "a"), ("b", "b")]), folds=5)
    with pytest.raises(InputError, match="no fold 7"):
        split_cases(refs([("a", "a")] * 9), fold=7, folds=5)


def test_a_folder_lists_pairs_and_names_the_lonely(tmp_path: Path) -> None:
    for kind, names in (("images", ["a", "b", "c"]), ("labels", ["a", "b", "d"])):
        (tmp_path / kind).mkdir()
        for name in names:
            nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), tmp_path / kind / f"{name}.nii.gz")
    cases, lonely = folder_cases(tmp_path)
    assert [case.name for case in cases] == ["a", "b"]
    assert {(one.name, one.reason) for one in lonely} == {("c", "image without label"), ("d", "label without image")}


@pytest.mark.parametrize("wrong", ["shape", "affine"])
def test_a_label_on_another_grid_is_refused(tmp_path: Path, wrong: str) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "images" / "a.nii")
    shape = (4, 4, 5) if wrong == "shape" else (4, 4, 4)
    affine = np.diag([1, 1, 1.2, 1]) if wrong == "affine" else np.eye(4)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), affine), tmp_path / "labels" / "a.nii")
    with pytest.raises(InputError, match=r"has shape|mm away"):
        folder_cases(tmp_path)[0][0].read()


def test_an_unknown_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="imagesTr"):
        list_cases(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        list_cases(tmp_path / "nowhere")


@pytest.mark.data
def test_organs_that_were_not_contoured_are_unlabelled(data_root: Path) -> None:
    cases = openkbp_cases(data_root / "openkbp_ct")
    raws = [case.read() for case in cases[:40]]
    missing = [raw for raw in raws if raw.labelled is not None and "oesophagus" not in raw.labelled]
    assert missing
    for raw in raws:
        assert raw.image.shape == (1, 64, 64, 64)
        assert raw.label is not None
        assert ("oesophagus" in (raw.labelled or ())) == bool((raw.label == 5).any())


@pytest.mark.data
def test_sarcoma_volumes_have_three_channels_and_a_tumour(data_root: Path) -> None:
    raw = sarcoma_cases(data_root / "sts_ct_mr_pet")[0].read()
    assert raw.image.shape[0] == 3
    assert raw.label is not None
    assert set(np.unique(raw.label)) == {0, 1}
