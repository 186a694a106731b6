"""D105: a class with too few examples to be learned or measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import LabelColumn
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._words import table_place


@rule(
    "D105",
    "class-imbalance-extreme",
    Severity.MINOR,
    needs=(LabelColumn,),
    looked_at=requires(
        LabelColumn,
        lambda column, limits: column.type in ("binary", "category") and column.distinct >= 2 and column.rows > 0,
        thing="columns of classes",
    ),
    fewest=Threshold(
        10, "below 10 positives the 95 % interval of an AUROC of 0.8 is wider than 0.3 (Hanley and McNeil)"
    ),
    balanced=Threshold(0.25, "a quarter of the rows is not rare: then the table is small, not imbalanced"),
    lowest_prior=Threshold(0.01, "1 %: a batch of 32 holds a positive in one of four steps"),
)
def class_imbalance_extreme(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Classes with fewer than ten positives, or with a prior below 1 % (above 99 %), with the weight that would
        balance them.

    Why it stops learning:
        The constant answer is right in nearly all cases, and its loss is near the minimum from the first step. With a
        handful of positives neither training nor the metric can tell a good model from a lucky one.

    Evidence it needs:
        ``LabelColumn``, from a label table.

    How it decides:
        Suspected where the rarer side of a binary label, or a class of a column of names, makes up less than
        ``lowest_prior`` of the rows, or has fewer than ``fewest`` members and less than ``balanced`` of the rows.
        Constant columns are D104's; tables that were not given as labels give a note. One finding a table.

    Remedy:
        Merge or leave out classes that cannot be measured; sample positives more often or weight them, with a cap (a
        weight of several hundred turns one label error into the largest gradient of an epoch). Report average precision
        beside AUROC.

    Trial it proposes:
        None from the table alone.

    Known false positives:
        Detection of rare findings by design, with a loss that expects it (focal loss, hard negative mining).

    References:
        Hanley and McNeil, Radiology 143 (1982); Saito and Rehmsmeier, PLoS ONE 10 (2015).
    """
    found: dict[str, list[tuple[int, LabelColumn]]] = defaultdict(list)
    for record in evidence.of(LabelColumn):
        if record.type not in ("binary", "category") or record.distinct < 2 or not record.rows:
            continue
        negatives = record.rows - record.positives
        rare = record.positives if record.type == "category" else min(record.positives, negatives)
        prior = rare / record.rows
        if prior < limits.lowest_prior or (rare < limits.fewest and prior < limits.balanced):
            found[record.table].append((rare, record))
    for table, classes in sorted(found.items()):
        classes.sort(key=lambda entry: (entry[0], entry[1].column))
        said = ", ".join(
            f"{record.column} {rare} of {record.rows}" + ("" if rare == record.positives else " negative")
            for rare, record in classes[:5]
        )
        more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
        rarest, record = classes[0]
        weight = (record.rows - rarest) / rarest if rarest else float("inf")
        yield Found(
            message=f"{len(classes)} {'class' if len(classes) == 1 else 'classes'} of {table} can hardly be learned or "
            f"measured: {said}{more}.",
            severity=Severity.MINOR if record.declared else Severity.NOTE,
            location=None if record.folders else table_place(evidence, table),
            numbers={"classes": len(classes), "fewest": rarest, "balancing weight of the rarest": weight},
            remedy="Merge or drop classes that cannot be measured, or sample them more often with a capped weight.",
        )
