"""D104: a label that never changes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import LabelColumn
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import shares, table_place


@rule(
    "D104",
    "constant-label-column",
    Severity.MAJOR,
    needs=(LabelColumn,),
    fewest_rows=Threshold(8, "in fewer rows than this a label may be constant by chance: at prior 1/2, once in 128"),
    expected=Threshold(3.0, "where three were to be expected, none is found by chance in 5 % of the splits: exp(-3)"),
)
def constant_label_column(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Label columns with one value in all rows, columns without any value, and labels without a positive (or without a
        negative) in one of the splits.

    Why it stops learning:
        A constant label is learned by the bias alone: its loss falls, its metric is undefined (AUROC needs both
        classes), and averages over classes are dragged along. A split without positives cannot choose a checkpoint.

    Evidence it needs:
        ``LabelColumn``, from a label table.

    How it decides:
        Demonstrated for a column of a table that was given as labels, with at least ``fewest_rows`` rows and one value.
        Suspected for tables that were only found in the folder, and for splits of at least ``fewest_rows`` rows in
        which a binary label is constant although ``expected`` of the other side were to be expected.

    Remedy:
        Leave the column out, or repair its export: a constant column is most often a failed join or a wrong encoding.
        Stratify splits by label and patient where one split lacks a class.

    Trial it proposes:
        None; a label that does not vary cannot be learned by any treatment.

    Known false positives:
        A column kept for a later data set.

    References:
        Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006).
    """
    for record in evidence.of(LabelColumn):
        where = table_place(evidence, record.table)
        strong = Standing.DEMONSTRATED if record.declared else Standing.SUSPECTED
        if record.rows == 0:
            if record.declared:
                yield Found(
                    message=f"Label {record.column} of {record.table} is empty in all {record.empty} rows.",
                    standing=strong,
                    location=where,
                    numbers={"rows": 0, "empty": record.empty},
                    remedy="Leave the column out or repair the export of the table.",
                )
        elif record.distinct == 1 and record.type != "category" and record.rows >= limits.fewest_rows:
            yield Found(
                message=f"Label {record.column} of {record.table} is {record.values[0].value} in all {record.rows} "
                f"rows: "
                "there is nothing to learn from it.",
                standing=strong,
                location=where,
                severity=Severity.MAJOR if record.declared else Severity.MINOR,
                numbers={"rows": record.rows, "distinct": 1},
                remedy="Leave the column out or repair the export of the table.",
            )
        elif record.distinct == 1 and record.rows >= limits.fewest_rows:
            yield Found(
                message=f"Every one of the {record.rows} rows of {record.table} is of one class: "
                f"{shares(record.values)}.",
                standing=strong,
                location=where,
                severity=Severity.MAJOR if record.declared else Severity.MINOR,
                numbers={"rows": record.rows, "distinct": 1},
                remedy="Add the other classes, or leave the column out.",
            )
        else:
            yield from _by_split(record, where, limits)


def _by_split(record: LabelColumn, where: Location, limits: Limits) -> Iterator[Found]:
    """Splits in which a label that varies elsewhere does not."""
    flat = {
        split: (positives, rows)
        for split, (positives, rows) in record.by_split.items()
        if rows >= limits.fewest_rows and positives in (0, rows)
    }
    total = sum(rows for _, rows in record.by_split.values())
    expected = {split: rows * record.positives / max(record.rows, 1) for split, (_, rows) in flat.items()}
    # A class that is rare everywhere is expected to be missing somewhere: that is D105's to say.
    informative = {split for split in flat if min(expected[split], flat[split][1] - expected[split]) >= limits.expected}
    if informative and total > 0:
        said = ", ".join(f"{flat[split][0]} of {flat[split][1]} in {split}" for split in sorted(informative))
        yield Found(
            message=f"Label {record.column} does not vary within a split: {said} are positive "
            f"({record.positives} of {record.rows} in all).",
            location=where,
            severity=Severity.MINOR,
            numbers={f"positives in {split}": flat[split][0] for split in sorted(informative)},
            remedy="Stratify the splits by label (and by patient).",
        )
