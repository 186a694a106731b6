"""Removing specks and filling holes, class by class; done only if it helps on validation cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from traindx.finding import Frozen


class Cleanup(Frozen):
    """What is done to a class map after thresholding.

    Attributes:
        largest: Keep only the largest component of each class.
        min_voxels: Remove components smaller than this.
        fill_holes: Fill background that a class encloses.
    """

    largest: bool = False
    min_voxels: int = 0
    fill_holes: bool = False

    @property
    def does_something(self) -> bool:
        """False for the identity."""
        return self.largest or self.min_voxels > 0 or self.fill_holes


CANDIDATES: tuple[Cleanup, ...] = (
    Cleanup(),
    Cleanup(min_voxels=10),
    Cleanup(largest=True),
    Cleanup(fill_holes=True),
    Cleanup(largest=True, fill_holes=True),
)


EARNED_DICE = 1e-3
"""Mean Dice that a clean-up must gain on validation cases to be worth it: less is noise on a handful of them."""

EARNED_HD95 = 0.95
"""Or the share of HD95 that it must leave, at no cost in Dice: a speck far away hardly shows in Dice and is a stray
surface all the same."""


def better(dice: float, hd95_mm: float, best_dice: float, best_hd95_mm: float) -> bool:
    """Whether a clean-up earns its place over the best so far, which does less."""
    if dice > best_dice + EARNED_DICE:
        return True
    return dice >= best_dice and hd95_mm < EARNED_HD95 * best_hd95_mm


def clean(mask: NDArray[np.uint8], how: Cleanup) -> NDArray[np.uint8]:
    """Clean a class map ``(D, H, W)``. Components touch by faces; a hole is filled with the class around it."""
    out = mask.copy()
    faces = ndimage.generate_binary_structure(3, 1)
    for index in [int(value) for value in np.unique(mask) if value]:
        part = out == index
        if how.largest or how.min_voxels:
            labels, count = ndimage.label(part, structure=faces)
            sizes = np.bincount(labels.ravel(), minlength=count + 1)
            sizes[0] = 0
            # of equally large ones, the first
            keep = np.arange(count + 1) == int(np.argmax(sizes)) if how.largest else sizes >= how.min_voxels
            keep[0] = False
            kept = keep[labels]
            out[part & ~kept] = 0
            part = kept
        if how.fill_holes:
            holes = ndimage.binary_fill_holes(part, structure=faces) & (out == 0)
            out[holes] = index
    return out
