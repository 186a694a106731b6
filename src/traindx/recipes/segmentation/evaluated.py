"""What an evaluation leaves behind: the scores, and the cases that are shown on its page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from traindx.finding import Frozen
from traindx.recipes.kit.estimate import Estimate
from traindx.recipes.segmentation.metrics import NSD_TOLERANCE_MM, CaseScores


class Evaluation(Frozen):
    """All scores of an evaluation.

    Attributes:
        names: Class names.
        cases: Scores by case.
        summary: Intervals by class (and ``"mean"``) and score.
        baselines: Mean Dice of trivial predictors, with interval.
        left_out: Cases that were not scored, and why.
        tolerance_mm: Tolerance of the surface Dice.
        settings: How the masks were made, for the reader.
    """

    names: tuple[str, ...]
    cases: tuple[CaseScores, ...]
    summary: dict[str, dict[str, Estimate]]
    baselines: dict[str, Estimate] = Field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    tolerance_mm: float = NSD_TOLERANCE_MM
    settings: str = ""


@dataclass
class Scored:
    """A case kept for the page: image, reference and prediction on the grid of the file."""

    scores: CaseScores
    image: NDArray[np.float32]
    reference: NDArray[np.int8]
    predicted: NDArray[np.uint8]
