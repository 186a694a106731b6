"""D122: images, masks and table rows without their counterpart."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import PairCensus
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D122",
    "missing-pair",
    Severity.MAJOR,
    needs=(PairCensus,),
    mostly=Threshold(0.5, "where most have a counterpart, all were meant to have one"),
)
def missing_pair(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Masks without image, images without mask, cases without one of the channels that all others have, table rows
        that name no image, images that no row names.

    Why it stops learning:
        Code that zips two sorted lists shifts every pair behind the first gap; code that joins tables drops the rest
        without a word, and a join whose names do not match drops everything.

    Evidence it needs:
        ``PairCensus``. Pairs are found by file (arrays), by names without the words for role, modality and split, by
        the words that two paths share, by patterns given on the command line, or by the referenced DICOM series.

    How it decides:
        Demonstrated for a mask without image, and for what the task or a table given by name requires, where others of
        the same kind have theirs. Where none has, names were not understood, and that is all that is known: suspected.
        So is a mask without image where an image has no mask either: the two may belong together under other names.
        Otherwise suspected: minor where more than ``mostly`` of the members have their counterpart, a note where fewer
        do (unlabelled images may be meant). Groups of folders are asked apart: test images without masks are no gap.

    Remedy:
        Add what is missing or take both out of the list of cases; pair by key, never by position in a sorted list.

    Trial it proposes:
        None.

    Known false positives:
        Deliberately unlabelled cases for semi-supervised training; naming schemes that share no word between image and
        mask.

    References:
        nnU-Net ``verify_dataset_integrity``; the Brain Imaging Data Structure for names that pair by key.
    """
    records = evidence.of(PairCensus)
    lonely = any(record.left == "image" and record.right == "mask" and record.missing for record in records)
    for record in records:
        if not record.missing:
            continue
        everything = record.missing == record.total
        unmatched = everything and record.total > 1  # nobody has a counterpart: that says more of us than of the data
        ours = record.left == "mask" and lonely  # they may belong together under other names
        required = (record.declared or record.left == "mask") and not unmatched
        few = record.missing > limits.mostly * record.total and not record.declared
        severity = Severity.MAJOR if required else Severity.NOTE if few else Severity.MINOR
        hint = " The names do not match at all, or were not understood." if unmatched and "row" in record.left else ""
        is_file = record.left in ("mask", "image")
        noun = record.left if is_file else record.left.replace("row of", "row (distinct name) of")
        noun = "case" if record.left == "case" else noun
        is_counted = is_file or record.left == "case"
        what = of(record.missing, record.total, noun) if is_counted else f"{record.missing} of {record.total} {noun}"
        yield Found(
            message=f"{what} {'has' if record.missing == 1 else 'have'} no {record.right}: "
            f"{some(record.examples)}.{hint}",
            standing=Standing.DEMONSTRATED if required and not ours else Standing.SUSPECTED,
            severity=severity,
            location=place(evidence, record.examples) if is_file else None,
            offenders=record.examples,
            numbers={"missing": record.missing, "total": record.total},
            remedy="Add the counterparts or leave these cases out, and pair by key instead of by sorted position.",
        )
