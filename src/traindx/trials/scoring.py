"""Scoring a trained model on the validation batches by the trial's scoring metric."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch

from traindx.core.randomness import preserved, seed_everything, seed_of
from traindx.errors import CaseError
from traindx.trials.clock import Deadline
from traindx.trials.scoring_metric import ScoringMetric, validation_batches
from traindx.trials.training import attempt, digest

if TYPE_CHECKING:
    from torch import nn

    from traindx.case import Case


@dataclass(frozen=True)
class Score:
    """Figures of one model under one case.

    Attributes:
        values: Metric by name.
        predictions: SHA-256 of all predictions in network units.
        seconds: Wall time.
    """

    values: dict[str, float] = field(default_factory=dict)
    predictions: str = ""
    seconds: float = 0.0


def score(
    case: Case,
    model: nn.Module,
    seed: int,
    scoring_metric: ScoringMetric | None = None,
    deadline: Deadline | None = None,
) -> Score:
    """Run the deployment path over the validation batches and measure it.

    The model is put into evaluation mode and back. Sampling noise is drawn from the seed and the number of the batch,
    so it is the same in every arm.

    Args:
        case: The case (with the arm's treatments) whose prediction path is used.
        model: Its trained model.
        seed: Seed of the sampling noise.
        scoring metric: How to measure; the case's own metrics by default.
        deadline: When to stop.

    Raises:
        CaseError: The user's code raised, or the prediction does not have the shape of the target.
        OutOfTime: The deadline passed.
    """
    rule = scoring_metric or ScoringMetric.of(case)
    limit = deadline or Deadline()
    begun = time.perf_counter()
    training = {module: module.training for module in model.modules()}
    predictions, truths = [], []
    with preserved(), torch.no_grad(), case.open():
        model.eval()
        try:
            for number, batch in enumerate(validation_batches(case)):
                limit.check()
                seed_everything(seed_of("score", seed, number))
                prediction = attempt("predicting", partial(case.prediction, model, batch)).detach()
                truth = attempt("reading the target", partial(rule.truth, case, batch))
                shown = attempt("decoding the prediction", partial(rule.shown, case, prediction))
                if shown.shape != truth.shape and shown.numel() != truth.numel():
                    raise CaseError(
                        f"the prediction has shape {tuple(shown.shape)} and the target {tuple(truth.shape)}",
                        expected="equal shapes",
                    )
                predictions.append((prediction, shown))
                truths.append(truth)
            values = {name: rule.measure(name, [p for _, p in predictions], truths) for name in rule.metrics}
        finally:
            for module, mode in training.items():
                module.training = mode
    return Score(values, digest(p for p, _ in predictions), time.perf_counter() - begun)
