"""C1120 python-reads-it-otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "always-true": (
        "`{source}` is always true: a text that is not empty is true by itself.",
        'Write x in ("a", "b").',
    ),
    "in-letters": (
        "`{source}` asks whether it is a piece of the text {detail!r}: the brackets make no tuple.",
        "Write {better}.",
    ),
    "comma": (
        "The comma at the end makes `{source}` a tuple of one: `{detail},`.",
        "Leave the comma out.",
    ),
    "copy-changed": (
        "`{source}` changes a copy: `{detail}` picks by a condition, and what it gives is gone afterwards.",
        "Put the whole index into one pair of brackets.",
    ),
    "no-f": (
        "`{source}` writes {{{detail}}} as it stands: the text has no f before it.",
        "Write an f before the text.",
    ),
    "truths-added": (
        "`{source}` is never true of arrays: `{detail}` adds truths, which gives a truth again, and no number.",
        "Write {better}.",
    ),
}
_CERTAIN = ("always-true",)


@rule("C1120", "python-reads-it-otherwise", Severity.MAJOR, needs=(SourcesRead,))
def python_reads_it_otherwise(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A line means something else in Python than it says to a reader.

    What it finds:
        `mode == "train" or "val"`; `mode in ("train")`; `loss = criterion(a, b),`; `x[x > 0][:, 1] = 0` and
        `table[table.age > 60]["risk"] = 1`; `"model_{epoch}.pt"` without an f; `torch.sum(((a == 1) + (b == 1)) == 2)`.
    Why it stops learning:
        A branch is taken always, or by pieces of a word; a change is made on a copy; every checkpoint has one name; a
        sensitivity is 0 whatever the network does, and no weights are ever kept.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        By the language's definition. A condition that cannot be false is `demonstrated`, all else `suspected`.
    Remedy:
        Per form.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Tuples of one that are meant, and texts that are filled in later by other means.
    References:
        The Python Language Reference, 6.11 "Boolean operations" and 6.10.2 "Membership test operations".
    """
    yield from told(evidence.of(SourceSlip), _SAYS, _CERTAIN)
