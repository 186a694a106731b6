"""D128: files of one set on different grey scales."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import IntensitySpread
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._words import place, some


@rule(
    "D128",
    "intensity-scale-varies",
    Severity.MINOR,
    needs=(IntensitySpread,),
    looked_at=requires(
        IntensitySpread,
        lambda record, limits: record.modality not in ("CT", "PT") and record.members >= limits.fewest,
        thing="sets of images without a physical unit",
    ),
    ratio=Threshold(
        10.0, "coil, gain and exposure vary a scanner's range by up to about five; radiographs of two sets by four"
    ),
    fewest=Threshold(4, "with fewer members there is no set to differ from"),
)
def intensity_scale_varies(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images of one set whose dynamic ranges (1st to 99th percentile) differ by more than a factor of ten.

    Why it stops learning:
        With a fixed scaling some cases fill the range and others lie in a few thousandths of it: batch statistics and
        gradients are those of the bright cases, and the rest is never learned.

    Evidence it needs:
        ``IntensitySpread``.

    How it decides:
        Suspected, because normalisation per image fixes it: at least ``fewest`` members and a ratio of the largest to
        the smallest dynamic range above ``ratio``. The slices of a DICOM series are one member. CT is left out (its
        scale is D112's), and PET, whose values are quantities.

    Remedy:
        Normalise each image by its own percentiles or by mean and standard deviation of its foreground.

    Trial it proposes:
        None from the files alone.

    Known false positives:
        Quantitative images (maps of T1) whose values mean something; nearly empty images.

    References:
        Nyul and Udupa, "On standardizing the MR image intensity scale", Magn Reson Med 42 (1999).
    """
    for record in evidence.of(IntensitySpread):
        spread = record.dynamic_range
        if record.modality in ("CT", "PT") or record.members < limits.fewest or spread.ratio <= limits.ratio:
            continue
        types = ", ".join(f"{name}: median {value:.3g}" for name, value in sorted(record.dtype_range.items()))
        yield Found(
            message=f"Dynamic ranges within “{record.name}” differ by a factor of {spread.ratio:.3g} (1st to 99th "
            f"percentile: "
            f"{spread.low:.3g} to {spread.high:.3g}; {types}): {some(record.narrow_examples, 1)}; "
            f"{some(record.wide_examples, 1)}.",
            location=place(evidence, record.wide_examples),
            offenders=record.wide_examples,
            numbers={"ratio": spread.ratio, "smallest range": spread.low, "largest range": spread.high},
            remedy="Normalise every image by its own percentiles; never by one maximum for all.",
        )
