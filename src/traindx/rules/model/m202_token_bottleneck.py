"""M202 token-bottleneck."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import BaselineScore
from traindx.evidence.model import SpanFloor
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M202",
    "token-bottleneck",
    Severity.MINOR,
    needs=(SpanFloor,),
    asked_db=Threshold(
        30, "the best published two-view reconstructions reach 27 to 28 dB; a ceiling must leave room above them"
    ),
)
def token_bottleneck(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The image has to pass a grid that is too coarse for its detail.

    What it finds:
        Every number that the network says about the image passes a coarse grid and is then interpolated. The best
        representation of the real targets on that grid is the ceiling of every training.
    Why it stops learning:
        Detail above the grid's Nyquist frequency cannot be drawn. No loss term and no number of epochs changes that;
        training ends in a blurred image whose error is the ceiling's.
    Evidence it needs:
        SpanFloor (check *information-path*); BaselineScore where there is one, to compare the ceiling with.
    How it decides:
        The ceiling is the PSNR of the least-squares representation of real training targets by the very interpolation
        that the network uses. Below `asked_db` it is reported as `suspected` with its figure. It is `demonstrated` only
        if the ceiling lies below what the mean of the training targets reaches already. A v or epsilon head behind the
        same grid is M210's: there the floor is far higher.
    Remedy:
        Emit more numbers a token (a patch head or a transposed convolution), use smaller patches, or add a
        full-resolution branch from the input.
    Trial it proposes:
        None that is generic; a wider head is another network.
    Known false positives:
        Tasks that ask for no detail, where a smooth output is the right answer.
    References:
        Least squares on a separable basis; PSNR as 10 log10(peak^2 / mean squared error).
    """
    baselines = [score.mean for score in evidence.of(BaselineScore) if score.unit == "dB" and score.name != "model"]
    for span in evidence.of(SpanFloor):
        if span.prediction not in ("sample", "regression") or not span.exact or span.ceiling_db >= limits.asked_db:
            continue
        beaten = bool(baselines) and span.ceiling_db < max(baselines)
        than = f", less than the {max(baselines):.1f} dB of a trivial baseline" if beaten else ""
        yield Found(
            message=f"The image passes a grid with {100 * span.share:.2g} % of its voxels: the best any training can "
            f"reach on {span.targets} real targets is {span.ceiling_db:.1f} dB{than}, because "
            f"{100 * span.detail / span.variance:.0f} % of their variance is finer than the grid.",
            standing=Standing.DEMONSTRATED if beaten else Standing.SUSPECTED,
            severity=Severity.MAJOR if beaten else None,
            location=span.where,
            numbers={
                "ceiling_db": round(span.ceiling_db, 3),
                "share_of_numbers": span.share,
                "variance_lost": round(span.detail / span.variance, 5),
            },
            remedy="Let each token emit a patch instead of one number, use smaller patches, or add a full-resolution "
            "branch from the input.",
        )
