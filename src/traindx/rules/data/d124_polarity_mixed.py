"""D124: images in which bright and dark are exchanged."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_intensities import Polarity
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D124",
    "polarity-mixed",
    Severity.MAJOR,
    needs=(Polarity,),
    most_opposite=Threshold(
        0.4, "with nearly half of a set on each side there is no telling which half is the negative"
    ),
)
def polarity_mixed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        DICOM images stored as MONOCHROME1 (lowest value white), above all mixed with MONOCHROME2, and images that are
        the negative of the rest of their set.

    Why it stops learning:
        ``pixel_array`` does not invert MONOCHROME1. Where a loader does not either, bone is white in one image and
        black in the next; the network must learn everything twice, or picks up polarity as a sign of the scanner and
        its hospital.

    Evidence it needs:
        ``Polarity``.

    How it decides:
        Suspected, because a loader may invert: MONOCHROME1 in a set (a note where the whole set is). Images whose 32 x
        32 thumbnail correlates at -0.5 or less with what the set has in common (its first principal component), up to a
        share ``most_opposite``.

    Remedy:
        Invert on loading where PhotometricInterpretation is MONOCHROME1: ``image = image.max() - image``, before any
        window. Invert the images named.

    Trial it proposes:
        None from the files alone.

    Known false positives:
        Sets that mix views or body parts can contain an image that is opposite by anatomy.

    References:
        DICOM PS3.3 C.7.6.3.1.2 (photometric interpretation).
    """
    for record in evidence.of(Polarity):
        if record.monochrome1:
            mixed = record.monochrome2 > 0
            yield Found(
                message=f"{of(record.monochrome1, record.members, 'image')} of “{record.name}” are MONOCHROME1 (low "
                f"values are "
                f"white)"
                + (f", {record.monochrome2} are MONOCHROME2" if mixed else "")
                + "; pixel arrays are not inverted by "
                f"pydicom: {some(record.monochrome1_examples, 2)}.",
                severity=Severity.MAJOR if mixed else Severity.NOTE,
                location=place(evidence, record.monochrome1_examples),
                numbers={"MONOCHROME1": record.monochrome1, "MONOCHROME2": record.monochrome2},
                remedy="Invert MONOCHROME1 images on loading.",
            )
        if record.opposite and record.opposite <= limits.most_opposite * record.members:
            yield Found(
                message=f"{of(record.opposite, record.members, 'image')} of “{record.name}” look like negatives of "
                f"the rest: "
                f"{some(record.opposite_examples)}.",
                location=place(evidence, record.opposite_examples),
                offenders=record.opposite_examples,
                numbers={"opposite": record.opposite, "members": record.members},
                pictures=(f"negatives: {record.name}",),
                remedy="Look at them, and invert them.",
            )
