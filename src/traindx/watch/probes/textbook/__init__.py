"""What functions do by definition, one file a subject: importing one enters its properties into the textbook."""

from __future__ import annotations

from traindx.watch.probes.textbook import (
    adversarial_losses,
    categorical,
    class_losses,
    divergences,
    embedding_losses,
    regression_losses,
    survival,
)
from traindx.watch.probes.textbook.base import ENTRIES, any_figure, any_relevant, tried

SUBJECTS = (adversarial_losses, categorical, class_losses, divergences, embedding_losses, regression_losses, survival)

__all__ = ["ENTRIES", "SUBJECTS", "any_figure", "any_relevant", "tried"]
