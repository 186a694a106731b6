"""D130: images with nothing in them."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import ImageSet
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D130",
    "image-constant",
    Severity.MINOR,
    needs=(ImageSet,),
    most=Threshold(0.5, "half of the images is no slip any more"),
)
def image_constant(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images in which every pixel has the same value.

    Why it stops learning:
        There is nothing in them that their label could follow from; divided by their standard deviation they become
        NaN.

    Evidence it needs:
        ``ImageSet``.

    How it decides:
        Lowest and highest value are equal. Demonstrated for volumes, in which something must be seen. Suspected for
        single images, because blank slices at the end of a stack are legal. Major where more than ``most`` of them are.

    Remedy:
        Leave them out, and look for the failed export; guard normalisation against a zero standard deviation.

    Trial it proposes:
        None.

    Known false positives:
        Padding slices of volumes stored slice by slice.

    References:
        None needed: a constant carries no information.
    """
    records = [record for record in evidence.of(ImageSet) if record.role == "image"]
    for volumes, noun, standing in ((True, "volume", Standing.DEMONSTRATED), (False, "image", Standing.SUSPECTED)):
        kind = [record for record in records if record.volumes is volumes]
        constant = sum(record.constant for record in kind)
        total = sum(record.count for record in kind)
        examples = [example for record in kind for example in record.constant_examples]
        if constant:
            yield Found(
                message=f"{of(constant, total, noun)} {'holds' if constant == 1 else 'hold'} one value only: "
                f"{some(examples)}.",
                standing=standing,
                severity=Severity.MAJOR if constant > limits.most * total else Severity.MINOR,
                location=place(evidence, examples),
                offenders=examples,
                numbers={"constant": constant, "total": total},
                remedy="Leave them out, and look for the export that made them.",
            )
