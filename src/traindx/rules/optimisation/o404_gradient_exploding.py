"""O404 gradient-exploding."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ClippingSeen, GradientSeries, OptimizerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import ends, finite, series_of


@rule(
    "O404",
    "gradient-exploding",
    Severity.MAJOR,
    needs=(GradientSeries, OptimizerSeen),
    looked_at=requires(
        GradientSeries,
        lambda series, limits: len(series.norms) >= 5,
        otherwise="too few gradients were watched",
    ),
    size=Threshold(100.0, "norm over all parameters; healthy mean-reduced losses stay below 30"),
    growth=Threshold(30.0, "largest over median norm: single batches of a healthy run reach 10"),
    improvement=Threshold(0.7, "last loss over first: a run that falls by a third copes with its gradients"),
)
def gradient_exploding(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradients grow by orders of magnitude, nothing limits them, and the loss does not fall.

    What it finds:
        Gradient norms above `size` that are `growth` times the usual ones, or usual ones far above it, without any
        clipping, in a run that does not learn.
    Why it stops learning:
        One huge step undoes hundreds of good ones.
    Evidence it needs:
        GradientSeries, OptimizerSeen and LossSeries (a watched script).
    How it decides:
        Largest and median norm over the watched iterations, and the last losses over the first. A run whose loss falls
        by a third or more, or that clips, is left alone. Optimisers that divide by the gradient's size are judged by
        growth only. `suspected`.
    Remedy:
        `clip_grad_norm_` before the step, a smaller learning rate, normalisation, a mean instead of a sum in the loss.
    Trial it proposes:
        None.
    Known false positives:
        A loss that is a sum over many elements has large gradients by its scale alone.
    References:
        Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.
    """
    if evidence.of(ClippingSeen):
        return
    for gradients in evidence.of(GradientSeries):
        norms = finite(gradients.norms)
        optimizer = next((one for one in evidence.of(OptimizerSeen) if one.stepped == gradients.where), None)
        series = series_of(evidence, optimizer) if optimizer is not None else None
        if len(norms) < 5 or optimizer is None or series is None or series.first_nonfinite >= 0:
            continue
        typical, largest = median(norms), max(norms)
        grows = largest > limits.size and largest > limits.growth * max(typical, min(norms))
        huge = not optimizer.adaptive and typical > 10 * limits.size
        first, last = ends(series.values)
        if not (grows or huge) or not last > limits.improvement * first:
            continue
        yield Found(
            message=f"The gradient's norm reaches {largest:.3g} (median {typical:.3g}) and nothing clips it; the loss "
            f"went from {first:.3g} to {last:.3g}.",
            standing=Standing.SUSPECTED,
            location=optimizer.backward or gradients.where,
            numbers={"largest": largest, "median": typical, "loss_first": first, "loss_last": last},
            remedy="Clip with torch.nn.utils.clip_grad_norm_ before the step, or lower the learning rate.",
        )
