"""E828: an evaluation whose items are augmented anew each time, and what looks like it and is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import ItemsSeen
from traindx.finding import Standing
from watch.inside import found, watched

Change = Callable[[Tensor], Tensor]


class Scans(Dataset):  # type: ignore[type-arg]
    """Images that differ in brightness and in form, as patients do."""

    def __init__(self, change: Change) -> None:
        generator = torch.Generator().manual_seed(0)
        forms = torch.randn(24, 1, 12, 12, generator=generator)
        self.images = (
            forms * torch.linspace(0.5, 2, 24)[:, None, None, None] + torch.linspace(0, 4, 24)[:, None, None, None]
        )
        self.change = change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(self.images[index]), index % 2


def flipped(image: Tensor) -> Tensor:
    image = image.roll(int(torch.randint(1, 11, ())), 2)
    return image.flip(1) if float(torch.rand(())) < 0.5 else image


def now_and_then(image: Tensor) -> Tensor:
    return image.flip(2) if float(torch.rand(())) < 0.5 else image


def as_it_is(image: Tensor) -> Tensor:
    return image


def noisy(image: Tensor) -> Tensor:
    return image + 0.1 * torch.randn_like(image)


def made_up(image: Tensor) -> Tensor:
    return torch.randn_like(image) * float(0.5 + torch.rand(())) + 4 * float(torch.rand(()))


def trained(training: Change, validation: Change, folder: Path, epochs: int = 5) -> Evidence:
    def script() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
        optimizer = torch.optim.SGD(net.parameters(), 1e-3)
        train = DataLoader(Scans(training), 6, shuffle=True)
        val = DataLoader(Scans(validation), 6)
        for _ in range(epochs):
            for x, y in train:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                sum(float((net(x).argmax(1) == y).float().mean()) for x, y in val)
            net.train()

    return watched(script, folder)


@pytest.mark.parametrize("epochs", [3, 5])  # after three of them nothing was written down yet while the set lived
def test_a_validation_set_with_the_transforms_of_training(epochs: int, tmp_path: Path) -> None:
    (finding,) = found("E828", trained(flipped, flipped, tmp_path, epochs))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert "val = DataLoader" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


def test_a_flip_every_other_time(tmp_path: Path) -> None:
    assert len(found("E828", trained(now_and_then, now_and_then, tmp_path))) == 1


@pytest.mark.parametrize("validation", [as_it_is, noisy, made_up])
def test_what_stays_what_is_a_little_noisy_and_what_is_new_each_time(validation: Change, tmp_path: Path) -> None:
    evidence = trained(flipped, validation, tmp_path)
    assert any(not items.trains and items.followed >= 6 for items in evidence.of(ItemsSeen))  # it was looked at
    assert not found("E828", evidence)
