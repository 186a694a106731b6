"""E806: samples that are in both splits."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.data.shared_samples import shared_samples
from traindx.evidence.evaluation import SharedSamples
from traindx.finding import Standing


def found(train, val):
    loaders = (
        DataLoader(TensorDataset(part), batch_size=3, shuffle=shuffle)
        for part, shuffle in ((train, True), (val, False))
    )
    train_loader, val_loader = loaders
    case = dx.Case(model=lambda: nn.Conv2d(1, 1, 3), train=train_loader, val=val_loader)
    before = torch.random.get_rng_state()
    evidence = run_check(case, shared_samples)
    assert torch.equal(before, torch.random.get_rng_state())
    return evidence, findings(evidence, "E806")


def test_one_known_patient_is_enough():
    x = images(12, 16)
    evidence, (finding,) = found(x[:9], torch.cat((x[9:], x[4:5])))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers == {"shared": 1, "val": 4, "train": 9}
    assert evidence.of(SharedSamples)[0].complete


def test_disjoint_splits_are_left_alone():
    x = images(12, 16)
    evidence, finding = found(x[:9], x[9:])
    assert finding == []
    assert evidence.of(SharedSamples)[0].val == 3


def test_empty_images_and_numbers_of_few_digits_do_not_count():
    x = images(12, 16)
    x[0] = x[10] = 0
    assert found(x[:9], x[9:])[1] == []
    labels = torch.ones(9, 4)
    assert len(found(labels, labels)[0]) == 0
