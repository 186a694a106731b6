"""train, predict and evaluate, on volumes so small that a run takes seconds."""

from __future__ import annotations

import csv
import json

import nibabel
import numpy as np
import pytest
import torch

from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.xray2ct import contract, module
from traindx.recipes.xray2ct.population import ASSET
from traindx.recipes.xray2ct.predict import centred_affine

TINY = [
    *("--data.source=embedded", "--data.size=8", "--data.train=6", "--data.val=2", "--data.batch_size=2"),
    *("--data.epoch_steps=4", "--model.channels=8", "--model.token_channels=8", "--model.depth=1"),
    *("--model.sampling_steps=2", "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false"),
    *("--trainer.accelerator=cpu", "--steps=10", "--threads=1"),
]


def train(out, *more: str) -> None:
    assert registry()["xray2ct"].train([f"--out={out}", *TINY, *more]) == 0


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
    train(out)
    return out


def test_a_run_leaves_checkpoints_and_losses(run):
    assert (run / "best.ckpt").exists()
    assert sorted(losses(run)) == list(range(10))


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(run, tmp_path, monkeypatch):
    out = tmp_path / "broken"
    step = module.XrayToCT.training_step

    def interrupted(self, batch, index):
        if self.global_step == 6:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(module.XrayToCT, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry()["xray2ct"].train([f"--out={out}", *TINY])
    monkeypatch.undo()
    train(out, "--resume")
    assert losses(out) == losses(run)
    mine, whole = weights(out), weights(run)
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


def test_a_run_is_not_written_over(run, tmp_path):
    with pytest.raises(UsageError, match="holds a run already"):
        train(run)
    with pytest.raises(InputError, match="holds no run"):
        train(tmp_path, "--resume")


def test_another_contract_is_refused_with_both_values(run):
    with pytest.raises(InputError) as refused:
        train(run, "--resume", "--data.window_high=3000")
    assert "[-1000.0, 1000.0] in the checkpoint and [-1000.0, 3000.0] in this run" in str(refused.value)
    with pytest.raises(InputError, match=r"prediction is 'v' in the checkpoint and 'epsilon' in this run"):
        train(run, "--resume", "--model.prediction=epsilon")
    with pytest.raises(InputError, match=r"schedule.shift is 0.25 in the checkpoint and 1.0 in this run"):
        train(run, "--resume", "--model.shift=1.0")


def test_predict_writes_a_volume_where_the_ct_was(run, tmp_path, capsys):
    from importlib.resources import files

    ct = files("traindx") / "assets" / ASSET
    assert registry()["xray2ct"].predict([f"--checkpoint={run / 'best.ckpt'}", f"--ct={ct}", f"--out={tmp_path}"]) == 0
    assert "PSNR" in capsys.readouterr().out
    (volume,) = tmp_path.glob("*.nii.gz")
    predicted, given = nibabel.load(volume), nibabel.load(ct)
    corners = np.array([[-0.5] * 3, [n - 0.5 for n in predicted.shape]])
    mine = np.sort(nibabel.affines.apply_affine(predicted.affine, corners), axis=0)
    corners = np.array([[-0.5] * 3, [n - 0.5 for n in given.shape]])
    theirs = np.sort(nibabel.affines.apply_affine(given.affine, corners), axis=0)
    np.testing.assert_allclose(mine, theirs, atol=0.01)  # the same field of view
    assert nibabel.aff2axcodes(predicted.affine) == ("I", "P", "L")
    assert np.asarray(predicted.dataobj).min() >= -1000
    assert (tmp_path / "lidc_idri_0001_3mm_predicted.png").stat().st_size > 1000


def test_predict_from_radiographs_and_what_it_refuses(run, tmp_path):
    predict = registry()["xray2ct"].predict
    checkpoint = f"--checkpoint={run / 'best.ckpt'}"
    views = [tmp_path / "frontal.npy", tmp_path / "lateral.npy"]
    for path in views:
        np.save(path, np.full((8, 8), 2.0))
    given = [f"--frontal={views[0]}", f"--lateral={views[1]}"]
    assert predict([checkpoint, *given, f"--out={tmp_path / 'out'}", "--samples=2"]) == 0
    with pytest.raises(UsageError, match="--frontal"):
        predict([checkpoint, given[0], f"--out={tmp_path}"])
    np.save(views[0], np.full((8, 8), 200.0))  # a display image, not line integrals
    with pytest.raises(InputError, match="line integrals"):
        predict([checkpoint, *given, f"--out={tmp_path}"])
    with pytest.raises(InputError, match="does not exist"):
        predict(["--checkpoint=absent.ckpt", *given])


def test_evaluate_shows_baselines_and_refuses_other_volumes(run, capsys):
    evaluate = registry()["xray2ct"].evaluate
    options = [f"--checkpoint={run / 'best.ckpt'}", "--source=embedded", "--train=6", "--val=2", "--sampling-steps=2"]
    assert evaluate([*options, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {"model", "mean volume", "nearest radiographs"}
    assert len(table["model"]["psnr"]) == 2
    assert evaluate(options) == 0
    assert "mean volume" in capsys.readouterr().out


def test_checkpoints_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        contract.read(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="no contract"):
        contract.read(tmp_path / "other.ckpt")
    torch.save({"contract": {"recipe": "xray2ct", "format": 99, "traindx": "9.9"}}, tmp_path / "newer.ckpt")
    with pytest.raises(InputError, match=r"format 99.*\n.*format 1.*\n.*traindx 9.9"):
        contract.read(tmp_path / "newer.ckpt")


def test_centred_affine_puts_the_middle_at_the_origin(system):
    affine = centred_affine(system.data.geometry)
    middle = nibabel.affines.apply_affine(affine, (np.array(system.data.geometry.shape) - 1) / 2)
    np.testing.assert_allclose(middle, 0, atol=1e-9)
    assert nibabel.aff2axcodes(affine) == ("I", "P", "L")


def test_help_names_an_example(capsys):
    for command in ("train", "predict", "evaluate"):
        with pytest.raises(SystemExit) as stopped:
            getattr(registry()["xray2ct"], command)(["--help"])
        assert stopped.value.code == 0
        assert f"Example: traindx {command} xray2ct" in " ".join(capsys.readouterr().out.split())
