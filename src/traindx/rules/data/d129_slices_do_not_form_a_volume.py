"""D129: DICOM slices that do not stack into a regular volume."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import SeriesGeometry
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import place, some


@rule(
    "D129",
    "slices-do-not-form-a-volume",
    Severity.MINOR,
    needs=(SeriesGeometry,),
    gap=Threshold(1.5, "a missing slice doubles a distance; table jitter and rounding stay below 1.1"),
)
def slices_do_not_form_a_volume(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Series with missing slices, with several slices at one place, with slices of different geometry; series whose
        file names do not sort in the order of the slices; and series whose SliceThickness is not the distance between
        slices.

    Why it stops learning:
        A stack with a gap is a compressed patient; a stack sorted by name is a shuffled one: neighbouring slices do not
        belong together and 3-D convolutions see noise. A wrong slice distance scales the organ.

    Evidence it needs:
        ``SeriesGeometry``: ImagePositionPatient and ImageOrientationPatient.

    How it decides:
        Suspected, because a loader that sorts by position and knows of gaps is right, and slices may be used one by
        one: the largest distance is more than ``gap`` times the median; slices share a position (multi-phase series
        do); positions along sorted file names go forth and back; SliceThickness differs by more than a tenth from the
        distance (a note).

    Remedy:
        Sort by the projection of ImagePositionPatient on the slice normal, take the spacing from positions, split
        multi-phase series, and complete series with gaps.

    Trial it proposes:
        None.

    Known false positives:
        Slice-wise training; deliberately thinned-out series.

    References:
        DICOM PS3.3 C.7.6.2.1.1 (image position and orientation); SliceThickness is the nominal thickness, not a
        distance.
    """
    for record in evidence.of(SeriesGeometry):
        gaps = [example for example in record.uneven_examples if example.value > limits.gap]
        for said, count, examples, severity, remedy in (
            (
                "have gaps",
                record.uneven if gaps else 0,
                tuple(gaps),
                Severity.MAJOR,
                "Fetch the missing slices, or do not build volumes from these series.",
            ),
            (
                "have several slices at one place",
                record.repeated,
                record.repeated_examples,
                Severity.MINOR,
                "Split them by acquisition or phase before stacking.",
            ),
            (
                "mix slices of different geometry",
                record.mixed,
                record.mixed_examples,
                Severity.MINOR,
                "Split them by orientation and size; localisers often hide in a series.",
            ),
            (
                "have file names that do not sort in slice order",
                record.disordered,
                record.disordered_examples,
                Severity.MINOR,
                "Sort by ImagePositionPatient along the slice normal, never by file name.",
            ),
            (
                "have a SliceThickness that is not the distance between slices",
                record.thickness_differs,
                record.thickness_examples,
                Severity.NOTE,
                "Take the slice distance from the positions.",
            ),
        ):
            if count:
                yield Found(
                    message=f"{count} of {record.series} series {said}: {some(examples, 2)}.",
                    severity=severity,
                    location=place(evidence, examples),
                    offenders=examples,
                    numbers={said: count, "series": record.series},
                    remedy=remedy,
                )
