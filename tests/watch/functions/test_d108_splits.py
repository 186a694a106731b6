"""Functions that divide a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.evidence.observed_items import SharedItems
from traindx.finding import Location, Standing

SOURCE = """
import numpy as np
import torch
from torch.utils.data import Subset, TensorDataset

class Splitter:
    def __init__(self, seed):
        self.seed = seed

    def halves(self, n, share):
        order = np.random.default_rng(self.seed).permutation(n)
        return order[:int(share * n)], order[int(share * n):]

    def train_valid_test(self, n):
        train, rest = self.halves(n, 0.7)
        valid, test = self.halves(len(rest), 0.5)
        return {parts}

def main():
    data = TensorDataset(torch.randn(100, 3))
    train, valid, test = Splitter(1).train_valid_test(len(data))
    stop()
"""


def test_positions_that_are_taken_for_rows(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(parts="train, valid, test"))
    (finding,) = faulty.found("D108")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == faulty.line("return train, valid")
    assert finding.numbers["items"] == 15


def test_parts_without_common_items(script: Callable[[str], Any]) -> None:
    assert not script(SOURCE.format(parts="train, rest[valid], rest[test]")).found("D108")


def test_the_leak_that_was_seen_names_the_function(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(parts="train, valid, test"))
    made = Location(file="train.py", line=99)
    (finding,) = faulty.found("D108", SharedItems(dataset="D", contents=40, shared=20, training=70, where=made))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == faulty.line("return train, valid")
    healthy = script(SOURCE.format(parts="train, rest[valid], rest[test]"))
    (finding,) = healthy.found("D108", SharedItems(dataset="D", contents=40, shared=20, training=70, where=made))
    assert finding.location == made


FORMS = """
import torch
from torch.utils.data import Subset, TensorDataset, DataLoader

def {name}(data):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    {body}

def main():
    data = TensorDataset(torch.randn(60, 3))
    made = {name}(data)
    stop()
"""


@pytest.mark.parametrize(
    ("name", "body", "shared"),
    [
        ("split", "train, val = Subset(data, order[:40]), Subset(data, order[30:]); return train, val", 10),
        ("split", 'return {"train": order[:40], "val": order[40:]}', 0),
        ("make_files", 'return {"training": ["a", "b", "c", "d", "e"], "validation": ["e", "f", "g", "h"]}', 1),
        (
            "loaders",
            "train, test = DataLoader(Subset(data, order)), DataLoader(Subset(data, order[:20])); return train, test",
            20,
        ),
        ("match", "labelled, unlabelled = order[:10], order; return labelled, unlabelled", 0),  # so it is meant
        ("split", "x_train, y_train = order[:40], order[:40]; return x_train, y_train", 0),  # of one side
        ("split", "train_labels, val_labels = order[:40], order[:20]; return train_labels, val_labels", 0),
    ],
)
def test_parts_in_other_forms(script: Callable[[str], Any], name: str, body: str, shared: int) -> None:
    found = script(FORMS.format(name=name, body=body)).found("D108")
    assert [one.numbers["shared"] for one in found] == ([shared] if shared else [])
