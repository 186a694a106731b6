"""The best score of each stage, kept apart: stages are judged by different figures on different scales."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class BestScores:
    """The best score by stage.

    Attributes:
        scores: Best score of each stage so far.
    """

    scores: dict[str, float] = field(default_factory=dict)

    def offer(self, stage: str, score: float) -> bool:
        """True if the score is the best of its stage so far, and then it is kept; NaN never is."""
        better = math.isfinite(score) and score > self.scores.get(stage, -math.inf)
        if better:
            self.scores[stage] = score
        return better
