"""A tiny fusion on imaginary patients, shared by the tests of this folder."""

from __future__ import annotations

import pytest
import torch

from traindx.recipes.fusion.case import make_case, system_of


@pytest.fixture(scope="session")
def case():
    return make_case(size=32, source="phantom", train=4, val=3, batch_size=4, channels=8, steps=30, head_steps=12)


@pytest.fixture(scope="session")
def system(case):
    return system_of(case)


@pytest.fixture(scope="session")
def batch(case):
    torch.manual_seed(0)
    return case.first_batches(1, "val")[0]
