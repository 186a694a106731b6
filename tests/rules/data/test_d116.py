"""D116 augmentation-repeats: found where it is, silent on a healthy run, and not confused by what looks like it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from traindx.evidence import Evidence
from traindx.finding import Standing
from traindx.watch.collectors.worker_generators import generators
from watch.inside import found, watched


class Noisy(Dataset):  # type: ignore[type-arg]
    """Items that are nothing but a number drawn from the data set's own generator."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), self.draw())

    def draw(self) -> float:
        return float(self.rng.normal())


class Renewed(Noisy):
    """Near miss: the worker makes the generator."""

    def __getitem__(self, index: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None and not hasattr(self, "own"):
            self.own = self.rng = np.random.default_rng(torch.initial_seed())
        return super().__getitem__(index)


def trained(data: Any, folder: Path, *, passes: int = 2, **options: Any) -> tuple[Evidence, list[list[float]]]:
    """The evidence of a short training, and what every pass read."""
    read: list[list[float]] = []

    def script() -> None:
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        loader = DataLoader(data, batch_size=2, **options)
        for _ in range(passes):
            read.append([])
            for x in loader:
                read[-1] += x[:, 0].tolist()
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()

    return watched(script, folder), read


def test_copies_of_one_generator_are_found_and_do_repeat(tmp_path: Path) -> None:
    evidence, (first, second) = trained(Subset(Noisy(), range(8)), tmp_path, num_workers=2)
    assert first[:2] == first[2:4]  # the reference: what two workers drew
    assert first == second
    (finding,) = found("D116", evidence)
    assert finding.standing is Standing.SUSPECTED
    assert "all 2 workers draw the same" in finding.message
    assert "every pass repeats" in finding.message
    assert "self.dataset.rng" in finding.message
    assert finding.location is not None
    assert finding.location.file.endswith("test_d116.py")


def test_generators_that_are_made_in_the_worker_do_not_repeat(tmp_path: Path) -> None:
    evidence, (first, second) = trained(Renewed(), tmp_path, num_workers=2)
    assert len({*first, *second}) == 16
    assert found("D116", evidence) == []


def test_without_workers_there_is_one_generator(tmp_path: Path) -> None:
    evidence, (first, second) = trained(Noisy(), tmp_path)
    assert len({*first, *second}) == 16
    assert found("D116", evidence) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_workers": 1}, "every pass repeats"),
        ({"num_workers": 1, "persistent_workers": True}, ""),
        ({"num_workers": 2, "worker_init_fn": lambda number: None}, ""),
    ],
    ids=["one worker, started anew", "one worker that lives on", "a function prepares the workers"],
)
def test_what_repeats_depends_on_the_workers(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    evidence, (first, second) = trained(Noisy(), tmp_path, **options)
    findings = found("D116", evidence)
    assert bool(findings) is bool(said)
    assert not findings or said in findings[0].message
    assert not findings or (first == second and "workers draw" not in findings[0].message)


class Shift:
    def __init__(self, generator: Any, renewed: bool = False) -> None:
        self.generator, self.renewed = generator, renewed

    def __call__(self, value: float) -> float:
        return value + self.amount()

    def amount(self) -> float:
        return float(torch.rand((), generator=self.generator))


class SeededShift(Shift):
    def amount(self) -> float:
        self.generator.manual_seed(torch.initial_seed())
        return super().amount()


class Chain:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __call__(self, value: float) -> float:
        for part in self.parts:
            value = part(value)
        return value


class Transformed(Noisy):
    """The transform draws; the data set's own generator only made the labels."""

    def __init__(self, transform: Callable[[float], float]) -> None:
        super().__init__()
        self.labels = self.rng.integers(0, 2, 8)
        self.transform = transform

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), self.transform(float(self.labels[index])))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (Noisy(), ["self.rng"]),
        (Renewed(), []),
        (Transformed(float), []),
        (Transformed(Shift(torch.Generator())), ["self.transform.generator"]),
        (Transformed(Chain(float, Shift(random.Random(0)))), ["self.transform.parts[1].generator"]),
        (Transformed(Chain(SeededShift(torch.Generator()))), []),
        (Transformed(Shift(random.SystemRandom())), []),
        ([1, 2, 3], []),
        (torch.utils.data.TensorDataset(torch.ones(2)), []),
    ],
    ids=["own", "made anew", "only at first", "transform", "in a chain", "seeded", "of the system", "list", "library"],
)
def test_which_generators_are_drawn_from(data: Any, names: list[str]) -> None:
    assert [held.name for held in generators(data) if not held.renewed] == names
