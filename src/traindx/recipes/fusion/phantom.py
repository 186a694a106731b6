"""A limb that nobody has: registered CT and MR with a lesion, for checkouts without data and for examinations.

Skin and fat around muscle compartments, one or two bones with cortex and marrow, vessels, and a lesion that CT barely
shows and MR does. T1-like MR: fat and marrow bright, muscle dark, cortex without signal, a bias field and Rician noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE = (12, 72, 72)
"""Voxels along D, H, W, of about 3 x 2 x 2 mm."""


def phantom(
    number: int, shape: tuple[int, int, int] = SHAPE
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """CT in HU, MR intensities, and the lesion of an imaginary patient.

    Args:
        number: Which patient.
        shape: D, H, W.
    """
    draw = np.random.default_rng([number, 20])
    d, h, w = shape
    z, y, x = np.meshgrid(np.linspace(-1, 1, d), np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    x, y = x - 0.05 * draw.normal() * z, y - 0.05 * draw.normal() * z
    wobble = ndimage.gaussian_filter(draw.normal(size=shape), (3, 4, 4))
    wobble *= 0.05 / wobble.std()
    limb = np.hypot(x / draw.uniform(0.7, 0.9), y / draw.uniform(0.7, 0.9)) + wobble
    body, muscle = limb < 1, limb < draw.uniform(0.78, 0.88)
    hu, mr = np.full(shape, -1000.0), np.zeros(shape)
    hu[body], mr[body] = -100, 900
    hu[muscle], mr[muscle] = 55, 330
    septa = np.abs(np.sin(4 * np.arctan2(y, x) + 6 * wobble)) < 0.12
    hu[muscle & septa], mr[muscle & septa] = -60, 750
    lesion = np.zeros(shape, dtype=bool)
    angle = draw.uniform(0, 2 * np.pi)
    for bone in range(int(draw.integers(1, 3))):
        turn = angle + np.pi * (0.75 + 0.5 * bone)
        cx, cy, radius = 0.3 * np.cos(turn), 0.3 * np.sin(turn), draw.uniform(0.13, 0.2)
        r = np.hypot(x - cx, y - cy) + 0.4 * wobble
        cortex, marrow = r < radius, r < 0.62 * radius
        hu[cortex], mr[cortex] = draw.uniform(1000, 1200), 40
        texture = ndimage.gaussian_filter(draw.normal(size=shape), (1, 1, 1))
        hu[marrow], mr[marrow] = (120 + 400 * texture / texture.std())[marrow].clip(-80, 700), 820
    size = draw.uniform(0.16, 0.28)
    cx, cy = 0.45 * np.cos(angle), 0.45 * np.sin(angle)
    lesion = (np.hypot(np.hypot(x - cx, y - cy), 0.6 * z) + wobble < size) & body & (hu < 150)
    hu[lesion], mr[lesion] = 40, draw.uniform(430, 560)
    necrosis = lesion & (np.hypot(x - cx, y - cy) + wobble < 0.4 * size)
    mr[necrosis] = 240
    hu = ndimage.gaussian_filter(hu, (0, 0.5, 0.5)) + 12 * draw.normal(size=shape)
    bias = 1 + 0.15 * (draw.normal() * x + draw.normal() * y)
    signal = ndimage.gaussian_filter(mr, (0, 0.5, 0.5)) * bias
    mr = np.hypot(signal + 10 * draw.normal(size=shape), 10 * draw.normal(size=shape))
    return hu.clip(-1024, 3071).astype(np.float32), mr.astype(np.float32), lesion
