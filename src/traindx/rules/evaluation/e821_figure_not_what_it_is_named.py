"""E821 figure-not-what-it-is-named."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import MetricTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E821",
    "figure-not-what-it-is-named",
    Severity.MAJOR,
    needs=(MetricTried,),
    thing="figures that are computed by the script's own functions",
    perfect=Threshold(0.03, "distance from 1 of what a target has with itself: smoothing constants stay below"),
    decibels=Threshold(1.5, "dB that half of the error gains more or less than 6.02: a clamp, or a peak of the image"),
)
def figure_not_what_it_is_named(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A figure is not what its name says: a perfect prediction does not reach the best value, or decibels are none.

    What it finds:
        A Dice of a mask with itself that is .5 or 2, an SSIM of an image with itself below 1, a PSNR in which half of
        the error gains 3 or 14 dB instead of 6.
    Why it stops learning:
        It does not; it is the choice of the best checkpoint, and whatever is compared with a paper, that is wrong.
    Evidence it needs:
        MetricTried (a watched script): the function called in a child process.
    How it decides:
        Overlap and SSIM of a target with itself (also as sure logits, in either order of the arguments, also in
        percent) are never within `perfect` of 1, where the target is a mask of zeros and ones of which both occur; or
        half of the error gains not 6.02 dB, by more than `decibels`: `suspected`. Nothing is asked that depends
        on a convention: which peak, mean over samples or pooled, smoothing.
    Remedy:
        Compare the function with the definition on an example whose figure is known.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A large smoothing constant beside a small mask.
    References:
        Wang et al., Image quality assessment, IEEE TIP 2004, equation 13; Dice, Ecology 1945.
    """
    for one in evidence.of(MetricTried):
        if one.gain and abs(one.gain - 6.02) > limits.decibels:
            yield Found(
                message=f"{one.function} is no {one.stands_for}: half of the error gains {one.gain:.1f} dB, and by "
                "definition 6.0 whatever the peak.",
                standing=Standing.SUSPECTED,
                location=one.where,
                numbers={"gain": one.gain, "actual": one.actual},
                remedy="10 * log10(peak ** 2 / mean squared error), or 20 * log10(peak / its root).",
                variant="decibels",
            )
        elif not one.gain and abs(one.perfect - one.best) > limits.perfect:
            yield Found(
                message=f"{one.function} of a target with itself is {one.perfect:.3f} at the best, whichever form it "
                f"is given in; the {one.stands_for} of a perfect prediction is {one.best:g}.",
                standing=Standing.SUSPECTED,
                location=one.where,
                numbers={"perfect": one.perfect, "best": one.best, "actual": one.actual},
                remedy="Compare the function with the definition on an example whose figure is known.",
                variant="perfect",
            )
