"""Boxes of concepts: drawn on the network's map so that none can vanish, and moved together with their image.

The boxes of an image are an array ``(n, 5)``: index of the concept, then x0, y0, x1, y1 relative to the image
(0 is the left or upper edge, 1 the right or lower one).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Boxes = NDArray[np.float32]
NO_BOXES: Boxes = np.zeros((0, 5), np.float32)


def covered(boxes: Boxes, concepts: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Share of every cell of a map that the boxes of each concept cover; the union of boxes of one concept.

    A box of any positive area inside the image gives a positive cell, however coarse the map: the area is exact and
    not a test of cell centres. Where boxes of one concept overlap inside a cell, the union's share is bounded below
    by the largest of them; that bound is what is returned.

    Args:
        boxes: ``(n, 5)``.
        concepts: Number of concepts K.
        size: Rows and columns of the map.

    Returns:
        Shares in [0, 1], shape ``(K, rows, columns)``.
    """
    rows, columns = size
    out = np.zeros((concepts, rows, columns), np.float32)
    for concept, x0, y0, x1, y1 in boxes:
        share = np.outer(_overlap(y0, y1, rows), _overlap(x0, x1, columns))
        out[int(concept)] = np.maximum(out[int(concept)], share)
    return out


def _overlap(low: float, high: float, cells: int) -> NDArray[np.float32]:
    """Share of each of ``cells`` equal cells of [0, 1] that lies between two bounds."""
    edges = np.arange(cells + 1, dtype=np.float64) / cells
    shared = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
    shares: NDArray[np.float32] = (np.clip(shared, 0, None) * cells).astype(np.float32)
    return shares


def masks(boxes: Sequence[Boxes], concepts: int, size: tuple[int, int]) -> Tensor:
    """:func:`covered` for a batch, shape ``(B, K, rows, columns)``."""
    return torch.from_numpy(np.stack([covered(one, concepts, size) for one in boxes]))


def moved(boxes: Boxes, matrix: NDArray[np.floating]) -> Boxes:
    """Boxes under an affine map of the image, as the bounding boxes of their mapped corners, cut at the image.

    Args:
        boxes: ``(n, 5)``.
        matrix: ``(2, 3)``: where a point (x, y, 1) of the old image lies in the new one, in relative coordinates.

    Returns:
        ``(m, 5)`` with ``m <= n``: boxes that left the image are gone.
    """
    if not len(boxes):
        return boxes
    x0, y0, x1, y1 = boxes[:, 1], boxes[:, 2], boxes[:, 3], boxes[:, 4]
    corners = np.stack([np.stack([x, y, np.ones_like(x)]) for x in (x0, x1) for y in (y0, y1)])  # (4, 3, n)
    there = np.einsum("ij,cjn->cin", matrix, corners)
    low, high = there.min(axis=0).clip(0, 1), there.max(axis=0).clip(0, 1)
    out = np.column_stack([boxes[:, 0], low[0], low[1], high[0], high[1]]).astype(np.float32)
    return out[(out[:, 3] > out[:, 1]) & (out[:, 4] > out[:, 2])]


def union_area(boxes: Boxes, concept: int, resolution: int = 256) -> float:
    """Share of the image that the boxes of a concept cover together: the chance of a blind pointing finger."""
    mine = boxes[boxes[:, 0] == concept]
    return float(covered(mine, concept + 1, (resolution, resolution))[concept].mean()) if len(mine) else 0.0
