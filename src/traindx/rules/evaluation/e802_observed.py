"""E802 data-range-wrong, for figures of a watched script."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import PeakFromTarget
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E802",
    "data-range-wrong",
    Severity.MINOR,
    needs=(PeakFromTarget,),
    looked_at=requires(PeakFromTarget, lambda one, limits: len(one.peaks) > 1, thing="figures in decibels"),
    peak_spread=Threshold(
        0.1, "decibels between the largest and the smallest peak; normalised images reach their bound to within less"
    ),
)
def peak_of_each_image(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: the peak of a figure in decibels is the largest value of the image that is being judged.

    `suspected`: some benchmarks (fastMRI) define their figure so. But one bright voxel then raises it, and figures of
    two data sets, or before and after another normalisation, cannot be compared.
    """
    for record in evidence.of(PeakFromTarget):
        peaks = [peak for peak in record.peaks if peak > 0]
        if record.phase != "validation" or len(peaks) < 2:
            continue
        spread = 20 * math.log10(max(peaks) / min(peaks))
        if spread <= limits.peak_spread:
            continue
        yield Found(
            variant="peak-of-each-image",
            message=f"The figure in decibels takes its peak from each image ({min(peaks):.3g} to {max(peaks):.3g}): "
            f"that alone moves it by {spread:.1f} dB between images of equal error, and one bright voxel raises it.",
            location=record.where,
            numbers={"smallest_peak": min(peaks), "largest_peak": max(peaks), "spread_db": round(spread, 2)},
            remedy="Use the range that the data has by design (2 for [-1, 1], 1 for [0, 1]), or a window in HU.",
        )
