"""A folder as nnU-Net has it, with a file for each channel, through training data, prediction and evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import untrained
from traindx.errors import InputError
from traindx.recipes import registry
from traindx.recipes.segmentation.channels import of_prediction, of_training
from traindx.recipes.segmentation.data import SegmentationData
from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.phantom import phantom
from traindx.recipes.segmentation.sources import folder_labels, list_cases

TABLE = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "ignore": 2},
    "numTraining": 6,
    "file_ending": ".nii.gz",
}


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


@pytest.fixture
def root(tmp_path) -> Path:
    """Six training and two test cases of two channels; the second is the first turned upside down."""
    folder = tmp_path / "Dataset042_Made"
    folder.mkdir()
    for seed in range(8):
        raw = phantom(seed, shape=(18, 20, 17), unlabelled=0.3)
        part = "Tr" if seed < 6 else "Ts"
        for channel, sign in ((0, 1), (1, -1)):
            save(folder / f"images{part}" / f"made_{seed:03d}_{channel:04d}.nii.gz", sign * raw.image[0])
        if seed < 6:
            save(folder / "labelsTr" / f"made_{seed:03d}.nii.gz", raw.label)
    (folder / "dataset.json").write_text(json.dumps(TABLE))
    return folder


def test_each_case_has_its_channels_in_their_order(root):
    cases, lonely, labels = list_cases(root)
    assert [case.name for case in cases] == [f"made_{seed:03d}" for seed in range(6)]
    assert not lonely
    assert LabelMeaning.parse(labels).ignore == (2,)
    raw = cases[3].read()
    assert raw.image.shape == (2, 18, 20, 17)
    np.testing.assert_array_equal(raw.image[0], -raw.image[1])
    np.testing.assert_array_equal(raw.image[0], phantom(3, shape=(18, 20, 17), unlabelled=0.3).image[0])
    assert raw.label.shape == (18, 20, 17)


def test_training_data_are_planned_for_all_channels(root):
    data = SegmentationData(str(root), holdout=0.0, folds=3)
    assert data.plan.channels == 2
    assert len(data.plan.normalisation) == 2
    assert data.plan.labels.names == ("organ",)


def test_predict_takes_the_folder_and_names_masks_as_nnunet_does(root, tmp_path, capsys):
    checkpoint = untrained.segmentation(tmp_path / "model.ckpt", schemes=(untrained.ZSCORE, untrained.ZSCORE))
    for given, out in ((root, tmp_path / "whole"), (root / "imagesTs", tmp_path / "images")):
        assert registry()["segmentation"].predict([str(given), f"--checkpoint={checkpoint}", f"--out={out}"]) == 0
        assert sorted(path.name for path in out.iterdir()) == ["made_006.nii.gz", "made_007.nii.gz"]
    masks = [np.asarray(nibabel.load(tmp_path / out / "made_006.nii.gz").dataobj) for out in ("whole", "images")]
    np.testing.assert_array_equal(*masks)
    stacked = np.stack([nibabel.load(root / "imagesTs" / f"made_006_000{c}.nii.gz").dataobj for c in (0, 1)], axis=-1)
    save(tmp_path / "one.nii.gz", np.asarray(stacked))  # the same case as one file of two channels
    one = [str(tmp_path / "one.nii.gz"), f"--checkpoint={checkpoint}", f"--out={tmp_path / 'one'}"]
    assert registry()["segmentation"].predict(one) == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "one" / "one.nii.gz").dataobj), masks[0])
    (root / "imagesTs" / "made_007_0001.nii.gz").unlink()
    capsys.readouterr()
    arguments = [str(root / "imagesTs"), f"--checkpoint={checkpoint}", f"--out={tmp_path / 'less'}"]
    assert registry()["segmentation"].predict(arguments) == 2
    assert "made_007: channel 0001 is missing" in capsys.readouterr().out


def test_what_is_missing_or_elsewhere_is_named_and_left_out(root):
    (root / "imagesTr" / "made_001_0001.nii.gz").unlink()
    save(root / "imagesTr" / "made_002_0002.nii.gz", np.zeros((18, 20, 17)))
    moved = root / "imagesTr" / "made_004_0001.nii.gz"
    affine = np.eye(4)
    affine[0, 3] = 2.0
    save(moved, np.asarray(nibabel.load(moved).dataobj), affine)
    cases, lonely, _ = list_cases(root)
    reasons = {one.name: one.reason for one in lonely}
    assert reasons == {"made_001": "channel 0001 is missing", "made_002": "channel 0002 is one too many"}
    with pytest.raises(InputError, match=r"lies 2\.00 mm away from made_004_0000"):
        next(case for case in cases if case.name == "made_004").read()


def test_four_digits_are_a_channel_only_where_something_says_so():
    paths = [Path(f"scan_{number:04d}.nii.gz") for number in range(3)]
    labelled = of_training(paths, {"scan_0000", "scan_0001", "scan_0002"})
    assert [len(one.paths) for one in labelled.values()] == [1, 1, 1]
    assert set(labelled) == {"scan_0000", "scan_0001", "scan_0002"}
    assert len(of_training(paths, {"scan"})["scan"].paths) == 3
    assert [one.name for one in of_prediction(paths, 1)] == ["scan_0000", "scan_0001", "scan_0002"]
    assert [one.name for one in of_prediction(paths, 3)] == ["scan"]
    single = [Path(f"{name}_0000.nii.gz") for name in ("a", "b")]
    assert [one.name for one in of_prediction(single, 1)] == ["a", "b"]
    assert [one.name for one in of_prediction([*single, Path("c.nii.gz")], 1)] == ["a_0000", "b_0000", "c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}, "regions"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "regions"),
        ({"file_ending": ".mha"}, "files end in .mha"),
        ({"labels": None}, "no readable 'labels'"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(root, change, message):
    (root / "dataset.json").write_text(json.dumps({**TABLE, **change}))
    with pytest.raises(InputError, match=message):
        folder_labels(root)
