"""Figures of merit of concepts, maps and prototypes, and intervals by resampling patients.

AUROC and average precision come from torchmetrics; pointing, overlap and purity are defined here. Whatever is not
defined (a concept with one class only, no box) is NaN and is left out of means, never counted as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.recipes.concepts.boxes import Boxes, covered, union_area

Floats = NDArray[np.floating]


def auroc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve of one concept; NaN labels are left out, NaN where one class is missing."""
    from torchmetrics.functional.classification import binary_auroc

    s, y = _known(scores, labels)
    return float(binary_auroc(s, y)) if 0 < int(y.sum()) < len(y) else float("nan")


def average_precision(scores: Floats, labels: Floats) -> float:
    """Average precision of one concept; a blind guess reaches its prevalence."""
    from torchmetrics.functional.classification import binary_average_precision

    s, y = _known(scores, labels)
    return float(binary_average_precision(s, y)) if int(y.sum()) > 0 else float("nan")


def _known(scores: Floats, labels: Floats) -> tuple[Tensor, Tensor]:
    keep = ~np.isnan(labels)
    # torchmetrics takes a sigmoid of scores outside [0, 1], which may merge large ones: ranks keep their order
    order = np.unique(scores[keep], return_inverse=True)[1] if keep.any() else np.zeros(0)
    top = max(int(order.max()), 1) if len(order) else 1
    return torch.from_numpy(order / top), torch.from_numpy(labels[keep].astype(np.int64))


def mean_over(figure: Callable[[Floats, Floats], float], scores: Floats, labels: Floats) -> float:
    """A figure of each concept, mean over those for which it is defined; mAP for :func:`average_precision`."""
    values = [figure(scores[:, k], labels[:, k]) for k in range(labels.shape[1])]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def f1(predicted: NDArray[np.bool_], labels: Floats) -> float:
    """F1 of one concept; NaN where it neither occurs nor is predicted."""
    keep = ~np.isnan(labels)
    truth, said = labels[keep] == 1, predicted[keep]
    both = int((truth & said).sum())
    size = int(truth.sum()) + int(said.sum())
    return 2 * both / size if size else float("nan")


def best_threshold(scores: Floats, labels: Floats) -> float:
    """The threshold with the largest F1; for validation scores only, the lowest of several equal ones."""
    keep = ~np.isnan(labels)
    candidates = np.unique(scores[keep])
    if not len(candidates):
        return 0.5
    values = [f1(scores >= one, labels) for one in candidates]
    return float(candidates[int(np.nanargmax(values))]) if not np.isnan(values).all() else 0.5


def thresholds(scores: Floats, labels: Floats) -> tuple[float, ...]:
    """:func:`best_threshold` of every concept."""
    return tuple(best_threshold(scores[:, k], labels[:, k]) for k in range(labels.shape[1]))


def f1_macro(scores: Floats, labels: Floats, at: Sequence[float]) -> float:
    """Mean F1 over concepts at thresholds that were chosen on other patients."""
    values = [f1(scores[:, k] >= at[k], labels[:, k]) for k in range(labels.shape[1])]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def balanced_accuracy(said: NDArray[np.integer], task: NDArray[np.integer]) -> float:
    """Mean over the classes that occur of the share that is said right; a constant answer reaches one over them.

    Args:
        said: Class that was said ``(N,)``.
        task: True class, -1 where it is not known ``(N,)``.
    """
    classes = [value for value in np.unique(task) if value >= 0]
    return float(np.mean([(said[task == value] == value).mean() for value in classes])) if classes else float("nan")


def pointing(maps: Floats, boxes: Sequence[Boxes]) -> Floats:
    """The pointing game (Zhang et al., ECCV 2016): does the centre of the hottest cell lie in a box of the concept?

    Args:
        maps: ``(N, K, h, w)``.
        boxes: Boxes of each image.

    Returns:
        ``(N, K)``: 1 hit, 0 miss, NaN where the image has no box of the concept. Of several hottest cells (a map that
        is flat) the share that hits.
    """
    n, concepts, rows, columns = maps.shape
    out = np.full((n, concepts), np.nan)
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    for i in range(n):
        for k in range(concepts):
            mine = boxes[i][boxes[i][:, 0] == k]
            if not len(mine):
                continue
            hot = maps[i, k] == maps[i, k].max()
            inside = np.zeros((rows, columns), bool)
            for _, x0, y0, x1, y1 in mine:
                inside |= np.outer((y >= y0) & (y <= y1), (x >= x0) & (x <= x1))
            out[i, k] = inside[hot].mean()
    return out


def chance(boxes: Sequence[Boxes], concepts: int) -> Floats:
    """Share of the image that the boxes of each concept cover: what a blind finger hits, ``(N, K)``, NaN where none."""
    out = np.full((len(boxes), concepts), np.nan)
    for i, mine in enumerate(boxes):
        for k in {int(value) for value in mine[:, 0]}:
            out[i, k] = union_area(mine, k)
    return out


def overlap(maps: Floats, boxes: Sequence[Boxes]) -> Floats:
    """Intersection over union of the hottest cells with the union of the boxes, as many cells as the boxes cover.

    The cut is set by the area and not by a threshold, so that the figure does not depend on the scale of the logits.

    Returns:
        ``(N, K)``, NaN where the image has no box of the concept.
    """
    n, concepts, rows, columns = maps.shape
    out = np.full((n, concepts), np.nan)
    for i in range(n):
        drawn = covered(boxes[i], concepts, (rows, columns))
        for k in {int(value) for value in boxes[i][:, 0]}:
            count = max(1, round(float(drawn[k].sum())))
            hot = np.zeros(rows * columns, np.float32)
            hot[np.argsort(-maps[i, k].ravel(), kind="stable")[:count]] = 1
            share = drawn[k].ravel()
            both = float(np.minimum(hot, share).sum())
            out[i, k] = both / float(np.maximum(hot, share).sum())
    return out


def purity(owner: NDArray[np.bool_], similarity: Floats, nearest: int = 5) -> Floats:
    """Prototype purity: of the patches nearest to a prototype, the share that shows its concept.

    Args:
        owner: True where a patch shows a concept, ``(N, K)``.
        similarity: Patches against prototypes ``(N, K, M)``.
        nearest: How many patches a prototype is judged by.

    Returns:
        ``(K, M)``.
    """
    _, concepts, count = similarity.shape
    out = np.zeros((concepts, count))
    for k in range(concepts):
        for m in range(count):
            near = np.argsort(-similarity[:, k, m], kind="stable")[:nearest]
            out[k, m] = owner[near, k].mean()
    return out
