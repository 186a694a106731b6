"""Colour images without boxes, in a made-up folder of the layout of PH2: reading, folds, patches, all three stages."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from traindx.errors import InputError
from traindx.recipes.concepts.contract import gallery_of
from traindx.recipes.concepts.data import Dataset, EvalBatches
from traindx.recipes.concepts.dermoscopy import CLASSES, COLUMNS, ph2
from traindx.recipes.concepts.evaluation import main as evaluate
from traindx.recipes.concepts.explanation import LooksLike
from traindx.recipes.concepts.module import module_from
from traindx.recipes.concepts.peers import KINDS, outputs, train_peer
from traindx.recipes.concepts.pictures import draw_looks
from traindx.recipes.concepts.pipeline import IDENTITY, Augmentation, drawn, warp
from traindx.recipes.concepts.predict import TABLE
from traindx.recipes.concepts.predict import main as predict
from traindx.recipes.concepts.prototypes import Nearest, hottest
from traindx.recipes.concepts.radiographs import folds
from traindx.recipes.concepts.reading import as_square, for_network, read_colour
from traindx.recipes.concepts.settings import from_preset
from traindx.recipes.concepts.train import fit, prepare

HEADER = ["image", "diagnosis", *(column for column, _ in COLUMNS.values()), "colours", "histology"]
TINY = {
    "architecture": {
        "size": 48, "channels": 3, "widths": [8, 12, 16], "strides": [2, 2, 2], "prototypes": 2, "embedding": 12,
    },
    "hottest": 2,
    "stages": {
        "concepts": {"epochs": 2, "rates": {"encoder": 0.003, "head": 0.006}},
        "prototypes": {"epochs": 2, "rates": {"prototypes": 0.01}},
        "task": {"epochs": 1, "rates": {"task": 0.03}},
    },
}  # fmt: skip


def write_set(folder, count=36):
    """Lesions: dark discs on skin; every concept and class occurs, the veil makes a disc blue."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        present = [(number >> k) % 2 for k in range(5)] + [number % 3 == 0]
        codes = [list(table)[-1 if here else 0] for here, (_, table) in zip(present, COLUMNS.values(), strict=True)]
        y, x = np.mgrid[:60, :80]
        disc = (y - 30) ** 2 + (x - 40) ** 2 < generator.integers(120, 400)
        image = np.full((60, 80, 3), (220, 170, 150)) + generator.normal(0, 4, (60, 80, 3))
        image[disc] = (60, 60, 140) if present[5] else (90, 50, 30)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"IMD{number:03d}.jpg")
        rows.append([f"IMD{number:03d}.jpg", CLASSES[number % 3], *codes, "4", ""])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows])
    return folder


def change(folder, line, column, value):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    rows[line][column] = value
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("root") / "ph2_dermoscopy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, lesions):
    folder = tmp_path_factory.mktemp("run")
    run = prepare(from_preset("dermoscopy", val=0.2, **TINY), folder, ph2(lesions))
    return folder, run, fit(run)


def test_codes_become_concepts_and_classes(lesions):
    data = ph2(lesions)
    assert data.images.shape == (36, 192, 192, 3)
    assert data.concepts[-1] == "blue-whitish veil"
    for number in range(36):
        expected = [(number >> k) % 2 for k in range(5)] + [number % 3 == 0]
        assert data.labels[number].tolist() == [float(v) for v in expected]
    assert data.task.tolist() == [number % 3 for number in range(36)]
    assert all(len(boxes) == 0 for boxes in data.boxes)  # no masks in this folder


def test_the_square_is_cut_from_the_middle_and_its_hues_stay():
    image = np.zeros((40, 60, 3), np.float32)
    image[:, 10:50] = (200, 100, 50)
    image[:, :10] = image[:, 50:] = 255
    assert (as_square(image, 20) == np.array([200, 100, 50])).all()


def test_an_empty_cell_is_not_known_and_another_code_is_refused(tmp_path):
    folder = write_set(tmp_path / "set", 4)
    change(folder, 2, 2, "")
    change(folder, 3, 1, "")
    data = ph2(folder)
    assert np.isnan(data.labels[1, 0])
    assert data.task[2] == -1
    change(folder, 2, 5, "yes")
    with pytest.raises(InputError, match=r"IMD001.jpg, streaks.*'yes'"):
        ph2(folder)


def test_what_is_missing_is_named(tmp_path):
    folder = write_set(tmp_path / "set", 4)
    change(folder, 0, 3, "network")
    with pytest.raises(InputError, match="no column atypical_network"):
        ph2(folder)
    change(folder, 0, 3, "atypical_network")
    change(folder, 4, 0, "IMD000.jpg")
    with pytest.raises(InputError, match="IMD000 twice"):
        ph2(folder)
    change(folder, 4, 0, "IMD999.jpg")
    with pytest.raises(InputError, match=r"IMD999.jpg does not exist"):
        ph2(folder)


@pytest.mark.parametrize("name", ["IMD001.png", "IMD001_lesion.bmp"])
def test_a_lesion_mask_gives_a_box_of_each_concept_that_is_present(tmp_path, name):
    folder = write_set(tmp_path / "set", 4)
    (folder / "masks").mkdir()
    mask = np.zeros((60, 80), np.uint8)
    mask[15:45, 25:40] = 255  # of the central square, 60 pixels: columns 15 to 30
    Image.fromarray(mask).save(folder / "masks" / name)
    data = ph2(folder)
    assert set(data.boxes[1][:, 0].astype(int)) == set(np.flatnonzero(data.labels[1]))
    assert data.boxes[1][0, 1:] == pytest.approx([15 / 60, 15 / 60, 30 / 60, 45 / 60], abs=0.01)
    assert len(data.boxes[2]) == 0


def test_folds_are_equal_disjoint_and_have_every_class(lesions):
    data = ph2(lesions)
    parts = folds(data, 4, seed=3)
    assert sorted(itertools.chain(*parts)) == sorted(data.ids)
    assert {len(part) for part in parts} == {9}
    assert all(set(data.only(part).task) == {0, 1, 2} for part in parts)
    alike = replace(data, labels=np.zeros_like(data.labels))  # a seed orders lesions of one kind
    assert folds(alike, 4, seed=3) == folds(alike, 4, seed=3) != folds(alike, 4, seed=4)


def test_a_quarter_turn_is_the_image_turned():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    asked = Augmentation(
        flip=0, rotation=0, scale=0, shift=0, contrast=0, gamma=0, quarter_turns=True, outside="reflection"
    )
    turns = {
        next(k for k in range(4) if torch.allclose(torch.rot90(image, k, (2, 3)), moved, atol=1e-4))
        for moved in (warp(image, [drawn(asked, seed)], 16) for seed in range(20))
    }
    assert turns == {0, 1, 2, 3}


def test_what_radiographs_draw_is_not_moved_by_the_colour_options():
    plain, colour = drawn(Augmentation(), 5), drawn(Augmentation(colour=0.1), 5)
    assert (plain.matrix == colour.matrix).all()
    assert (plain.contrast, plain.gamma, plain.colour) == (colour.contrast, colour.gamma, ())
    assert len(colour.colour) == 3
    assert IDENTITY.outside == "zeros"


def test_the_hottest_cells_are_those_of_images_with_the_concept_and_inside_its_boxes():
    maps = torch.arange(16.0).view(1, 1, 4, 4).repeat(3, 1, 1, 1)
    masks = torch.zeros(3, 1, 4, 4)
    masks[1, 0, 0] = 1  # a box over the first row
    found = hottest(maps, torch.tensor([[1.0], [1.0], [0.0]]), masks, 2)
    assert found[0].flatten().nonzero().flatten().tolist() == [14, 15]
    assert found[1].flatten().nonzero().flatten().tolist() == [2, 3]
    assert not bool(found[2].any())


def test_three_stages_without_boxes(trained):
    folder, run, path = trained
    module, learnt = module_from(path)
    assert learnt.trained == ("concepts", "prototypes", "task")
    labels = dict(zip(run.data.train_set.data.ids, run.data.train_set.labels, strict=True))
    assert len(learnt.nearest) == 6 * 2
    assert all(labels[one.image][one.concept] == 1 for one in learnt.nearest)
    gallery = gallery_of(path)
    assert {image.shape for image in gallery.values()} == {(192, 192, 3)}
    last = torch.load(folder / "concepts" / "last.ckpt", weights_only=True)["state_dict"]
    kept = module.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in last.items() if name.startswith("network.maps"))


def test_prediction_goes_the_way_of_the_set(tmp_path, trained, lesions):
    _, run, path = trained
    name = run.data.split.test[0]
    file = lesions / "images" / f"{name}.jpg"
    one = Dataset(ph2(lesions).only([name]), size=48, map_size=(6, 6))
    _, values = for_network(as_square(read_colour(file)), 48)
    assert torch.allclose(values, next(iter(EvalBatches(one)))["image"], atol=1e-5)
    assert predict([str(file), "--checkpoint", str(path), "--out", str(tmp_path), "--no-pages"]) == 0
    assert name in (tmp_path / TABLE).read_text()


def test_what_looks_like_what_is_drawn_in_colour():
    image = np.zeros((32, 32, 3), np.float32)
    image[..., 0] = 1
    that = Nearest(concept=0, prototype=0, image="train", row=1, column=2, similarity=0.9)
    look = LooksLike(concept=0, prototype=0, row=0, column=0, similarity=0.8, that=that)
    figure = draw_looks(image, [look], {"train": image[::-1, :, ::-1]}, ["veil"], 4)
    drawn_there = [panel.get_images()[0].get_array() for panel in figure.axes]
    assert [one.shape for one in drawn_there] == [(32, 32, 3)] * 4
    assert "train" in figure.axes[3].get_title()


def test_evaluate_leaves_out_what_needs_boxes(trained, lesions, capsys, monkeypatch):
    monkeypatch.setenv("TRAINDX_DATA", str(lesions.parent))
    assert evaluate(["--checkpoint", str(trained[2]), "--resamples", "5"]) == 0
    shown = capsys.readouterr().out
    assert "task balanced accuracy" in shown
    assert "prototype purity" in shown
    assert "pointing" not in shown


@pytest.mark.parametrize("kind", KINDS)
def test_peers_learn_on_the_same_batches(trained, kind):
    _, run, _ = trained
    data = run.data.train_set
    first, second = (train_peer(kind, run.settings, data, epochs=1).network for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    names = ("task",) if kind == "plain" else ("task", "concepts")
    said = outputs(first, data, names)
    assert said["task"].shape == (len(data), 3)
    if kind == "bottleneck":  # classes depend on nothing but concept probabilities
        assert torch.allclose(first.task(said["concepts"].sigmoid()), said["task"], atol=1e-5)


@pytest.mark.data
def test_the_real_set_has_what_its_table_says(data_root):
    data = ph2(data_root / "ph2_dermoscopy")
    assert np.bincount(data.task).tolist() == [70, 59, 31]
    assert data.labels.sum(axis=0).tolist() == [65, 86, 47, 20, 19, 28]
