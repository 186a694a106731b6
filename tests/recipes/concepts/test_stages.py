"""The three stages end to end: learning, best checkpoints, resuming, pushing, the commands."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from recipes.concepts.conftest import tiny
from traindx.errors import InputError, UsageError
from traindx.recipes.concepts.contract import gallery_of
from traindx.recipes.concepts.data import EvalBatches
from traindx.recipes.concepts.evaluation import evaluate_model
from traindx.recipes.concepts.evaluation import main as evaluate
from traindx.recipes.concepts.module import module_from
from traindx.recipes.concepts.predict import main as predict
from traindx.recipes.concepts.train import fit, prepare
from traindx.recipes.concepts.train import main as train


def test_every_stage_leaves_its_own_best_checkpoint_and_score(trained):
    folder, run, _ = trained
    assert set(run.module.best.scores) == {"concepts", "prototypes", "task"}
    for stage in ("concepts", "prototypes", "task"):
        stored = torch.load(folder / stage / "best.ckpt", weights_only=True)
        assert stored["stage"] == stage
        rows = list(csv.DictReader((folder / "log" / stage / "metrics.csv").open()))
        best = max(float(row["score"]) for row in rows if row.get("score"))
        assert run.module.best.scores[stage] == pytest.approx(best)


def test_later_stages_leave_the_concept_maps_alone(trained):
    folder, _, path = trained
    first = torch.load(folder / "concepts" / "best.ckpt", weights_only=True)["state_dict"]
    module, _ = module_from(path)
    now = module.state_dict()
    held = [name for name in first if name.startswith("network.maps.")]
    assert len(held) > 10
    assert all(torch.equal(first[name], now[name]) for name in held)


def test_maps_learn_to_point(trained, radiographs):
    _, _, path = trained
    module, learnt = module_from(path)
    found, _, _ = evaluate_model(module, learnt, radiographs, resamples=20)
    assert found.figures["pointing"].mean > 2 * found.baselines["pointing"]
    assert found.figures["AUROC"].mean > 0.6
    assert found.purity > 2 * found.purity_chance
    assert found.figures["mAP"].low <= found.figures["mAP"].mean <= found.figures["mAP"].high


def test_prototypes_are_training_patches_of_their_own_concept(trained):
    _, run, path = trained
    module, learnt = module_from(path)
    dataset = run.data.train_set
    assert len(learnt.nearest) == 6
    assert {one.image for one in learnt.nearest} <= set(learnt.split.train)
    for one in learnt.nearest:
        batch = dataset.batch([dataset.data.ids.index(one.image)])
        with torch.no_grad():
            embedded = module.network.prototypes.embed(module.network.maps.encoder(batch["image"]))
        vector = embedded[0, :, one.row, one.column]
        assert float(vector @ module.network.prototypes.vectors[one.concept, one.prototype]) == pytest.approx(
            1, abs=1e-4
        )
        assert batch["masks"][0, one.concept, one.row, one.column] > 0
    assert set(gallery_of(path)) == {one.image for one in learnt.nearest}


def test_a_resumed_run_is_the_unbroken_one(tmp_path, radiographs):
    plan = {
        "concepts": {"epochs": 3, "rates": {"encoder": 0.004, "head": 0.008}},
        "prototypes": {"epochs": 1, "rates": {"prototypes": 0.003}},
    }
    few = radiographs.only(radiographs.ids[:48])
    settings = tiny(stages=plan, clip=1.0)
    whole = prepare(settings, tmp_path / "whole", few)
    fit(whole)
    assert fit(prepare(settings, tmp_path / "broken", few), stop_after=1) is None
    torch.manual_seed(12345)  # another process has another random state
    second = prepare(settings, tmp_path / "broken", few)
    fit(second, resume=True)
    a, b = whole.module.state_dict(), second.module.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.module.best.scores == second.module.best.scores


def test_a_run_is_not_resumed_under_other_settings(trained, radiographs):
    folder, _, _ = trained
    other = prepare(tiny(margin=3.0), folder, radiographs)
    stored = torch.load(folder / "concepts" / "last.ckpt", weights_only=True)
    with pytest.raises(InputError, match=r"settings\.margin is 2\.0 in the checkpoint and 3\.0 in this run"):
        other.module.on_load_checkpoint(stored)


def test_a_gradient_that_is_no_number_is_flagged(tmp_path, radiographs):
    run = prepare(tiny(), tmp_path, radiographs)
    batch = next(iter(EvalBatches(run.data.train_set, 4)))
    torch.stack(list(run.module.loss_terms(batch).values())).sum().backward()
    run.module.network.maps.head.weight.grad[0, 0] = float("nan")
    run.module.log = lambda *args, **more: None
    run.module._trainer = type("T", (), {"current_epoch": 0})()
    run.module.configure_gradient_clipping(None)
    assert any("nan" in flag for flag in run.module.red_flags)


def test_a_batch_without_positives_trains(tmp_path, radiographs):
    healthy = radiographs.only(
        [n for n, boxes in zip(radiographs.ids, radiographs.boxes, strict=True) if not len(boxes)]
    )
    run = prepare(tiny(), tmp_path, radiographs)
    from traindx.recipes.concepts.data import Dataset

    batch = Dataset(healthy, size=64, map_size=(16, 16)).batch([0, 1, 2])
    for stage in ("concepts", "prototypes", "task"):
        run.module.enter(stage)
        total = torch.stack(list(run.module.loss_terms(batch).values())).sum()
        total.backward()
        assert bool(torch.isfinite(total))


def test_weights_from_elsewhere_are_counted_or_refused(tmp_path, trained, radiographs, capsys):
    _, _, path = trained
    state = {
        name.removeprefix("network.maps.encoder."): value
        for name, value in torch.load(path, weights_only=True)["state_dict"].items()
        if "maps.encoder" in name
    }
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "good.pt")
    torch.save({f"layer_{name}": value for name, value in state.items()}, tmp_path / "bad.pt")
    run = prepare(tiny(weights=str(tmp_path / "good.pt")), tmp_path / "a", radiographs)
    assert torch.equal(run.module.network.maps.encoder.stem[0].weight, state["stem.0.weight"])
    assert "tensors loaded" in capsys.readouterr().out
    with pytest.raises(InputError, match="0 of"):
        prepare(tiny(weights=str(tmp_path / "bad.pt")), tmp_path / "b", radiographs)


def test_predict_writes_a_table_and_a_page_and_names_what_it_cannot_read(tmp_path, trained, radiographs, capsys):
    _, _, path = trained
    films = tmp_path / "films"
    films.mkdir()
    Image.fromarray(radiographs.images[0]).save(films / "a.png")
    (films / "b.png").write_text("nothing")
    code = predict([str(films), "--checkpoint", str(path), "--out", str(tmp_path / "out")])
    assert code == 2
    assert "NOT READ b.png" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert [row["image"] for row in rows] == ["a.png"]
    assert 0 <= float(rows[0]["nodule"]) <= 1
    assert sum(float(rows[0][f"task: {name}"]) for name in ("normal", "abnormal", "severe")) == pytest.approx(
        1, abs=1e-3
    )
    page = (tmp_path / "out" / "a.png.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "://" not in page  # self-contained; four letters may well occur in the base64 of a picture


def test_the_table_is_what_the_network_says(tmp_path, trained, radiographs):
    _, _, path = trained
    Image.fromarray(radiographs.images[3]).save(tmp_path / "x.png")
    predict([str(tmp_path / "x.png"), "--checkpoint", str(path), "--out", str(tmp_path / "o"), "--no-pages"])
    row = next(csv.DictReader((tmp_path / "o" / "predictions.csv").open()))
    module, _ = module_from(path)
    from traindx.recipes.concepts.data import Dataset

    batch = Dataset(radiographs, size=64, map_size=(16, 16)).batch([3])
    with torch.no_grad():
        expected = module.network(batch["image"])["concepts"].sigmoid()[0]
    assert [float(row[name]) for name in module.concepts] == pytest.approx(expected.tolist(), abs=1e-3)


def test_evaluate_scores_and_draws(tmp_path, trained, capsys, monkeypatch, radiographs):
    from traindx.recipes.concepts import evaluation

    _, _, path = trained
    monkeypatch.setattr(evaluation, "load", lambda *args, **options: radiographs)
    assert evaluate(["--checkpoint", str(path), "--resamples", "10", "--out", str(tmp_path)]) == 0
    assert "pointing" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["part"] == "test"
    assert set(scores["figures"]) == {
        "mAP",
        "AUROC",
        "F1 macro",
        "pointing",
        "IoU",
        "task AUROC",
        "task balanced accuracy",
    }
    assert "data:image/png" in (tmp_path / "page.html").read_text()


def test_train_from_the_command_line_verifies_first_and_refuses_a_second_run(tmp_path, capsys):
    small = ["--data.images=40", "--model.stages={concepts: {epochs: 1, rates: {encoder: 0.01, head: 0.01}}}"]
    small += ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    assert train([*small, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "data:" in said
    assert "box loss: a step downhill raises the logit inside boxes in 100%" in said
    assert (tmp_path / "run" / "data" / "diagnosis.json").exists()
    with pytest.raises(UsageError, match="holds a run already"):
        train([*small, "--out", str(tmp_path / "run")])
    with pytest.raises(InputError, match="holds no run"):
        train([*small, "--out", str(tmp_path / "other"), "--resume"])


def test_a_file_that_is_no_model_is_refused(tmp_path, trained):
    folder, _, _ = trained
    (tmp_path / "x.ckpt").write_bytes(b"nothing")
    torch.save({"a": 1}, tmp_path / "y.ckpt")
    for path in (tmp_path / "x.ckpt", tmp_path / "y.ckpt", tmp_path / "z.ckpt", folder / "concepts" / "last.ckpt"):
        with pytest.raises(InputError):
            module_from(path)


def test_maps_over_the_image_have_the_boxes_of_their_concept(radiographs):
    from matplotlib.patches import Rectangle

    from traindx.recipes.concepts.pictures import draw_maps

    index = next(i for i, boxes in enumerate(radiographs.boxes) if len({int(k) for k in boxes[:, 0]}) == 2)
    boxes = radiographs.boxes[index]
    figure = draw_maps(np.zeros((64, 64)), np.random.rand(3, 16, 16), radiographs.concepts, boxes)
    counts = [sum(isinstance(p, Rectangle) for p in axes.patches) for axes in figure.axes]
    assert counts == [len(boxes), *(int((boxes[:, 0] == k).sum()) for k in range(3))]
    corner = next(p for p in figure.axes[0].patches if isinstance(p, Rectangle)).get_xy()
    assert corner == pytest.approx((boxes[0, 1] * 64, boxes[0, 2] * 64))
