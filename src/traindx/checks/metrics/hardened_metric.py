"""Is an overlap metric computed of masks, or of values that were never thresholded?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.metrics.predictions import predictions
from traindx.checks.metrics.reference_predictions import scorer
from traindx.checks.stand_ins import is_binary
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.deployment import HardenedScore

if TYPE_CHECKING:
    from torch import Tensor

OVERLAP = re.compile(r"(?<!soft)(?<!soft[ _-])(dice|dsc|iou|jaccard|f1)", re.IGNORECASE)


@check(
    "hardened-metric",
    "are overlap metrics computed of masks",
    needs=("predict", "target", "metrics"),
    phase="after",
    gives=(HardenedScore,),
)
def hardened_metric(ctx: CheckContext) -> None:
    """Score the predictions as they are and as masks, for metrics that are named after an overlap of sets."""
    names = [name for name in ctx.case.metrics if OVERLAP.search(name)]
    if not names:
        return
    samples = [one for one in predictions(ctx) if one.prediction.shape == one.target.shape and is_binary(one.target)]
    if not samples:
        return
    for name in names:
        _, metric = ctx.case.metric(name)
        score = scorer(ctx.case, metric)
        with undisturbed(ctx.seed), torch.no_grad():
            pairs = [(score(one.prediction, one.target), score(_hard(one.prediction), one.target)) for one in samples]
        finite = [pair for pair in pairs if pair[0] == pair[0] and pair[1] == pair[1]]
        if finite:
            ctx.record(
                HardenedScore(
                    where=defined_at(metric.function),
                    metric=name,
                    as_is=sum(pair[0] for pair in finite) / len(finite),
                    hardened=sum(pair[1] for pair in finite) / len(finite),
                    samples=len(finite),
                )
            )


def _hard(prediction: Tensor) -> Tensor:
    """The likeliest class as one-hot, or a threshold of one half for a single channel."""
    if prediction.ndim > 1 and prediction.shape[1] > 1:
        index = prediction.argmax(dim=1, keepdim=True)
        return torch.zeros_like(prediction).scatter_(1, index, 1.0)
    return (prediction >= 0.5).to(prediction)
