"""Scores by their definitions, in every way in which they are averaged: what does a number agree with?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SAME = {"F1": "Dice", "sensitivity": "recall"}
OWN, OTHER = 0.02, 0.003  # a smoothing constant may move a score by the first; the second is agreement


def other_meaning(torch: Any, score: str, value: float, predicted: Any, known: Any, classes: int) -> str:
    """Which other score a number is by definition, where it is not the one that it is named for; "" where none is.

    Args:
        torch: The script's torch.
        score: What it is named for.
        value: The number, for predictions with mistakes that no two scores count alike.
        predicted: Those predictions, as classes.
        known: The labels.
        classes: Classes.
    """
    given = definitions(torch, predicted, known, classes)
    own = given.get(SAME.get(score, score))
    if own is None or any(abs(value - one) < OWN for one in own):
        return ""
    agree = [name for name, values in given.items() if any(abs(value - one) < OTHER for one in values)]
    return agree[0] if len(agree) == 1 else ""


def definitions(torch: Any, predicted: Any, known: Any, classes: int) -> dict[str, list[float]]:
    """Values of every score: of class 1 of two, of all classes and of all but the first, pooled and as a mean."""
    columns = known.dim() == 2 and known.shape[1] > 1
    sets = [(predicted, known)]
    if known.dim() > 2:
        sets += list(zip(predicted, known, strict=True))
    found: dict[str, list[list[float]]] = {}
    for one, other in sets:
        for name, values in _of(_counts(torch, one, other, classes, columns), classes, columns).items():
            found.setdefault(name, []).append(values)
    return {
        name: [*each[0], *(sum(one) / len(one) for one in zip(*each[1:], strict=True))] if len(each) > 1 else each[0]
        for name, each in found.items()
    }


def _counts(torch: Any, predicted: Any, known: Any, classes: int, columns: bool) -> Any:
    """True and false positives, false and true negatives of every class (or column): (classes, 4)."""
    rows = []
    for c in range(known.shape[1] if columns else classes):
        a, b = (predicted[:, c] == 1, known[:, c] == 1) if columns else (predicted == c, known == c)
        rows.append([float(one.sum()) for one in (a & b, a & ~b, ~a & b, ~a & ~b)])
    return torch.tensor(rows, dtype=torch.float64)


def _of(counts: Any, classes: int, columns: bool) -> dict[str, list[float]]:
    every = [counts] if columns else [counts, counts[1:]]

    def values(upper: Any, lower: Any) -> Iterator[float]:
        for some in every:
            yield float((upper(*some.T) / lower(*some.T).clamp(min=1e-9)).mean())
            pooled = some.sum(0)
            yield float(upper(*pooled) / lower(*pooled).clamp(min=1e-9))

    return {
        "IoU": list(values(lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fp + fn)),
        "Dice": list(values(lambda tp, fp, fn, tn: 2 * tp, lambda tp, fp, fn, tn: 2 * tp + fp + fn)),
        "precision": list(values(lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fp)),
        "recall": list(values(lambda tp, fp, fn, tn: tp, lambda tp, fp, fn, tn: tp + fn)),
        "specificity": list(values(lambda tp, fp, fn, tn: tn, lambda tp, fp, fn, tn: tn + fp)),
    }
