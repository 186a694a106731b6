"""D108 in a running script: items of the validation that are trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SharedItems
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data.d108_splits import divided_by

JUDGES = re.compile(
    r"(?:^|_|\b)(?:val|valid|validation|test|testing|dev|eval|evaluation|holdout|heldout)(?:_|\d|\b|$)", re.IGNORECASE
)
TRAINS = re.compile(r"train", re.IGNORECASE)


@rule(
    "D108",
    "patient-leak",
    Severity.CRITICAL,
    needs=(SharedItems,),
    looked_at=requires(
        SharedItems,
        lambda seen, limits: seen.contents >= limits.least_contents,
        otherwise="too few items of another loader were seen beside the training's that their values tell apart",
    ),
    thing="second loaders beside the training's",
    least_contents=Threshold(16, "different items of the other loader"),
    shared_items=Threshold(0.05, "of them that are in the training data, number for number; chance brings none"),
    all_shared=Threshold(
        0.95, "of them: a loader that looks at the training data on purpose, if its name does not judge"
    ),
)
def items_shared_with_training(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Items of the validation are in the training data, number for number.

    What it finds:
        Rare samples that were duplicated before the data were divided; a list of files that was joined twice; a random
        division drawn anew for each side.
    Why it stops learning:
        It does not; but the validation figure is that of samples the network has learnt by heart.
    Evidence it needs:
        SharedItems (a watched script with two loaders): items by some hundred of their values.
    How it decides:
        Between `shared_items` and `all_shared` of at least `least_contents` different items of a loader that does not
        train are equal to items of the loader that was training when they were read. `demonstrated`. An augmented item
        is never equal, so silence proves nothing of augmented training data; folds of a cross-validation are compared
        each with its own training. More than `all_shared` may be a look at the training data on purpose: it is told
        where the loader is named for validation or testing, and no other one beside it brings items of its own.
        The place is the function that divides the data, where one was seen to return parts with items in common; else
        the line that divides them, or that makes the loader; where all are shared, the one that makes its data set.
    Remedy:
        Divide first, by patient, then duplicate, augment or normalise each side.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A loader that monitors a part of the training data together with other data.
    References:
        Kaufman et al., Leakage in data mining, ACM TKDD 6, 2012.
    """
    records = evidence.of(SharedItems)
    judged_apart = any(one.shared < limits.shared_items * one.contents for one in records)
    for seen in records:
        share = seen.shared / max(seen.contents, 1)
        if seen.contents < limits.least_contents or share < limits.shared_items:
            continue
        if share > limits.all_shared and (judged_apart or TRAINS.search(seen.name) or not JUDGES.search(seen.name)):
            continue
        yield Found(
            variant="shared-with-training",
            message=f"{seen.shared} of {seen.contents} different items of {seen.dataset} that were read beside the "
            "training are training items, number for number.",
            standing=Standing.DEMONSTRATED,
            location=divided_by(evidence)
            or (seen.dataset_at if share > limits.all_shared else None)
            or seen.divided_at
            or seen.where,
            numbers={"shared": seen.shared, "contents": seen.contents, "training": seen.training},
            remedy="Divide the data first, then duplicate and augment the training part alone.",
        )
