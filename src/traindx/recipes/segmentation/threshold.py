"""The foreground threshold, chosen on validation cases."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.recipes.segmentation.labels import IGNORE

THRESHOLDS: tuple[float | None, ...] = (None, *(round(0.2 + 0.05 * k, 2) for k in range(13)))
"""Candidates: the likeliest class (None), and p(foreground) from .2 to .8."""

MARGIN = 0.002
"""Mean Dice by which a threshold must beat the likeliest class: less is noise of a few validation cases."""


class OverlapCounts:
    """Dice of each case and class at each candidate threshold.

    Args:
        classes: Number of classes, background included.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._dice: list[NDArray[np.float64]] = []

    def add(self, p: Tensor, label: Tensor, labelled: Tensor) -> None:
        """Add a case.

        Args:
            p: Probabilities ``(classes, D, H, W)``.
            label: Class indices ``(D, H, W)``, -1 for *ignore*.
            labelled: Shape ``(classes - 1,)``; classes that were not looked for are left out.
        """
        seen = label != IGNORE
        truth = label[seen].long()
        values = p[:, seen]
        foreground, best, likeliest = 1 - values[0], values[1:].argmax(0) + 1, values.argmax(0)
        table = np.full((len(THRESHOLDS), self.classes - 1), np.nan)
        for row, threshold in enumerate(THRESHOLDS):
            predicted = likeliest if threshold is None else torch.where(foreground >= threshold, best, 0)
            for index in range(1, self.classes):
                if not bool(labelled[index - 1]):
                    continue
                a, b = predicted == index, truth == index
                size = int(a.sum()) + int(b.sum())
                if size:
                    table[row, index - 1] = 2 * int((a & b).sum()) / size
        self._dice.append(table)

    def dice(self, threshold: float | None) -> list[float]:
        """Mean Dice of each class over cases; NaN for a class that no case has."""
        if not self._dice:
            return [float("nan")] * (self.classes - 1)
        rows = np.stack(self._dice)[:, THRESHOLDS.index(threshold)]
        return [float(np.nanmean(c)) if np.isfinite(c).any() else float("nan") for c in rows.T]

    def mean(self, threshold: float | None) -> float:
        """Mean Dice over classes; 0 where no class has one."""
        values = np.array(self.dice(threshold))
        return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0

    def best(self) -> tuple[float, float | None]:
        """Mean Dice over classes, and its threshold: the likeliest class unless one is clearly better."""
        scores = [self.mean(threshold) for threshold in THRESHOLDS]
        winner = int(np.argmax(scores))
        if scores[winner] - scores[0] < MARGIN:
            winner = 0
        return scores[winner], THRESHOLDS[winner]
