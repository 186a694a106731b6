"""Lengths of loaders are worked out without asking a data set of the script's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from traindx.watch.runtime.lengths import length_of

ITEMS = TensorDataset(torch.arange(50))


class Own(Dataset):
    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        raise AssertionError("its length was asked for")


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(10))

    def __len__(self) -> int:
        raise AssertionError("its length was asked for")


class Halves(Sampler):
    def __iter__(self):
        return iter(range(25))

    def __len__(self) -> int:
        raise AssertionError("its length was asked for")


KNOWN = [
    DataLoader(ITEMS, batch_size=8),
    DataLoader(ITEMS, batch_size=8, drop_last=True, shuffle=True),
    DataLoader(ITEMS, batch_size=None),
    DataLoader(list(range(7)), batch_size=2),
    DataLoader(np.zeros((9, 2)), batch_size=2),
    DataLoader(Subset(Own.__new__(Own), range(12)), batch_size=5),
    DataLoader(ConcatDataset([ITEMS, ITEMS]), batch_size=30),
    DataLoader(ITEMS, batch_size=4, sampler=RandomSampler(ITEMS, replacement=True, num_samples=22)),
    DataLoader(ITEMS, batch_size=4, sampler=WeightedRandomSampler([1.0] * 50, 18)),
    DataLoader(ITEMS, batch_size=4, sampler=SubsetRandomSampler(list(range(11)))),
    DataLoader(ITEMS, batch_sampler=BatchSampler(RandomSampler(ITEMS), 6, True)),
]


@pytest.mark.parametrize("loader", KNOWN)
def test_what_a_library_defines_is_what_len_says(loader: DataLoader) -> None:
    assert length_of(loader) == len(loader)


def test_nothing_of_the_script_is_asked() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert length_of(DataLoader(Own(), batch_size=2)) is None
        assert length_of(DataLoader(Stream(), batch_size=2)) is None
        assert length_of(DataLoader(ITEMS, sampler=Halves())) is None
        assert length_of(Own()) is None


def test_containers() -> None:
    assert [length_of(one) for one in ([1, 2], (1,), {}, range(3), {4})] == [2, 1, 0, 3, 1]
    assert length_of(object()) is None
