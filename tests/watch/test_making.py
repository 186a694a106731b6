"""Items made again in a child process: the line is found, and nothing of the process that asks has changed."""

from __future__ import annotations

import io
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from traindx.watch.probes.item_relations import CornersSwapped, MaskLeft, explained, partners, turns
from traindx.watch.probes.making import broken_at, in_child


class Boxes:
    """Counts what is asked of it, reads from an open file, and keeps a file of what it made."""

    def __init__(self, folder: Path) -> None:
        (folder / "data").write_text("abcdefgh" * 4)
        self.file = open(folder / "data", "rb", buffering=0)  # noqa: SIM115 - it stays open, as in data sets
        self.kept = folder / "kept"
        self.asked = 0

    def __len__(self) -> int:
        self.asked += 1
        return 6

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        self.file.read(3)
        box = np.array([[2.0, 3.0, 8.0, 9.0 + index]])
        if random.random() < 0.5:
            box[:, 0::2] = 20 - box[:, 0::2]
        return box


class Writes(Boxes):
    def __getitem__(self, index: int) -> Any:
        self.kept.write_text("made")
        return super().__getitem__(index)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources of this file count as the user's."""
    for module in ("traindx.watch.probes.making", "traindx.watch.runtime.call_sites"):
        monkeypatch.setattr(f"{module}.users", lambda name: name == __file__)


def test_the_line_is_found_and_nothing_changes(tmp_path: Path, counted: None) -> None:
    data = Boxes(tmp_path)
    data.file.read(5)
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state(), data.file.tell()
    site = broken_at(torch, data, 12, CornersSwapped)
    assert site is not None
    assert "20 - box" in Path(__file__).read_text().splitlines()[site.line - 1]
    assert data.asked == 0
    assert data.file.tell() == before[3]
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_what_writes_is_not_made(tmp_path: Path, counted: None) -> None:
    data = Writes(tmp_path)
    assert broken_at(torch, data, 12, CornersSwapped) is None
    assert not data.kept.exists()


def test_a_child_that_fails_or_hangs_says_nothing() -> None:
    def fails() -> None:
        raise SystemExit(3)

    def hangs() -> None:
        while True:
            pass

    assert in_child(torch, fails) is None
    assert in_child(torch, hangs) is None


def test_a_child_leaves_a_checkpoint_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "best.pt"
    torch.save({"epoch": 7}, file)

    def look() -> list[float]:
        torch.save({"epoch": 6}, io.BytesIO())
        torch.save({"epoch": 6}, file)
        return [1.0]

    assert in_child(torch, look) is None
    assert torch.load(file) == {"epoch": 7}


def test_a_child_leaves_an_hdf5_file_as_it_is(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    file = tmp_path / "best.h5"
    with h5py.File(file, "w") as kept:
        kept["epoch"] = 7

    def look(mode: str) -> list[float]:
        with h5py.File(file, mode) as kept:
            return [float(kept["epoch"][()])] if mode == "r" else [0.0]

    assert in_child(torch, lambda: look("r")) == [7.0]
    assert in_child(torch, lambda: look("w")) is None
    assert look("r") == [7.0]


def test_what_workers_share_is_the_childs_own() -> None:
    kept = torch.arange(1000.0).share_memory_()

    def look() -> list[Any]:
        kept.add_(1)
        return [float(kept.sum())]

    assert in_child(torch, look) == [1000 * 999 / 2 + 1000]
    assert torch.equal(kept, torch.arange(1000.0))


def test_a_child_makes_the_batches_of_workers_itself() -> None:
    loader = DataLoader(TensorDataset(torch.arange(6.0)), 2, num_workers=1, persistent_workers=True)
    batches = iter(loader)
    next(batches)
    assert in_child(torch, lambda: [float(x.sum()) for (x,) in loader]) == [1.0, 5.0, 9.0]
    assert [float(x.sum()) for (x,) in batches] == [5.0, 9.0]
    assert [float(x.sum()) for (x,) in loader] == [1.0, 5.0, 9.0]


def test_nobody_is_told_of_a_child_that_he_waits_for() -> None:
    told: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, frame: told.append(number))
    try:
        assert in_child(torch, lambda: [1]) is None
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert told == []


def test_turns_know_a_mirror_from_a_rotation() -> None:
    points = np.random.default_rng(0).normal(size=(6, 2))
    quarter = points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 3
    assert (turns(points) * turns(quarter) >= 0).all()
    assert (turns(points) * turns(points * [-1, 1]) <= 0).all()


def test_partners_of_a_symmetric_figure() -> None:
    face = np.array([[-1.0, 0.0], [1.0, 0.0], [-0.5, 2.0], [0.5, 2.0], [0.0, 3.0]])
    assert partners(face) == [1, 0, 3, 2, 4]
    assert partners(np.array([[0.0, 0.0], [1.0, 0.2], [2.5, 1.4], [0.2, 3.0]])) is None


def test_what_a_mask_explains_against_the_correlation_ratio_by_hand() -> None:
    image = np.array([[1.0, 3.0], [5.0, 9.0]]).repeat(16, 0).repeat(16, 1)
    mask = np.array([[0, 0], [1, 1]]).repeat(16, 0).repeat(16, 1)
    between = ((2 - 4.5) ** 2 + (7 - 4.5) ** 2) / 2
    assert explained(image, mask) == pytest.approx(between / np.var([1, 3, 5, 9]))
    image = image + np.linspace(0, 1e-6, image.size).reshape(image.shape)  # many values, as images have
    assert MaskLeft(0.8)({"image": image, "mask": mask}) is False
    assert MaskLeft(0.8)({"image": image, "mask": np.indices(mask.shape).sum(0) % 2}) is True
