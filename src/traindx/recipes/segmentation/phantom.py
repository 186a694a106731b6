"""Synthetic volumes for examinations and tests: ellipsoids in noise, of which a part is not labelled.

They need no file, are drawn from a seed, and are learnt in seconds. They stand for nothing anatomical.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from traindx.recipes.segmentation.labels import LabelMeaning
from traindx.recipes.segmentation.sources import CaseRef, RawCase

PHANTOM_LABELS = LabelMeaning(classes={"organ": (1,)}, ignore=(2,))
"""Meaning of the label values of a phantom: 2 is not labelled."""

NESTED_LABELS = LabelMeaning(classes={"shell": (1,), "core": (2,)}, ignore=(3,))
"""Meaning of the label values of a nested phantom: 3 is not labelled."""


def phantom(
    seed: int,
    *,
    shape: Sequence[int] = (24, 24, 22),
    unlabelled: float = 0.0,
    noise: float = 0.4,
    nested: bool = False,
) -> RawCase:
    """One phantom.

    Args:
        seed: Determines everything.
        shape: Size in voxels of 1 mm.
        unlabelled: Share of the volume, in slabs along the first axis, that is marked as not labelled.
        noise: Standard deviation of smooth noise; half of it is added as white noise. The organ's contrast is 1.
        nested: The organ has a core of contrast 2 that is a class of its own.
    """
    rng = np.random.default_rng(seed)
    size = np.array(shape, dtype=float)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).astype(float)
    centre = size / 2 + rng.uniform(-0.1, 0.1, 3) * size
    radii = size * rng.uniform(0.24, 0.34, 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    tilt = np.linalg.qr(np.eye(3) + 0.25 * turn)[0]
    distance = np.linalg.norm((grid - centre) @ tilt / radii, axis=-1)
    core_centre = centre + tilt @ (radii * rng.uniform(-0.25, 0.25, 3))
    core = np.linalg.norm((grid - core_centre) @ tilt / (radii * rng.uniform(0.4, 0.55)), axis=-1) < 1
    label = (distance < 1).astype(np.uint8)
    if nested:
        label[core] = 2
    rough = rng.normal(size=shape)
    smooth = gaussian_filter(rng.normal(size=shape), 1.0)
    image = np.choose(label, (0.0, 1.0, 2.0)) + noise * (0.5 * rough + smooth / smooth.std())
    gain, offset = rng.uniform(50, 2000), rng.uniform(0, 500)  # units differ between cases, as in MR
    if unlabelled > 0:
        slabs = np.zeros(shape[0], dtype=bool)
        slabs[rng.permutation(shape[0])[: round(unlabelled * shape[0])]] = True
        label = np.where(slabs[:, None, None], np.uint8(3 if nested else 2), label)
    return RawCase((gain * image + offset).astype(np.float32)[None], label, np.eye(4))


def phantom_cases(
    count: int,
    *,
    first_seed: int = 0,
    shape: Sequence[int] = (24, 24, 22),
    unlabelled: float = 0.0,
    nested: bool = False,
) -> list[CaseRef]:
    """Several phantoms as cases of a data set."""
    make = partial(phantom, shape=shape, unlabelled=unlabelled, nested=nested)
    return [
        CaseRef(f"phantom{seed}", f"phantom{seed}", partial(make, seed))
        for seed in range(first_seed, first_seed + count)
    ]
