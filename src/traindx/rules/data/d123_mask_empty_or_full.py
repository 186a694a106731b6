"""D123: masks without foreground, without background, or with a few voxels."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import MaskValues
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D123",
    "mask-empty-or-full",
    Severity.MINOR,
    needs=(MaskValues,),
    fewest=Threshold(4, "three masks may be empty or full by chance, in one folder of odd cases"),
)
def mask_empty_or_full(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Masks that are empty, that cover everything, or whose foreground is a handful of voxels.

    Why it stops learning:
        Dice of an empty mask is 0/0 or jumps from 1 to 0 with one voxel; a full mask teaches that there is no
        background; one voxel vanishes with the first down-sampling.

    Evidence it needs:
        ``MaskValues``.

    How it decides:
        Demonstrated where all of at least ``fewest`` masks are empty, or all are full: then there is nothing to
        segment. Otherwise suspected: an empty mask is right for a patient without the finding, and a full one for a
        crop inside the organ. Tiny means at most 8 voxels of foreground.

    Remedy:
        Check the masks named against their images; use a loss that is defined on empty masks, and report such cases
        apart.

    Trial it proposes:
        None.

    Known false positives:
        Negative cases, slices above and below the organ, crops.

    References:
        Reinke et al., "Understanding metric-related pitfalls", Nature Methods 21 (2024), on empty references and tiny
        structures.
    """
    records = evidence.of(MaskValues)
    masks = sum(record.masks for record in records)
    tiny = max((record.tiny_voxels for record in records), default=0)
    for count, examples, said, most, remedy in (
        (
            sum(record.empty for record in records),
            [example for record in records for example in record.empty_examples],
            "are empty",
            Severity.MINOR,
            "Check that these cases are negative, and that loss and metric are defined on empty masks.",
        ),
        (
            sum(record.full for record in records),
            [example for record in records for example in record.full_examples],
            "have no background",
            Severity.MAJOR,
            "Check these masks against their images: a threshold, an inversion or a wrong export makes them full.",
        ),
        (
            sum(record.tiny for record in records),
            [example for record in records for example in record.tiny_examples],
            f"have a foreground of at most {tiny} voxels",
            Severity.MINOR,
            "Check whether these are remnants of resampling or slips of the pen.",
        ),
    ):
        everything = count == masks >= limits.fewest and not said.startswith("have a foreground")
        if count:
            yield Found(
                message=f"{of(count, masks, 'mask')} {said}: {some(examples, 4)}.",
                standing=Standing.DEMONSTRATED if everything else Standing.SUSPECTED,
                severity=Severity.CRITICAL if everything else most,
                location=place(evidence, examples),
                offenders=examples,
                numbers={f"masks that {said}": count, "masks": masks},
                remedy=remedy,
            )
