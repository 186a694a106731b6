"""train, predict and evaluate, on imaginary patients so small that a run takes seconds."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pytest
import torch

from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.fusion import contract, inference, module, red_flags, scores
from traindx.recipes.fusion.phantom import phantom
from traindx.recipes.fusion.studies import Study

TINY = [
    *("--data.source=phantom", "--data.size=32", "--data.val_size=32", "--data.train=3", "--data.val=2"),
    *("--data.slices=1", "--data.batch_size=2", "--data.epoch_steps=4", "--model.channels=8", "--model.head_steps=3"),
    *("--model.sampling_steps=2", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"),
    *("--trainer.accelerator=cpu", "--steps=10", "--threads=1"),
]


def train(out, *more: str) -> None:
    assert registry()["fusion"].train([f"--out={out}", *TINY, *more]) == 0


def losses(out) -> dict[int, str]:
    found = {}
    for path in sorted(out.glob("log/*/metrics.csv")):
        with path.open() as file:
            found.update({int(float(row["step"])): row["loss"] for row in csv.DictReader(file) if row["loss"]})
    return found


def weights(out) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "whole"
    train(out, "--roi-weights=stroke", "--model.beta=1.7")
    return out


def test_a_run_leaves_checkpoints_losses_ranges_and_panels(run):
    assert (run / "best.ckpt").exists()
    assert sorted(losses(run)) == list(range(10))
    told = (run / "red_flags.txt").read_text()
    assert all(f"  {name}: " in told for name in ("ct", "mr", "target", "fused"))
    assert list((run / "pictures").glob("epoch_*.png"))


def test_weights_come_from_the_preset_and_the_command_line(run):
    checkpoint = contract.read(run / "best.ckpt")
    assert checkpoint["roi_weights"] == {"alpha": 1.0, "beta": 1.7, "gamma": 3.0}
    assert contract.head_from(checkpoint) is not None


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(run, tmp_path, monkeypatch):
    out = tmp_path / "broken"
    step = module.Fusion.training_step

    def interrupted(self, batch, index):
        if self.global_step == 6:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(module.Fusion, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(out, "--roi-weights=stroke", "--model.beta=1.7")
    monkeypatch.undo()
    train(out, "--roi-weights=stroke", "--model.beta=1.7", "--resume")
    assert losses(out) == losses(run)
    mine, whole = weights(out), weights(run)
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


def test_what_contradicts_itself_is_refused(run, tmp_path):
    with pytest.raises(UsageError, match="holds a run already"):
        train(run)
    with pytest.raises(InputError, match="holds no run"):
        train(tmp_path, "--resume")
    with pytest.raises(InputError, match="'brain_dice'"):
        train(tmp_path, "--select=brain_dice")
    with pytest.raises(InputError, match="preset is 'joint' in the checkpoint and 'zscore' in this run"):
        train(run, "--resume", "--data.normalisation=zscore")
    with pytest.raises(SystemExit):  # a key that nothing reads
        train(tmp_path / "new", "--data.windowing=1")


@pytest.mark.parametrize("key", ["brain_ssim", "fusion_score"])
def test_every_selection_key_is_produced(run, key):
    assert scores.selected(key) == key
    logged = {name for path in run.glob("log/*/metrics.csv") for name in path.read_text().splitlines()[0].split(",")}
    assert {f"val_{name}" for name in (*scores.NAMES, "fusion_score")} <= logged


def test_evaluation_shows_every_figure_beside_every_baseline(run, capsys):
    arguments = [f"--checkpoint={run / 'best.ckpt'}", "--source=phantom", "--slices=1", "--sampling-steps=2"]
    assert registry()["fusion"].evaluate([*arguments, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert {"model", "average", "maximum", "weighted", "copy of CT", "copy of MR", "Laplacian pyramid"} <= set(table)
    assert all(set(row) == set(scores.NAMES) for row in table.values())
    assert table["copy of MR"]["brain_ssim"] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert table["copy of CT"]["bone_psnr"] == [60.0, 60.0]
    assert registry()["fusion"].evaluate(arguments) == 0
    printed = capsys.readouterr().out
    assert "2 patients, 2 slices" in printed
    assert "rank correlation" in printed


def test_patients_that_were_trained_on_are_not_evaluated(run):
    with pytest.raises(InputError, match="trained on"):
        registry()["fusion"].evaluate([f"--checkpoint={run / 'best.ckpt'}", "--source=phantom", "--cases=all"])


def save(path, volume, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.asarray(volume, dtype=np.float32).transpose(2, 1, 0), affine), path)


def test_prediction_is_on_the_grid_of_the_ct(run, tmp_path, capsys):
    hu, mr, _ = phantom(7, (3, 44, 37))  # sides that no U-Net can halve
    affine = np.array([[-1.5, 0, 0, 40], [0, 0, 3, -20], [0, 1.5, 0, 5], [0, 0, 0, 1.0]])
    save(tmp_path / "case" / "ct.nii.gz", hu, affine)
    save(tmp_path / "case" / "mri.nii.gz", mr, affine)
    arguments = [f"--checkpoint={run / 'best.ckpt'}", f"--out={tmp_path / 'out'}", "--sampling-steps=2"]
    registry()["fusion"].predict([*arguments, f"--case={tmp_path / 'case'}", "--samples=2"])
    assert "case_fused.png" in capsys.readouterr().out
    fused = nibabel.load(tmp_path / "out" / "case_fused.nii.gz")
    spread = nibabel.load(tmp_path / "out" / "case_uncertainty.nii.gz")
    assert fused.shape == spread.shape == (37, 44, 3)
    assert np.allclose(fused.affine, affine)
    values = np.asarray(fused.dataobj)
    assert 0 <= values.min() < values.max() <= 1
    assert np.asarray(spread.dataobj).mean() > 1e-4
    again = tmp_path / "again"
    registry()["fusion"].predict(
        [
            *(arguments[0], f"--out={again}", "--sampling-steps=2", f"--ct={tmp_path / 'case' / 'ct.nii.gz'}"),
            *(f"--mri={tmp_path / 'case' / 'mri.nii.gz'}", "--guidance=0.2", "--roi-weights=metastasis"),
        ]
    )
    assert (again / "ct_fused.nii.gz").exists()


def test_prediction_says_what_it_lacks(run, tmp_path):
    with pytest.raises(UsageError, match="not clear"):
        registry()["fusion"].predict([f"--checkpoint={run / 'best.ckpt'}"])
    with pytest.raises(InputError, match="holds no student"):
        inference.load(run / "best.ckpt", sampler="student")
    with pytest.raises(InputError, match="lacks CT"):
        registry()["fusion"].predict([f"--checkpoint={run / 'best.ckpt'}", f"--case={tmp_path}"])


def test_a_student_is_distilled_into_the_checkpoint(run, tmp_path, capsys, monkeypatch):
    import shutil

    monkeypatch.delenv("TRAINDX_DATA", raising=False)
    path = tmp_path / "best.ckpt"
    shutil.copy(run / "best.ckpt", path)
    registry()["fusion"].train([f"--distil={path}", "--steps=2", "--threads=1"])
    assert "distilled" in capsys.readouterr().out
    model = inference.load(path, sampler="student")
    hu, mr, lesion = phantom(30, (2, 32, 32))
    study = Study("p", hu, mr, lesion, np.eye(4))
    first, second = (inference.fuse_study(model, study)[0] for _ in range(2))
    assert torch.equal(first, second)  # one pass, without noise
    teacher = inference.load(path, sampling_steps=10)
    drawn, _, _ = inference.fuse_study(teacher, study, samples=4)
    assert float((first - drawn).abs().mean()) < 0.1


def test_a_turned_draw_is_turned_back():
    image = torch.rand(1, 1, 6, 6)
    for turn in range(inference.TURNS):
        assert torch.equal(inference._turned_back(inference._turned(image, turn), turn), image)
    assert len({tuple(inference._turned(image, turn).flatten().tolist()) for turn in range(8)}) == 8


def test_a_volume_is_fused_slice_by_slice_as_its_slices_are(run):
    hu, mr, lesion = phantom(9, (10, 32, 32))
    model = inference.load(run / "best.ckpt", sampling_steps=2)
    torch.manual_seed(0)
    whole, spread, prepared = inference.fuse_study(model, Study("p", hu, mr, lesion, np.eye(4)))
    assert whole.shape == spread.shape == prepared.fused.shape == hu.shape
    assert float(spread.max()) == 0  # one draw


def test_volumes_train_in_three_dimensions(tmp_path):
    train(tmp_path / "run", "--data.depth=16", "--data.size=16", "--data.val_size=16", "--steps=4")
    checkpoint = contract.read(tmp_path / "run" / "best.ckpt")
    assert checkpoint["contract"]["dims"] == 3


NOTHING_FOUND = {"ct": (-1.0, 1.0, 0.4), "mr": (-1.0, 0.8, 0.4), "target": (-1.0, 1.0, 0.4), "fused": (-1.1, 1.2, 0.4)}
GOOD = {"val_brain_ssim": 0.9, "val_bone_psnr": 30.0, "val_uncertainty": 0.01, "val_share_at_bounds": 0.0}


@pytest.mark.parametrize(
    ("figures", "seen", "epoch", "words"),
    [
        ({}, {}, 0, None),
        ({"val_bone_psnr": -4.5}, {}, 0, None),
        ({"val_bone_psnr": -4.5}, {}, 3, "CT is not used"),
        ({"val_brain_ssim": 0.0002}, {}, 3, "no structure"),
        ({"val_uncertainty": 0.0}, {}, 0, "exactly 0"),
        ({"val_share_at_bounds": 0.3}, {}, 0, "a clamp"),
        ({"loss": float("nan")}, {}, 0, "loss is nan"),
        ({}, {"ct": (0.01, 0.76, 0.1), "mr": (-1.88, 4.65, 1.0)}, 0, "far weaker"),
        ({}, {"fused": (0.5, 0.51, 0.001)}, 0, "constant output"),
    ],
)
def test_red_flags_rise_for_what_the_document_saw_and_for_nothing_else(figures, seen, epoch, words):
    found = red_flags.judge({**GOOD, **figures}, {**NOTHING_FOUND, **seen}, epoch)
    assert len(found) == (0 if words is None else 1)
    assert words is None or words in found[0]
