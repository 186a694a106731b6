"""Two collections as one set: each is asked about the findings of both, and what that is worth is not said here.

What a collection holds and where its images were made go together. A network that is trained on both can tell a finding
from its absence by telling the collections apart: see ``benchmarks/results/concepts-sources.md`` before such negatives
are used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.concepts.radiographs import Radiographs


def joined(first: Radiographs, second: Radiographs, *, absent: bool = True) -> Radiographs:
    """Two sets as one, with the concepts of both; the task is which set an image is of.

    Args:
        first: Grey images.
        second: Grey images of the same shape, of other patients; their names and patients get the name of the set.
        absent: A concept of the one set is absent (0) in images of the other; otherwise it is not known (NaN) there.

    Raises:
        ValueError: The images have different shapes.
    """
    if first.images.shape[1:] != second.images.shape[1:]:
        raise ValueError(f"images of {first.images.shape[1:]} and {second.images.shape[1:]} are not one set")
    elsewhere = 0.0 if absent else float("nan")
    sets, count = (first, second), len(first.concepts)
    labels = np.full((len(first) + len(second), count + len(second.concepts)), elsewhere, np.float32)
    labels[: len(first), :count], labels[len(first) :, count:] = first.labels, second.labels
    return Radiographs(
        f"{first.name}+{second.name}",
        np.concatenate([one.images for one in sets]),
        tuple(f"{one.name}/{name}" for one in sets for name in one.ids),
        tuple(f"{one.name}/{patient}" for one in sets for patient in one.patients),
        (*first.concepts, *second.concepts),
        labels,
        (*first.boxes, *(_shifted(boxes, count) for boxes in second.boxes)),
        (first.name, second.name),
        np.repeat(np.arange(2, dtype=np.int64), [len(first), len(second)]),
    )


def source_of(data: Radiographs) -> NDArray[np.int64]:
    """0 for images of the first of two joined sets, 1 for those of the second, ``(N,)``."""
    first = data.name.partition("+")[0]
    return np.array([not name.startswith(f"{first}/") for name in data.ids], np.int64)


def _shifted(boxes: Boxes, by: int) -> Boxes:
    """Boxes whose concept has a later number."""
    moved = boxes.copy()
    moved[:, 0] += by
    return moved
