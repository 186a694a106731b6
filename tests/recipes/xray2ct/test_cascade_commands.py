"""train, predict and evaluate of both cascades: two stages of 4 and 8 voxels a side, seconds a run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.xray2ct.cascade import contract, module
from traindx.recipes.xray2ct.cascade import train as training
from traindx.recipes.xray2ct.population import ASSET

METHODS = {"xray2ct_regression": "regression", "xray2ct_cascade": "diffusion"}
OPTIONS = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--threads=1", "--no-verification"]
STAGE = """
data: {{source: embedded, size: 8, train: 6, val: 2, batch_size: 2, epoch_steps: 4}}
model:
  size: {size}
  network: {{patch: 1, widths: [8, 8], depth: 1, heads: 2, encoder_channels: 4, lifted: 4, condition: 8}}
  ema: 0.9
  {more}
trainer: {{max_steps: 10, gradient_clip_val: 1.0, log_every_n_steps: 1, num_sanity_val_steps: 0}}
"""
MORE = {
    "regression": "weights: {absolute: 1.0, structure: 0.5, gradient: 0.15, spectrum: 0.1, reprojection: 0.1}",
    "diffusion": "physics_weight: 0.1",
}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets")
    for method, more in MORE.items():
        preset = folder / method / "quick"
        preset.mkdir(parents=True)
        for number, size in enumerate((4, 8), start=1):
            (preset / f"stage{number}.yaml").write_text(STAGE.format(size=size, more=more))
    patch = pytest.MonkeyPatch()
    patch.setattr(training, "PRESETS", folder)
    yield
    patch.undo()


def train(recipe: str, out: Path, *more: str) -> None:
    assert registry()[recipe].train([f"--out={out}", *OPTIONS, *more]) == 0


def column(out: Path, name: str = "loss") -> dict[int, str]:
    found = {}
    for path in sorted(out.glob("log/*/metrics.csv")):
        with path.open() as file:
            found.update({int(float(row["step"])): row[name] for row in csv.DictReader(file) if row.get(name)})
    return found


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.fixture(scope="module", params=METHODS)
def run(request, tmp_path_factory, presets):
    out = tmp_path_factory.mktemp("run") / "whole"
    train(request.param, out, "--keep-every=1")
    return request.param, out


def test_every_stage_leaves_checkpoints_and_the_key_that_the_best_is_chosen_by(run):
    _, out = run
    for stage in ("stage1", "stage2"):
        assert sorted(column(out / stage)) == list(range(10))
        assert len(column(out / stage, "val_psnr")) >= 2
        best = torch.load(out / stage / "best.ckpt", weights_only=True)
        assert best["val_psnr"] == pytest.approx(max(map(float, column(out / stage, "val_psnr").values())), abs=1e-3)
        assert {"epoch0000.ckpt", "epoch0001.ckpt"} <= {path.name for path in (out / stage).glob("epoch*.ckpt")}
    assert column(out / "stage2", "val_psnr_earlier")


def test_the_earlier_stage_is_the_best_one_and_does_not_move(run):
    _, out = run
    first, second = state(out / "stage1" / "best.ckpt"), state(out / "stage2" / "last.ckpt")
    used = contract.weights_of(first, 1)
    moved = [name for name, value in used.items() if not torch.equal(value, second[f"cascade.{name}"])]
    assert moved == []
    learned = [name for name in second if name.startswith("cascade.stages.1.") and "prior" not in name]
    start = state(out / "stage2" / "epoch0000.ckpt")
    assert any(not torch.equal(start[name], second[name]) for name in learned)


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(run, tmp_path, monkeypatch):
    recipe, whole = run
    out, step = tmp_path / "broken", module.StageModule.training_step

    def interrupted(self, batch, index):
        if self.size == 8 and self.global_step == 6:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(module.StageModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry()[recipe].train([f"--out={out}", *OPTIONS])
    monkeypatch.undo()
    before = (out / "stage1" / "last.ckpt").stat().st_mtime_ns
    train(recipe, out, "--resume")
    assert (out / "stage1" / "last.ckpt").stat().st_mtime_ns == before  # a finished stage is left alone
    assert column(out / "stage2") == column(whole / "stage2")
    mine, theirs = state(out / "stage2" / "last.ckpt"), state(whole / "stage2" / "last.ckpt")
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []


def test_a_finished_stage_can_be_extended_and_never_becomes_worse(run, tmp_path):
    import shutil

    recipe, whole = run
    out = tmp_path / "more"
    shutil.copytree(whole, out)
    before = torch.load(out / "stage1" / "best.ckpt", weights_only=True)["val_psnr"]
    train(recipe, out, "--stage=1", "--extend=5")
    assert sorted(column(out / "stage1" / "extension1")) == list(range(5))
    assert torch.load(out / "stage1" / "best.ckpt", weights_only=True)["val_psnr"] >= before
    with pytest.raises(UsageError, match="--extend needs"):
        train(recipe, out, "--extend=5")


def test_stages_are_trained_in_order_and_not_written_over(run, tmp_path):
    recipe, out = run
    with pytest.raises(InputError, match="stage 1"):
        train(recipe, tmp_path, "--stage=2")
    with pytest.raises(UsageError, match="holds a run already"):
        train(recipe, out)
    with pytest.raises(UsageError, match="no stage 3"):
        train(recipe, out, "--stage=3")
    with pytest.raises(InputError, match="holds no run"):
        train(recipe, tmp_path, "--resume")


def test_a_stage_of_another_contract_is_refused_with_both_values(run, tmp_path):
    import shutil

    recipe, whole = run
    out = tmp_path / "other"
    shutil.copytree(whole / "stage1", out / "stage1")
    with pytest.raises(InputError) as refused:
        train(recipe, out, "--stage=2", "--data.window_high=3000")
    assert "[-1000.0, 1000.0] in the checkpoint and [-1000.0, 3000.0] in this run" in str(refused.value)
    other = next(name for name in METHODS if name != recipe)
    with pytest.raises(InputError, match=f"contract of {recipe}"):
        registry()[other].evaluate([f"--checkpoint={whole / 'stage1' / 'best.ckpt'}"])


def test_evaluate_shows_stages_baselines_and_pictures(run, tmp_path, capsys):
    recipe, out = run
    options = [f"--checkpoint={out / 'stage2' / 'best.ckpt'}", "--source=embedded", "--train=6", "--val=2"]
    evaluate = registry()[recipe].evaluate
    assert evaluate([*options, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {"stage 1 (4³)", "stage 2 (8³)", "mean volume", "nearest radiographs"}
    assert all(len(values) == 2 for row in table.values() for values in row.values())
    assert evaluate([*options, "--pictures=1", f"--out={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    for words in ("slice psnr", "mae bone", "radiographs", "energy 0.5-1", "the up-sampled stage 1", "pictures in"):
        assert words in shown
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_predict_from_a_ct_and_from_radiographs(run, tmp_path, capsys):
    recipe, out = run
    predict, checkpoint = registry()[recipe].predict, f"--checkpoint={out / 'stage2' / 'best.ckpt'}"
    ct = files("traindx") / "assets" / ASSET
    assert predict([checkpoint, f"--ct={ct}", f"--out={tmp_path}"]) == 0
    assert "PSNR" in capsys.readouterr().out
    (volume,) = tmp_path.glob("*.nii.gz")
    image = nibabel.load(volume)
    assert image.shape == (8, 8, 8)
    assert nibabel.aff2axcodes(image.affine) == ("I", "P", "L")
    for view in ("frontal", "lateral"):
        np.save(tmp_path / f"{view}.npy", np.full((8, 8), 2.0))
    given = [f"--{view}={tmp_path / view}.npy" for view in ("frontal", "lateral")]
    assert predict([checkpoint, *given, f"--out={tmp_path / 'two'}"]) == 0
    with pytest.raises(UsageError, match="--lateral"):
        predict([checkpoint, given[0]])


def test_one_view_is_enough_for_a_model_of_one_view(tmp_path, presets):
    train("xray2ct_regression", tmp_path / "one", "--model.views=[frontal]", "--stage=1", "--steps=2")
    np.save(tmp_path / "frontal.npy", np.full((8, 8), 2.0))
    checkpoint = f"--checkpoint={tmp_path / 'one' / 'stage1' / 'best.ckpt'}"
    given = [checkpoint, f"--frontal={tmp_path / 'frontal.npy'}", f"--out={tmp_path / 'out'}"]
    assert registry()["xray2ct_regression"].predict(given) == 0


def test_mixed_precision_trains(tmp_path, presets):
    for recipe in METHODS:
        train(recipe, tmp_path / recipe, "--trainer.precision=bf16-mixed", "--steps=2")
        assert all(np.isfinite(float(value)) for value in column(tmp_path / recipe / "stage2").values())


@pytest.mark.parametrize("recipe", METHODS)
def test_every_preset_describes_stages_that_fit_together(recipe):
    import yaml

    folder = Path(training.__file__).parent / "presets" / METHODS[recipe]
    assert {path.name for path in folder.iterdir()} == {"quick", "volume64", "volume128", "volume256", "gpu24", "gpu80"}
    for preset in folder.iterdir():
        sizes = [yaml.safe_load(path.read_text())["model"]["size"] for path in sorted(preset.glob("stage*.yaml"))]
        assert all(b == 2 * a for a, b in pairwise(sizes))


def test_help_names_an_example(capsys):
    for recipe in METHODS:
        for command in ("train", "predict", "evaluate"):
            with pytest.raises(SystemExit) as stopped:
                getattr(registry()[recipe], command)(["--help"])
            assert stopped.value.code == 0
            assert f"Example: traindx {command} {recipe}" in " ".join(capsys.readouterr().out.split())


def test_two_processes_train_as_one_with_all_their_volumes(tmp_path):
    """The mean gradient of two batches of one is that of a batch of two: no process goes its own way."""
    shared = ["--data.source=embedded", "--data.size=16", "--data.train=4", "--data.val=2", "--data.epoch_steps=2"]
    shared += ["--model.size=8", "--model.augment=false", "--model.network.widths=[8,8]", "--trainer.max_steps=2"]
    shared += ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--no-verification", "--stage=1"]
    command = [sys.executable, "-m", "traindx", "train", "xray2ct_regression", "--preset=quick", "--threads=1"]
    printed = {}
    for name, more in {
        "one": ["--data.batch_size=2"],
        "two": ["--data.batch_size=1", "--trainer.devices=2", "--trainer.strategy=ddp"],
    }.items():
        done = subprocess.run(
            [*command, *shared, *more, f"--out={tmp_path / name}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        printed[name] = done.stdout.count("best validation PSNR")
    assert printed == {"one": 1, "two": 1}
    one, two = (state(tmp_path / name / "stage1" / "last.ckpt") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if value.is_floating_point():
            torch.testing.assert_close(two[name], value, atol=2e-4, rtol=1e-3)
