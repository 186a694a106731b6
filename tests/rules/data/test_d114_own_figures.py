"""D114 where each part is standardised by its own figures: means are 0 and deviations are 1, exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import PartsStandardised
from traindx.finding import Standing
from traindx.watch.probes.own_figures import standardised, standardised_alone
from watch.inside import found, watched

RNG = np.random.default_rng(4)


class Scaler:
    def fit(self, values: Any) -> Scaler:
        self.mean, self.std = values.mean(0), values.std(0)
        return self

    def transform(self, values: Any) -> Any:
        return (values - self.mean) / self.std


class Stay(Dataset):  # type: ignore[type-arg]
    """Windows of a part of a series."""

    def __init__(self, part: Any, fitted: Any) -> None:
        self.data = torch.from_numpy(Scaler().fit(fitted).transform(part)).float()

    def __len__(self) -> int:
        return len(self.data) - 8

    def __getitem__(self, index: int) -> Any:
        return self.data[index : index + 8].flatten(), self.data[index + 8, 0]


def series(rows: int = 700, level: float = 0.0) -> Any:
    return RNG.normal([5.0 + level, -2.0, 80.0], [1.0, 0.1, 30.0], (rows, 3))


def trained(train: Any, valid: Any, folder: Path, inputs: int = 24) -> Evidence:
    def script() -> None:
        model = nn.Linear(inputs, 1)
        loader, other = DataLoader(train, 32, shuffle=True), DataLoader(valid, 32)
        for _ in range(2):
            for x, y in loader:
                F.mse_loss(model(x)[:, 0], y).backward()
            with torch.no_grad():
                for x, y in other:
                    F.mse_loss(model(x)[:, 0], y)

    return watched(script, folder, children=True)


def test_a_scaler_that_is_fitted_on_each_part(tmp_path: Path) -> None:
    train, valid = series(), series(150, 1.0)
    evidence = trained(Stay(train, train), Stay(valid, valid), tmp_path)
    (finding,) = found("D114", evidence)
    assert finding.standing is Standing.SUSPECTED
    assert "keeps 150 rows in data with mean 0 and deviation 1 over each column" in finding.message
    assert finding.location is not None
    line = Path(__file__).read_text().splitlines()[(finding.location.line or 0) - 1]
    assert "self.data = torch.from_numpy" in line


def test_one_scaler_for_both(tmp_path: Path) -> None:
    train, valid = series(), series(150, 1.0)
    evidence = trained(Stay(train, train), Stay(valid, train), tmp_path)
    assert [one.arrays for one in evidence.of(PartsStandardised)] == [1]
    assert found("D114", evidence) == []


def whole(values: Any) -> Any:
    return (values - values.mean()) / values.std(ddof=1)


def by_column(values: Any) -> Any:
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    return (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)


def by_last(values: Any) -> Any:
    axes = tuple(range(values.ndim - 1))
    return (values - values.mean(axes, keepdims=True)) / (values.std(axes, keepdims=True) + 1e-8)


def by_row(values: Any) -> Any:
    axes = tuple(range(1, values.ndim))
    return (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)


def by_subject(values: Any) -> Any:
    return np.concatenate([by_column(part) for part in np.array_split(values, 3)])


@pytest.mark.parametrize(
    ("shape", "how", "over"),
    [
        ((200, 4), by_column, "each column"),
        ((200, 4), whole, "all values"),
        ((200, 3, 6, 6), by_column, "each channel"),
        ((200, 6, 6), whole, "all values"),
        ((200, 20, 3), by_last, "each channel"),
        ((200,), whole, "each column"),
        ((200, 4), by_row, ""),
        ((200, 3, 6, 6), by_row, ""),
        ((200, 4), by_subject, ""),
        ((200, 4), lambda values: values, ""),
        ((5000, 1), lambda values: values / 40, ""),
    ],
)
def test_over_what_an_array_is_standardised(shape: tuple[int, ...], how: Callable[[Any], Any], over: str) -> None:
    """Each row, and each of some groups of rows, may be standardised alone; numbers drawn are never exactly so."""
    values = how(RNG.normal(3.0, 40.0, shape) if over or how in (by_row, by_subject) else RNG.normal(0.0, 1.0, shape))
    said = standardised(values.astype("float32"))
    assert said[:1] == ([over] if over else [])


def test_what_two_data_sets_keep() -> None:
    def kept(*arrays: Any) -> TensorDataset:
        return TensorDataset(*(torch.as_tensor(one, dtype=torch.float32) for one in arrays))

    train, valid = RNG.normal(3, 9, (300, 5)), RNG.normal(8, 9, (90, 5))
    seen = standardised_alone(torch, kept(by_column(train)), kept(by_column(valid)))
    assert seen is not None
    assert (seen.name, seen.rows, seen.rows_in_training) == ("tensors[0]", 90, 300)
    mean, std = train.mean(0), train.std(0)
    seen = standardised_alone(torch, kept((train - mean) / std), kept((valid - mean) / std))
    assert seen is not None
    assert (seen.name, seen.arrays) == ("", 1)
    one = kept(by_column(train))
    assert standardised_alone(torch, one, kept(by_column(train))) is None  # the same numbers: the training, read again
    assert standardised_alone(torch, one, torch.utils.data.Subset(one, range(50))) is None
