"""D116 where workers are prepared, or items are drawn from a generator of a module: what the workers then draw."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

from traindx.evidence.observed_items import WorkersBegun
from traindx.finding import Standing
from watch.inside import found, watched

SHARED = np.random.default_rng(3)
EPOCH = [0]


class Own(Dataset):  # type: ignore[type-arg]
    """Items are a number drawn from the data set's own generator."""

    def __init__(self) -> None:
        self.seed, self.rng = 5, np.random.default_rng(5)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), float(self.rng.normal()))


class OfNumpy(Own):
    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), float(np.random.normal()))


class OfRandom(Own):
    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), random.gauss(0, 1))


class OfModule(Own):
    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), float(SHARED.normal()))


class Plain(Own):
    """Near miss: nothing is drawn."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), float(index))


class Seeded(Own):
    """Near miss: the item and the pass seed the generator."""

    def __getitem__(self, index: int) -> torch.Tensor:
        np.random.seed(1000 * EPOCH[0] + index)
        return torch.full((4,), float(np.random.normal()))


def fixed(worker: int) -> None:
    torch.set_num_threads(1)
    get_worker_info().dataset.rng = np.random.default_rng(get_worker_info().dataset.seed)  # type: ignore[union-attr]


def fixed_everywhere(worker: int) -> None:
    random.seed(7)
    np.random.seed(7)


def by_worker(worker: int) -> None:
    random.seed(7 + worker)
    np.random.seed(7 + worker)


def by_worker_and_pass(worker: int) -> None:
    np.random.seed(100 * EPOCH[0] + worker)


def from_torch(worker: int) -> None:
    get_worker_info().dataset.rng = np.random.default_rng(torch.initial_seed())  # type: ignore[union-attr]
    np.random.seed(torch.initial_seed() % 2**32)


ALIKE, AGAIN = "workers draw the same", "every pass draws those"


@pytest.mark.parametrize(
    ("data", "prepares", "said", "options"),
    [
        (Own, fixed, (ALIKE, AGAIN), {}),
        (OfNumpy, fixed_everywhere, (ALIKE, AGAIN), {}),
        (OfRandom, by_worker, (AGAIN,), {}),
        (OfModule, None, (ALIKE, AGAIN), {}),
        (OfRandom, by_worker, (), {"persistent_workers": True}),
        (OfNumpy, by_worker_and_pass, (), {}),
        (Own, from_torch, (), {}),
        (OfNumpy, from_torch, (), {}),
        (OfNumpy, None, (), {}),
        (Plain, fixed_everywhere, (), {}),
        (Seeded, fixed_everywhere, (), {}),
    ],
    ids=[
        "a fixed seed", "fixed for numpy", "by worker", "of a module",
        "workers live on", "by pass too", "from torch", "numpy from torch", "torch's own", "nothing drawn", "by item",
    ],
)  # fmt: skip
def test_what_workers_draw(
    data: type[Own],
    prepares: Callable[[int], None] | None,
    said: tuple[str, ...],
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    read: list[list[float]] = []

    def script() -> None:
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        loader = DataLoader(data(), batch_size=2, num_workers=2, worker_init_fn=prepares, **options)
        for EPOCH[0] in range(2):
            read.append([])
            for x in loader:
                read[-1] += x[:, 0].tolist()
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()

    evidence = watched(script, tmp_path, children=True)
    first, second = read
    if data is not Plain:  # the reference: what the workers drew
        assert (first[:2] == first[2:4]) is (ALIKE in said)
        assert (first == second) is (AGAIN in said)
    findings = found("D116", evidence)
    assert len(findings) == bool(said)
    for finding in findings:
        assert finding.standing is Standing.SUSPECTED
        assert all(one in finding.message for one in said)
        assert (ALIKE in finding.message) is (ALIKE in said)
    tried = evidence.of(WorkersBegun)
    assert bool(tried) is (prepares is not None or data is OfModule or data is OfNumpy)


def test_the_line_that_seeds_is_named(tmp_path: Path) -> None:
    def script() -> None:
        model = nn.Linear(4, 1)
        loader = DataLoader(Own(), batch_size=2, num_workers=2, worker_init_fn=fixed)
        for x in (batch for _ in range(2) for batch in loader):
            model(x).square().mean().backward()

    (finding,) = found("D116", watched(script, tmp_path, children=True))
    assert finding.location is not None
    assert finding.location.symbol == "fixed"
    line = Path(__file__).read_text().splitlines()[finding.location.line - 1]  # type: ignore[operator]
    assert "default_rng(get_worker_info().dataset.seed)" in line
    assert "fixed leaves self.rng in one and the same state" in finding.message
