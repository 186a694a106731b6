"""What functions do by definition, one file a subject: importing one enters its properties into the textbook."""

from __future__ import annotations

from traindx.watch.probes.textbook import (
    adversarial_losses,
    boxes,
    categorical,
    class_losses,
    divergences,
    embedding_losses,
    overlaps,
    regression_losses,
    surfaces,
    survival,
)
from traindx.watch.probes.textbook.base import ENTRIES, any_figure, any_relevant, is_known, tried

SUBJECTS = (
    adversarial_losses,
    boxes,
    categorical,
    class_losses,
    divergences,
    embedding_losses,
    overlaps,
    regression_losses,
    surfaces,
    survival,
)

__all__ = ["ENTRIES", "any_figure", "any_relevant", "is_known", "tried"]
