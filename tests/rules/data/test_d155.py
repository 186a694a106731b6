"""D155: what evaluation asks for is not what training shows, where data lie by class and are cut as they lie."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.observed_items import ClassesAsked
from traindx.finding import Finding, Standing
from traindx.watch.collectors import class_shares
from watch.inside import found, watched

NAMES = "def evaluate(model, labels): return 1"


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken(monkeypatch, NAMES)


def spoken(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """The program reads so; what else the tests have imported is not of it."""
    monkeypatch.setattr(class_shares, "own_sources", lambda: {"train.py": ast.parse(source)})


def recordings(classes: int, each: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted by class."""
    labels = torch.arange(classes).repeat_interleave(each)
    return torch.randn(len(labels), 8) + labels[:, None], labels


def with_loaders(order: Any, classes: int, batch: int = 20) -> None:
    items, labels = recordings(classes)
    cut = len(labels) * 4 // 5
    train_index, valid_index = order[:cut], order[cut:]
    train = DataLoader(TensorDataset(items[train_index], labels[train_index]), batch, shuffle=True)
    valid = DataLoader(TensorDataset(items[valid_index], labels[valid_index]), batch)
    model = nn.Linear(8, classes)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            np.mean([(model(x).argmax(1) == y).float().mean().item() for x, y in valid])


def by_hand(order: Any, classes: int, with_loss: bool = True) -> None:
    items, labels = recordings(classes)
    cut = len(labels) * 4 // 5
    train_index, valid_index = order[:cut], order[cut:]
    model = nn.Linear(8, classes)
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    for _ in range(3):
        for batch in torch.as_tensor(train_index)[torch.randperm(cut)].split(16):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(items[batch]), labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            logits = model(items[valid_index])
            if with_loss:
                F.cross_entropy(logits, labels[valid_index]).item()
            (logits.max(1)[1] == labels[valid_index]).float().mean().item()
        model.train()


def told(script: Any, folder: Path) -> tuple[list[Finding], Evidence]:
    evidence = watched(script, folder)
    return found("D155", evidence), evidence


@pytest.mark.parametrize("how", ["loaders", "by hand", "without a loss"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_data_that_are_cut_as_they_lie(how: str, shuffled: bool, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(600) if shuffled else np.arange(600)
    if how == "loaders":
        findings, evidence = told(lambda: with_loaders(order, 10), tmp_path)
    else:
        findings, evidence = told(lambda: by_hand(order, 10, how == "by hand"), tmp_path)
    (record,) = evidence.of(ClassesAsked)
    assert len(record.evaluation) == (10 if shuffled else 2)  # the reference: what was cut off
    assert len(findings) == (not shuffled)
    for finding in findings:
        assert finding.standing is Standing.SUSPECTED
        assert "100% of the" in finding.message
        assert "class 8, 9, and none of the" in finding.message
        assert finding.location is not None
        line = Path(__file__).read_text().splitlines()[(finding.location.line or 0) - 1]
        assert "train_index, valid_index = order[:cut], order[cut:]" in line


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_evaluation_of_one_class(shuffled: bool, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(300) if shuffled else np.arange(300)

    def script() -> None:
        items, labels = recordings(2, 150)
        train = DataLoader(TensorDataset(items[order[:240]], labels[order[:240]]), 20, shuffle=True)
        valid = DataLoader(TensorDataset(items[order[240:]], labels[order[240:]]), 20)
        model = nn.Linear(8, 2)
        for _ in range(2):
            for x, y in train:
                F.cross_entropy(model(x), y).backward()
            for x, y in valid:
                with torch.no_grad():
                    F.cross_entropy(model(x), y)

    findings, _ = told(script, tmp_path)
    assert len(findings) == (not shuffled)
    for finding in findings:
        assert "60 of the 60 items" in finding.message
        assert "what always answers 1" in finding.message


def test_new_classes_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoken(monkeypatch, "'''Recognition of unseen classes from their attributes.'''")
    findings, evidence = told(lambda: with_loaders(np.arange(600), 10), tmp_path)
    assert evidence.of(ClassesAsked)[0].on_purpose == "unseen"
    assert findings == []


def test_positions_in_a_batch_are_no_classes(tmp_path: Path) -> None:
    """Near miss: a contrastive loss over pairs, with larger batches in evaluation than in training."""

    def script() -> None:
        model = nn.Linear(8, 4)
        for step in range(24):
            x = torch.randn(32 if step % 8 < 7 else 64, 8)
            with torch.set_grad_enabled(step % 8 < 7):
                z = F.normalize(model(x), dim=1)
                loss = F.cross_entropy(z @ z.T / 0.1, torch.arange(len(x)))
            if loss.requires_grad:
                loss.backward()

    assert told(script, tmp_path)[0] == []


def test_a_rare_class_is_not_unseen(tmp_path: Path) -> None:
    """Near miss: a few items of a class that chance kept out of the training."""

    def script() -> None:
        labels = torch.cat([torch.randint(0, 3, (600,)), torch.tensor([3] * 4)])
        items = torch.randn(len(labels), 8)
        train = DataLoader(TensorDataset(items[:480], labels[:480]), 20, shuffle=True)
        valid = DataLoader(TensorDataset(items[480:], labels[480:]), 20)
        model = nn.Linear(8, 4)
        for _ in range(2):
            for x, y in train:
                F.cross_entropy(model(x), y).backward()
            for x, y in valid:
                with torch.no_grad():
                    F.cross_entropy(model(x), y)

    findings, evidence = told(script, tmp_path)
    assert evidence.of(ClassesAsked)
    assert findings == []
