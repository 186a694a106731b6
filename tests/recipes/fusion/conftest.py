"""A tiny fusion on imaginary patients, shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

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


def brain(seed, size=48):
    """A bright ring in one image and texture within it in the other one, as 8-bit grey."""
    rows, columns = np.mgrid[:size, :size] - size / 2
    radius = np.hypot(rows, columns) / size
    ring = ((radius > 0.32) & (radius < 0.42)).astype(float)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.5)
    texture = (0.4 + 1.2 * noise).clip(0.05, 1) * (radius < 0.32)
    return tuple(np.rint(255 * image).astype(np.uint8) for image in (ring, texture))
