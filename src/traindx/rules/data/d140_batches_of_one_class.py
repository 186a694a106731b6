"""D140 batches-of-one-class."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import BatchClasses
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D140",
    "batches-of-one-class",
    Severity.MAJOR,
    needs=(BatchClasses,),
    looked_at=requires(
        BatchClasses,
        lambda one, limits: one.trains and one.batches >= limits.batches,
        thing="training batches with one class an item",
    ),
    batches=Threshold(6, "batches looked at"),
    pure=Threshold(0.7, "share of them with one class; at the border between two classes a batch has both"),
)
def batches_of_one_class(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loader trains in the order of its data set, which is sorted by class.

    What it finds:
        `DataLoader(data, 32)` without `shuffle=True` on items that lie class by class, as folders list them.
    Why it stops learning:
        Batch after batch asks for one answer; the last class of a pass wins, and batch norm sees one class at a time.
    Evidence it needs:
        BatchClasses (a watched script).
    How it decides:
        Of `batches` batches or more of a training loader that reads in order, `pure` are of one class to 95 %, and
        several classes take turns. `suspected`. Loaders that draw, and batch samplers of the script's own, are left
        alone.
    Remedy:
        `shuffle=True`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Series that must be read in order.
    References:
        None.
    """
    for one in evidence.of(BatchClasses):
        if not one.trains or not one.in_order or one.batches < limits.batches or one.leading < 2:
            continue
        if one.pure >= limits.pure * one.batches:
            yield Found(
                message=f"Training reads its items in order, and they lie class by class: {one.pure} of {one.batches} "
                f"batches looked at are of one class, {one.leading} classes in turn.",
                location=one.where,
                numbers={"pure": one.pure, "batches": one.batches, "classes": one.classes},
                remedy="Pass shuffle=True to the training loader.",
            )
