"""The objective of pairs against the figures it stands for, the network, and a run of a few steps."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage

from recipes.fusion.conftest import brain
from traindx.errors import InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.fusion import contract, metrics
from traindx.recipes.fusion.pairs import data, folders, network, objective
from traindx.recipes.fusion.scores import ssim

TINY = [
    *("--source=pairs", "--preset=quick", "--steps=6", "--threads=1", "--no-verification", "--data.size=32"),
    *("--data.batch_size=2", "--data.epoch_steps=3", "--data.val=1", "--model.channels=8"),
    *("--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"),
]


def picture(seed, size=64):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.5)
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth))[None, None]


def test_each_term_is_the_figure_that_it_stands_for():
    a, b = picture(0), picture(1)
    fused = 0.5 * a + 0.3 * b
    assert float(objective.edge_preservation(a, b, fused)) == pytest.approx(
        metrics.edge_preservation(a, b, fused), abs=2e-3
    )
    assert float(objective.vif(a, fused)) == pytest.approx(metrics.vif(a[0, 0], fused[0, 0]), abs=1e-3)
    # torchmetrics averages windows that cross the border too
    inner = float(objective.ssim(fused, a) + objective.ssim(fused, b)) / 2
    assert inner == pytest.approx(ssim(a, b, fused), abs=0.03)


def test_the_objective_prefers_what_keeps_both_images_where_they_complement_each_other():
    texture, left = picture(2), torch.zeros(1, 1, 64, 64)
    left[..., :32] = 1
    a, b = texture * left, texture * (1 - left)

    def loss(fused):
        return float(torch.stack(list(objective.terms(fused, a, b, objective.Weights()).values())).sum())

    noise = torch.rand(a.shape, dtype=a.dtype, generator=torch.Generator().manual_seed(0))
    others = {"a": a, "b": b, "average": texture / 2, "inverted": 1 - texture, "blank": 0 * a, "noise": noise}
    for name, fused in others.items():
        assert loss(texture) < loss(fused), name


@pytest.mark.parametrize("start", ["flat", "noise", "copy"])
def test_gradients_are_finite_everywhere(start):
    a, b = picture(4, 48).float(), torch.zeros(1, 1, 48, 48)  # air in one image
    made = {"flat": torch.zeros_like(a), "noise": torch.rand(a.shape), "copy": a.clone()}
    fused = made[start].requires_grad_()
    torch.stack(list(objective.terms(fused, a, b, objective.Weights()).values())).sum().backward()
    assert fused.grad is not None
    assert bool(torch.isfinite(fused.grad).all())


def test_descent_on_a_single_pair_beats_what_it_starts_from_and_keeps_the_range():
    a, b = picture(5, 48).float(), picture(6, 48).float()
    start, weights = torch.maximum(a, b), objective.Weights()
    losses = []
    for steps in (0, 5, 15):
        fused = objective.descend(start, a, b, weights, steps)
        losses.append(sum(term.item() for term in objective.terms(fused, a, b, weights).values()))
        assert 0 <= float(fused.min()) <= float(fused.max()) <= 1
    assert losses[0] > losses[1] + 0.01 > losses[2] + 0.02
    assert torch.equal(objective.descend(start, a, b, weights, 0), start)


def test_a_method_is_refined_by_the_descent_from_what_it_gives():
    a, b = picture(5, 48).float(), picture(6, 48).float()
    assert network.refined(torch.maximum, 0) is torch.maximum
    found = network.refined(torch.maximum, 4)(a, b)
    assert torch.equal(found, objective.descend(torch.maximum(a, b), a, b, objective.DESCENT, 4))


def test_a_window_shows_the_same_place_of_both_images(tmp_path):
    marked = np.zeros((40, 56), np.uint8)
    marked[12, 33] = 255
    for side in ("ct", "mri"):
        (tmp_path / side).mkdir()
        PIL.Image.fromarray(marked // (1 + (side == "mri"))).save(tmp_path / side / "1.png")
    windows = data.PairWindows([folders.folder_of_pairs(tmp_path).read("1")], 32)
    generator = torch.Generator().manual_seed(0)
    brighter, places = set(), set()
    for _ in range(30):
        item = windows.item(0, generator)
        where = [torch.nonzero(item[name][0]).tolist() for name in "ab"]
        assert where[0] == where[1]
        assert len(where[0]) == 1
        assert item["a"].shape == (1, 32, 32)
        brighter.add("a" if item["a"].max() > item["b"].max() else "b")
        places.add(tuple(where[0][0]))
    assert brighter == {"a", "b"}
    assert len(places) > 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    for side in ("ct", "mri"):
        (root / side).mkdir()
    for patient in range(1, 5):
        for side, image in zip(("ct", "mri"), brain(patient), strict=True):
            PIL.Image.fromarray(image).save(root / side / f"{patient}001.png")
            PIL.Image.fromarray(image.T.copy()).save(root / side / f"{patient}002.png")
    out = root.parent / f"{root.name}-run"
    assert registry()["fusion"].train([f"--root={root}", f"--out={out}", *TINY]) == 0
    return root, out


def test_a_run_leaves_the_files_of_every_recipe_and_keeps_patients_apart(run):
    _, out = run
    for name in ("best.ckpt", "last.ckpt", "red_flags.txt"):
        assert (out / name).exists()
    assert list((out / "pictures").glob("epoch_*.png"))
    patients = network.read(out / "best.ckpt")["patients"]
    assert sorted(patients["train"] + patients["val"]) == ["1", "2", "3", "4"]
    assert len(patients["val"]) == 1


def test_a_trained_network_fuses_images_of_any_size(run, tmp_path):
    _, out = run
    odd = [np.pad(image, ((0, 3), (0, 5))) for image in brain(9)]
    for name, image in zip("ab", odd, strict=True):
        PIL.Image.fromarray(image).save(tmp_path / f"{name}.png")
    pair = ["--pair", str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert registry()["fusion"].predict([*pair, f"--checkpoint={out}", f"--out={tmp_path}"]) == 0
    fused = np.asarray(PIL.Image.open(tmp_path / "a_fused.png"))
    assert fused.shape == odd[0].shape
    assert fused.dtype == np.uint8
    assert int(fused.max()) > 0


def test_evaluate_measures_held_out_patients_beside_every_method(run, capsys):
    root, out = run
    evaluate = registry()["fusion"].evaluate
    assert evaluate(["--source=pairs", f"--root={root}", f"--checkpoint={out}"]) == 0
    said = capsys.readouterr().out
    for name in ("model", "average", "maximum", "laplacian", "dwt", "guided-filter", "copy of A"):
        assert f"| {name} |" in said
    assert "2 pairs of 1 patients" in said
    assert "Qabf: model less" in said
    with pytest.raises(InputError, match="was trained on"):
        evaluate(["--source=pairs", f"--root={root}", f"--checkpoint={out}", "--cases=all"])
    with pytest.raises(UsageError, match="no folder"):
        evaluate(["--source=pairs", f"--checkpoint={out}"])


def test_checkpoints_of_both_kinds_are_not_taken_for_each_other(run, tmp_path):
    _, out = run
    with pytest.raises(InputError, match="fuses pairs of plain images"):
        contract.read(out / "best.ckpt")
    torch.save({"contract": {"recipe": "fusion", "format": 1}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="not trained on pairs"):
        network.read(tmp_path / "other.ckpt")


def test_sizes_and_figures_that_pairs_do_not_have_are_refused(run, tmp_path):
    root, _ = run
    train = registry()["fusion"].train
    with pytest.raises(UsageError, match="not for pairs"):
        train(["--source=pairs", f"--root={root}", "--preset=volumes", f"--out={tmp_path / 'x'}"])
    with pytest.raises(InputError, match="no figure of pairs"):
        train(["--source=pairs", f"--root={root}", "--select=bone_psnr", f"--out={tmp_path / 'x'}"])
