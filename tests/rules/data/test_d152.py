"""D152: a transform that is set through one of two subsets of one data set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

from traindx.finding import Finding, Standing
from watch.inside import found, watched


class Scans(Dataset):  # type: ignore[type-arg]
    def __init__(self, transform: Any = None) -> None:
        self.images, self.transform = torch.randn(24, 12), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.images[index]
        return image if self.transform is None else self.transform(image)


def noisy(image: Any) -> Any:
    return image + torch.randn_like(image)


def plain(image: Any) -> Any:
    return image


def train(training: Any, validation: Any) -> None:
    net = nn.Linear(12, 1)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    for x in DataLoader(training, 8, shuffle=True):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        for x in DataLoader(validation, 8):
            net(x)


def both() -> None:
    training, val = random_split(Scans(), [16, 8])
    training.dataset.transform = noisy  # type: ignore[attr-defined]
    val.dataset.transform = plain  # type: ignore[attr-defined]  # the last one
    train(training, val)


def one_through_validation() -> None:
    training, val = random_split(Scans(noisy), [16, 8])
    val.dataset.transform = plain  # type: ignore[attr-defined]  # it alone
    train(training, val)


def through_a_copy() -> None:
    training, val = random_split(Scans(noisy), [16, 8])
    val.dataset = copy.copy(val.dataset)
    val.dataset.transform = plain  # type: ignore[attr-defined]
    train(training, val)


def anew_for_each_pass() -> None:
    training, val = random_split(Scans(noisy), [16, 8])
    for _ in range(2):
        training.dataset.transform = noisy  # type: ignore[attr-defined]
        train(training, val)


def nothing_is_set() -> None:
    train(*random_split(Scans(noisy), [16, 8]))


def said(script: Callable[[], None], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Other scripts of this file are left out of sight."""
    import ast

    from traindx.watch.collectors import shared_bases

    def parsed(file: str) -> ast.Module:
        tree = ast.parse(Path(file).read_text())
        wanted = (script.__name__, "train")
        tree.body = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name in wanted]
        return tree

    monkeypatch.setattr(shared_bases, "parsed", parsed)
    monkeypatch.setattr(shared_bases, "users", lambda file: file == __file__)
    return found("D152", watched(script, folder))


@pytest.mark.parametrize(("script", "text"), [(both, "# the last one"), (one_through_validation, "# it alone")])
def test_one_object_behind_both(
    script: Callable[[], None], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = said(script, tmp_path, monkeypatch)
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert text in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize("script", [through_a_copy, anew_for_each_pass, nothing_is_set])
def test_two_objects_loops_and_nothing(
    script: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not said(script, tmp_path, monkeypatch)
