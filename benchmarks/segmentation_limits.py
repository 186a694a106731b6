"""What a voxel is worth in the scores of the hippocampus: the reference against itself, a little changed.

    python benchmarks/segmentation_limits.py --data $TRAINDX_DATA/hippocampus

Mean Dice over both parts and the hold-out of ``segmentation_hippocampus.py``, nothing trained. It says how far a mask
with a known error may come, and neither which errors a network makes nor how well two people agree.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, shift

from traindx.recipes.segmentation.sources import folder_cases
from traindx.recipes.segmentation.splits import split_cases

Label = NDArray[np.int8]
CLASSES = (1, 2)


def dice(one: Label, two: Label) -> float:
    """Mean Dice over the classes."""
    return float(
        np.mean([2 * ((one == k) & (two == k)).sum() / ((one == k).sum() + (two == k).sum()) for k in CLASSES])
    )


def smoothed(label: Label) -> Label:
    """Each class blurred with a standard deviation of one voxel, then the likeliest."""
    onehot = [(label == k).astype(np.float32) for k in (0, *CLASSES)]
    return np.argmax([gaussian_filter(one, 1.0, mode="nearest") for one in onehot], axis=0).astype(np.int8)


def border(label: Label) -> Label:
    """The first part grown by a voxel into the second."""
    return np.where(binary_dilation(label == CLASSES[0]) & (label == CLASSES[1]), CLASSES[0], label).astype(np.int8)


def moved(axis: int) -> Callable[[Label], Label]:
    """Moved by a voxel along an axis."""
    step = [float(axis == other) for other in range(3)]
    return lambda label: shift(label, step, order=0, mode="nearest")


def thinned(label: Label) -> Label:
    """A quarter of the voxels of the surface taken away."""
    inside = label > 0
    surface = inside & ~binary_erosion(inside)
    return np.where(surface & (np.random.default_rng(0).random(label.shape) < 0.25), 0, label).astype(np.int8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("TRAINDX_DATA", "../shared/data")) / "hippocampus"
    parser.add_argument("--data", type=Path, default=default)
    options = parser.parse_args()
    refs, _ = folder_cases(options.data)
    held_out = set(split_cases(refs, fold=0, folds=10, holdout=0.2, seed=0).test)
    labels = [raw.label for ref in refs if ref.name in held_out and (raw := ref.read()).label is not None]
    changes: dict[str, tuple[Callable[[Label], Label], ...]] = {
        "moved by a voxel along one axis": tuple(map(moved, range(3))),
        "a quarter of the voxels of its surface missing": (thinned,),
        "smoothed with a standard deviation of a voxel": (smoothed,),
        "border between the parts a voxel off": (border,),
    }
    for name, how in changes.items():
        print(f"{name:50} Dice {np.mean([dice(change(label), label) for label in labels for change in how]):.3f}")
    share = [(inside & ~binary_erosion(inside)).sum() / inside.sum() for inside in (label > 0 for label in labels)]
    print(f"{np.mean(share):.0%} of the voxels of a hippocampus lie on its surface; {len(labels)} patients")


if __name__ == "__main__":
    main()
