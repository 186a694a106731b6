"""Small data sets on disk, made of phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from traindx.recipes.segmentation.phantom import phantom


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms as NIfTI with a label table in which 2 is not labelled."""
    root = tmp_path_factory.mktemp("phantoms")
    (root / "imagesTr").mkdir()
    (root / "labelsTr").mkdir()
    for seed in range(12):
        raw = phantom(seed, shape=(18, 20, 17), unlabelled=0.3)
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        nib.save(nib.Nifti1Image(raw.image[0], affine), root / "imagesTr" / f"p{seed:02}.nii.gz")
        nib.save(nib.Nifti1Image(raw.label, affine), root / "labelsTr" / f"p{seed:02}.nii.gz")
    table = {"labels": {"background": 0, "organ": 1, "ignore": 2}}
    (root / "dataset.json").write_text(json.dumps(table))
    return root
