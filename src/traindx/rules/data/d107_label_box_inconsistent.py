"""D107: labels and boxes that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import LabelBoxAgreement
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, some


@rule(
    "D107",
    "label-box-inconsistent",
    Severity.MAJOR,
    needs=(LabelBoxAgreement,),
    mostly_boxed=Threshold(0.5, "where most positives have a box, boxes are meant to be complete"),
)
def label_box_inconsistent(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images with a box of a class that their label denies, and images labelled positive without a box of the class.

    Why it stops learning:
        A loss on labels and a loss on boxes then pull the same feature map in opposite directions; a positive without a
        box teaches a detector that the finding is background.

    Evidence it needs:
        ``LabelBoxAgreement``: a label table and a box table that share class names.

    How it decides:
        Demonstrated for a box whose image is labelled negative for the class: both cannot be true. Suspected for
        positives without a box where more than ``mostly_boxed`` of the positives have one; where boxes are given for a
        minority only, a missing box says nothing.

    Remedy:
        Correct the rows named. Where boxes are knowingly incomplete, leave images without a box out of the box loss.

    Trial it proposes:
        None; the tables must be fixed.

    Known false positives:
        Class names that are equal but mean different things in the two tables.

    References:
        Wang et al., "ChestX-ray8", CVPR 2017 (labels for all, boxes for 880 images only).
    """
    for record in evidence.of(LabelBoxAgreement):
        if record.boxed_but_negative:
            yield Found(
                message=f"{of(record.boxed_but_negative, record.boxed, 'image')} with a box of {record.name} are "
                f"labelled "
                f"negative for it: {some(record.negative_examples)}.",
                standing=Standing.DEMONSTRATED,
                offenders=record.negative_examples,
                numbers={"boxed but negative": record.boxed_but_negative, "boxed": record.boxed},
                remedy="Correct the label or remove the box of the images named.",
            )
        complete = record.positives - record.positives_without_box
        if record.positives_without_box and complete > limits.mostly_boxed * record.positives:
            yield Found(
                message=f"{of(record.positives_without_box, record.positives, 'image')} labelled {record.name} have "
                f"no box of "
                f"it: {some(record.without_box_examples)}.",
                severity=Severity.MINOR,
                offenders=record.without_box_examples,
                numbers={"positives without box": record.positives_without_box, "positives": record.positives},
                remedy="Add the boxes, or leave these images out of the box loss.",
            )
