"""A step that reads from two loaders: both feed the training, and a loader that is looked into beside it does not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence.observed_items import ItemsSeen
from traindx.evidence.observed_state import LoaderSeen
from watch.inside import found, watched


def data(count: int, width: int = 64) -> TensorDataset:
    return TensorDataset(torch.randn(count, width), torch.randn(count, 1))


def trained(folder: Path, peeks: bool) -> list[bool]:
    """Whether labelled, unlabelled and validation loader train, for two that are read in one step."""

    def script() -> None:
        torch.manual_seed(0)
        labelled, unlabelled = DataLoader(data(48), 8, shuffle=True), DataLoader(data(96), 16, shuffle=True)
        validation = DataLoader(data(32), 16)
        net = nn.Linear(64, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for _ in range(2):
            for (x, y), (u, _) in zip(labelled, unlabelled, strict=True):
                optimizer.zero_grad()
                (((net(x) - y) ** 2).mean() + net(u).pow(2).mean()).backward()
                optimizer.step()
            if peeks:
                next(iter(validation))
            for x, _ in validation:  # without no_grad, as many do
                net(x)

    evidence = watched(script, folder)
    return [one.trains for one in evidence.of(LoaderSeen)]


def test_both_loaders_of_a_step_train_and_that_of_validation_does_not(tmp_path: Path) -> None:
    assert trained(tmp_path, peeks=False) == [True, True, False]


def test_a_look_into_the_validation_loader_is_no_training(tmp_path: Path) -> None:
    assert trained(tmp_path, peeks=True) == [True, True, False]


def test_items_that_share_their_larger_part_are_different_items(tmp_path: Path) -> None:
    """Hours of the day repeat after 24 items, whatever is measured in them."""

    class Hours(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __init__(self) -> None:
            self.load = torch.randn(384, 96)

        def __len__(self) -> int:
            return len(self.load)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            hours = (torch.arange(96) + index) % 24
            return self.load[index], torch.stack([torch.sin(hours / 24 * 6.283), torch.cos(hours / 24 * 6.283)], 1)

    def script() -> None:
        net = nn.Linear(96, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for load, _ in DataLoader(Hours(), 16, shuffle=True):
            optimizer.zero_grad()
            net(load).pow(2).mean().backward()
            optimizer.step()

    evidence = watched(script, tmp_path)
    (items,) = evidence.of(ItemsSeen)
    assert items.contents == items.indices > 32
    assert found("D134", evidence) == []
