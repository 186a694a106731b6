"""The whole way on a small folder of phantoms: train, stop, resume, predict, evaluate."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from traindx.errors import InputError, UsageError
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.red_flags import RedFlags
from traindx.recipes.kit.schedule import warmup_cosine
from traindx.recipes.segmentation.contract import check, read
from traindx.recipes.segmentation.evaluation import evaluate
from traindx.recipes.segmentation.inference import Predictor
from traindx.recipes.segmentation.module import SegmentationModule, module_from
from traindx.recipes.segmentation.predict import Written, predict, predict_folder, warn_of_collapse
from traindx.recipes.segmentation.red_flags import judge
from traindx.recipes.segmentation.train import run, train

SMALL = [
    "--data.base_filters=4",
    "--data.samples_per_epoch=16",
    "--data.folds=3",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--averaging.start=4",
    "--model.lr=0.01",
    "--model.warmup=2",
]
DEFAULTS = ["--config", str(Path(train.__code__.co_filename).parent / "presets" / "standard.yaml")]


def arguments(root: Path, steps: int, *more: str) -> list[str]:
    return [*DEFAULTS, f"--data.root={root}", *SMALL, f"--trainer.max_steps={steps}", *more]


@pytest.fixture(scope="module")
def trained(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(arguments(phantom_folder, 48), tmp_path_factory.mktemp("run"))


def test_training_learns_and_writes_what_inference_needs(trained: Path) -> None:
    checkpoint = read(trained)
    contract = checkpoint[CONTRACT_KEY]
    assert contract["plan"]["labels"]["ignore"] == [2]
    assert contract["inference"]["tuned"]
    split = contract["split"]
    assert not set(split["train"]) & set(split["test"])
    assert (trained.parent / "plan.json").exists()
    lines = (trained.parent / "red_flags.txt").read_text()
    assert "val_dice" in lines
    assert "foreground_ratio" in lines
    assert "output_spread" in lines


def test_evaluation_leaves_out_what_was_trained_on(
    trained: Path, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        evaluate(["--root", str(phantom_folder), "--checkpoint", str(trained), "--out", str(tmp_path), "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    split = read(trained)[CONTRACT_KEY]["split"]
    assert {case["name"] for case in result["cases"]} == set(split["test"])
    assert result["summary"]["organ"]["dice"]["mean"] > 0.75
    assert result["summary"]["organ"]["dice"]["mean"] > result["baselines"]["atlas of the training labels"]["mean"]
    page = (tmp_path / "page.html").read_text()
    assert all(word in page for word in ("worst", "median", "best", "data:image/png"))
    assert (tmp_path / "scores.csv").read_text().count("\n") == len(split["test"]) + 1


def test_cases_that_were_trained_on_are_scored_only_on_request(trained: Path, phantom_folder: Path) -> None:
    predictor = Predictor.load([trained])
    from traindx.recipes.segmentation.evaluation import choose
    from traindx.recipes.segmentation.sources import list_cases

    refs = [ref for ref in list_cases(phantom_folder)[0] if ref.name in predictor.seen]
    with pytest.raises(InputError, match="trained or tuned on all"):
        choose(predictor, refs, "unseen")
    assert len(choose(predictor, refs, "all")[0]) == len(refs)


def test_masks_of_another_program_are_scored(
    trained: Path, phantom_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # the reference labels themselves, with unlabelled voxels as background
    for path in (phantom_folder / "labelsTr").iterdir():
        image: Any = nib.load(path)
        array = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.where(array == 2, 0, array).astype(np.uint8), image.affine), tmp_path / path.name)
    assert (
        evaluate(["--root", str(phantom_folder), "--checkpoint", str(trained), "--masks", str(tmp_path), "--json"]) == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["summary"]["organ"]["dice"]["mean"] == 1.0
    assert result["summary"]["organ"]["hd95_mm"]["mean"] == 0.0


def test_prediction_keeps_grids_and_goes_on_after_what_it_cannot_read(
    trained: Path, phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    source: Any = nib.load(phantom_folder / "imagesTr" / "p00.nii.gz")
    array = np.asarray(source.dataobj)
    turned = np.flip(np.transpose(array, (2, 0, 1)), axis=1)
    affine = np.array([[0, -1.0, 0, 17], [0, 0, 1, 3], [1, 0, 0, -5], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(turned, affine), inputs / "b_turned.nii.gz")
    nib.save(source, inputs / "a_plain.nii.gz")
    (inputs / "c_broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), np.nan, np.float32), np.eye(4)), inputs / "d_nan.nii")
    out = tmp_path / "out"
    code = predict([str(inputs), "--checkpoint", str(trained), "--out", str(out), "--probabilities"])
    text = capsys.readouterr().out
    assert code == 2
    assert "NOT READ c_broken.nii.gz" in text
    assert "NOT READ d_nan.nii" in text
    assert "2 of 4 volumes" in text
    plain: Any = nib.load(out / "a_plain.nii.gz")
    back: Any = nib.load(out / "b_turned.nii.gz")
    assert np.allclose(back.affine, affine)
    assert back.get_data_dtype() == plain.get_data_dtype() == np.uint8
    # the same patient in another orientation gives the same mask
    assert np.array_equal(np.flip(np.transpose(np.asarray(plain.dataobj), (2, 0, 1)), axis=1), np.asarray(back.dataobj))
    stored = np.load(out / "a_plain_probabilities.npz")
    assert stored["probabilities"].shape == (2, *array.shape)
    assert list(stored["classes"]) == ["background", "organ"]


def test_masks_can_take_the_dtype_of_each_volume(trained: Path, phantom_folder: Path, tmp_path: Path) -> None:
    image = phantom_folder / "imagesTr" / "p01.nii.gz"
    done = list(predict_folder(Predictor.load([trained]), [image], tmp_path, dtype="image"))
    mask: Any = nib.load(done[0].mask)  # type: ignore[arg-type]
    assert mask.get_data_dtype() == np.float32


def test_an_ensemble_of_folds_predicts_together(trained: Path, phantom_folder: Path) -> None:
    one, two = Predictor.load([trained]), Predictor.load([trained, trained])
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype(np.float32)
    assert np.allclose(one.probabilities(image), two.probabilities(image), atol=1e-5)
    other = module_from(trained)
    other.plan = other.plan.model_copy(update={"patch": (8, 8, 8)})
    with pytest.raises(InputError, match="patch"):
        Predictor([module_from(trained), other])


def test_identical_foreground_ratios_are_called_out() -> None:
    def written(ratio: float, spread: float) -> Written:
        return Written("x", Path("x"), foreground_ratio=ratio, output_spread=spread)

    assert "same foreground ratio" in warn_of_collapse([written(0.9506, 0.1)] * 3)
    assert "constant" in warn_of_collapse([written(0.1 * k, 0.001) for k in range(4)])
    assert warn_of_collapse([written(0.1 * k, 0.2) for k in range(4)]) == ""


@pytest.fixture
def _keyboard() -> Iterator[None]:
    """Lightning switches Ctrl-C off when it shuts down; put it back for the tests that follow."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_keyboard")
def test_a_resumed_run_is_bit_identical_to_an_unbroken_one(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = arguments(phantom_folder, 10, "--data.samples_per_epoch=8")
    whole = run(short, tmp_path / "whole")

    def interrupt(self: RedFlags, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RedFlags, "on_train_batch_end", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            run(short, tmp_path / "broken")
    assert "--resume" in capsys.readouterr().out
    resumed = run(short, tmp_path / "broken", resume=True)
    a, b = (torch.load(path, weights_only=True)["state_dict"] for path in (whole, resumed))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_killed_after_its_last_step_is_finished_with_the_same_weights(
    phantom_folder: Path, tmp_path: Path
) -> None:
    model = run(arguments(phantom_folder, 6, "--data.samples_per_epoch=6"), tmp_path)
    whole = torch.load(model, weights_only=True)["state_dict"]
    model.unlink()
    resumed = torch.load(run(arguments(phantom_folder, 6), tmp_path, resume=True), weights_only=True)["state_dict"]
    trained = torch.load(tmp_path / "last.ckpt", weights_only=True)["current_model_state"]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(trained[name], whole[name]) for name in whole)


def test_a_second_run_never_overwrites_the_first(phantom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(UsageError, match="holds a run already"):
        train([f"--data.root={phantom_folder}", "--out", str(tmp_path)])
    with pytest.raises(InputError, match="holds no run"):
        train([f"--data.root={phantom_folder}", "--out", str(tmp_path / "new"), "--resume"])


def test_a_checkpoint_of_another_contract_is_refused_with_both_values(trained: Path) -> None:
    module = module_from(trained)
    labels = module.plan.labels.model_copy(update={"ignore": ()})
    other = SegmentationModule(module.plan.model_copy(update={"labels": labels}))
    with pytest.raises(InputError, match=r"plan\.labels\.ignore is \[2\] in the checkpoint and \[\] in this run"):
        check(read(trained), other.contract())
    check(read(trained), module.contract())


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_unusable_checkpoints_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.ckpt"):
        Predictor.load([path])


def test_the_schedule_warms_up_and_ends_at_its_floor() -> None:
    shares = [warmup_cosine(step, 1000, 100, 0.01) for step in range(1000)]
    assert shares[0] == pytest.approx(1 / 101)
    assert shares[100] == pytest.approx(1.0)
    assert shares[550] == pytest.approx(0.505, abs=1e-3)
    assert shares[-1] == pytest.approx(0.01, abs=1e-3)
    assert np.all(np.diff(shares[:100]) > 0)
    assert np.all(np.diff(shares[100:]) < 0)


def test_red_flags_are_silent_at_first_and_on_health() -> None:
    collapsed = {"output_spread": 0.001, "foreground_ratio_sd": 0.0, "foreground_ratio": 0.95}
    healthy = {"output_spread": 0.3, "foreground_ratio_sd": 0.02, "foreground_ratio": 0.1}
    assert judge(collapsed, epoch=0) == []
    assert len(judge(collapsed, epoch=5)) == 2
    assert judge(healthy, epoch=5) == []
    assert "nan" in judge({**healthy, "val_dice": float("nan")}, epoch=0)[0]
