"""D132: labels that are notes to oneself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import FileCensus
from traindx.evidence.dataset_labels import BoxTable, LabelColumn
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.data._words import table_place

PLACEHOLDERS = frozenset(
    ("?", "??", "todo", "to do", "tbd", "tba", "fixme", "xxx", "unknown", "undefined", "unlabeled", "unlabelled",
     "not labelled", "not labeled", "missing", "-", ".", "placeholder", "dummy", "class", "label")
)  # fmt: skip


@rule("D132", "placeholder-label", Severity.MINOR, needs=(FileCensus,))
def placeholder_label(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Classes called ``todo``, ``?``, ``unknown`` and the like, in label tables and box tables.

    Why it stops learning:
        Code that turns names into indices makes a class of them. The images behind it belong to other classes, which
        the loss then forbids.

    Evidence it needs:
        ``LabelColumn`` and ``BoxTable``, where there are tables.

    How it decides:
        Suspected by the name alone, out of a fixed list.

    Remedy:
        Treat the rows as unlabelled, or label them.

    Trial it proposes:
        None.

    Known false positives:
        "Unknown" as a deliberate class.

    References:
        None; the list was made from public label tables.
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for column in evidence.of(LabelColumn):
        if column.type == "category":
            for share in column.values:
                if share.value.strip().lower() in PLACEHOLDERS:
                    found[column.table][share.value] = share.count
    for table in evidence.of(BoxTable):
        for share in table.classes:
            if share.value.strip().lower() in PLACEHOLDERS:
                found[table.table][share.value] = share.count
    for name, values in sorted(found.items()):
        said = ", ".join(f"“{value}” {count} times" for value, count in sorted(values.items()))
        yield Found(
            message=f"{name} holds classes that are placeholders: {said}. Read as names of classes they become "
            f"classes.",
            location=table_place(evidence, name),
            numbers={f"rows called {value}": count for value, count in sorted(values.items())},
            remedy="Leave these rows out of the loss, or label them.",
        )
