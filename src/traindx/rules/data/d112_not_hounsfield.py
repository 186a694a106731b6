"""D112: CT values that are not Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import HounsfieldFacts
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, shares, some


@rule(
    "D112",
    "not-hounsfield",
    Severity.MAJOR,
    needs=(HounsfieldFacts,),
    padded_share=Threshold(
        0.001, "0.1 % of an image: enough to move a minimum-maximum normalisation; noise stays above -1100"
    ),
    most=Threshold(0.5, "a crop without air is possible; half of a set without air is not"),
)
def not_hounsfield(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        CT whose values cannot be Hounsfield units as they stand: padding of -2000 or -3024 left in, rescale slope and
        intercept missing, values shifted to start at 0, 8-bit images, images normalised already.

    Why it stops learning:
        A window in HU then cuts at the wrong place: padding becomes the minimum of a min-max normalisation and squeezes
        all tissue into a third of the range; values without intercept lie 1024 too high, and a soft-tissue window shows
        lung or nothing. Mixed with correct files, the same tissue has two values.

    Evidence it needs:
        ``HounsfieldFacts``: images known to be CT by their header, or by name.

    How it decides:
        By definition air is -1000 HU and nothing is less dense. Demonstrated for values below -1100 in more than
        ``padded_share`` of an image, and for DICOM CT without RescaleSlope and RescaleIntercept (type 1 in the CT image
        module). Suspected: 8-bit files; files in [-1, 1]; files that begin at 0 with tissue near 1000 (HU + 1024); and
        sets of which more than ``most`` contain no air. Where only a name says CT, everything is suspected.

    Remedy:
        Apply slope and intercept, then clip at -1024 (``max(hu, -1024)``), then window. Export with 16 bits, signed.

    Trial it proposes:
        ``window``, where a case offers it.

    Known false positives:
        Deliberately normalised or windowed exports; extended-scale CT of metal; crops inside the body.

    References:
        DICOM PS3.3 C.7.5.1.1.2 (pixel padding), C.8.2.1 (CT image module), C.11.1.1.2 (rescale type HU).
    """
    for record in evidence.of(HounsfieldFacts):
        sure = Standing.DEMONSTRATED if record.modality_from == "header" else Standing.SUSPECTED
        if record.padded and record.padded_share > limits.padded_share:
            yield Found(
                message=f"{of(record.padded, record.members, 'CT image')} of “{record.name}” hold values below -1100 "
                f"HU, which are "
                f"padding and no tissue ({shares(record.padding_values)}): {some(record.padded_examples, 2)}.",
                standing=sure,
                location=place(evidence, record.padded_examples),
                offenders=record.padded_examples,
                numbers={"padded": record.padded, "members": record.members, "largest share": record.padded_share},
                pictures=(f"padding: {record.name}",),
                remedy="Replace padding by -1000 or clip at -1024 HU before any window, minimum or mean is taken.",
            )
        if record.without_rescale:
            yield Found(
                message=f"{of(record.without_rescale, record.members, 'CT image')} have no rescale slope and "
                f"intercept: their "
                f"values are not known to be HU ({some(record.without_rescale_examples, 2)}).",
                standing=sure,
                location=place(evidence, record.without_rescale_examples),
                offenders=record.without_rescale_examples,
                numbers={"without rescale": record.without_rescale, "members": record.members},
                remedy="Take the series from its source again; do not guess the intercept.",
            )
        if record.eight_bit:
            yield Found(
                message=f"{of(record.eight_bit, record.members, 'CT image')} of “{record.name}” have 8 bits "
                f"({some(record.eight_bit_examples, 1)}): a window has been applied and HU are lost.",
                severity=Severity.MAJOR if record.modality_from == "header" else Severity.MINOR,
                location=place(evidence, record.eight_bit_examples),
                offenders=record.eight_bit_examples,
                numbers={"8 bit": record.eight_bit, "members": record.members},
                remedy="Export 16-bit HU, or state the window and treat the values as windowed, not as HU.",
            )
        yield from _elsewhere(record, evidence, limits)


def _elsewhere(record: HounsfieldFacts, evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Values that lie in another range than HU."""
    if record.shifted:
        yield Found(
            message=f"{of(record.shifted, record.members, 'CT image')} of “{record.name}” begin at 0 with tissue near "
            f"1000: they look "
            f"like HU + 1024 without the intercept ({some(record.no_air_examples, 2)}).",
            location=place(evidence, record.no_air_examples),
            offenders=record.no_air_examples,
            numbers={"shifted": record.shifted, "members": record.members},
            remedy="Subtract 1024 (the RescaleIntercept) before windowing, and check one file against its DICOM "
            "source.",
        )
    elif record.no_air > limits.most * record.members:
        yield Found(
            message=f"{of(record.no_air, record.members, 'CT image')} of “{record.name}” contain no air (1st "
            f"percentile above -200): "
            f"their values may not be HU ({some(record.no_air_examples, 2)}).",
            severity=Severity.MINOR,
            location=place(evidence, record.no_air_examples),
            offenders=record.no_air_examples,
            numbers={"without air": record.no_air, "members": record.members},
            remedy="Check the unit of one file against its source.",
        )
    if record.unit_interval:
        mixed = record.unit_interval < record.members
        yield Found(
            message=f"{of(record.unit_interval, record.members, 'CT image')} of “{record.name}” lie within [-1, 1]: "
            f"they are "
            f"normalised already" + (", the others are not." if mixed else "."),
            severity=Severity.MAJOR if mixed else Severity.NOTE,
            location=place(evidence, record.unit_interval_examples),
            offenders=record.unit_interval_examples,
            numbers={"normalised": record.unit_interval, "members": record.members},
            remedy="Do not window or normalise them again" + ("; bring all files to one scale." if mixed else "."),
        )
