"""C1123 one-of-two-reordered."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "one-reordered": (
        "`{source}` takes {was} together with {better}, but only {better} was put into the order that `{detail}`{at} "
        "gives.",
        "Put both into the order: {was} = {was}[...] next to {better}.",
    ),
}


@rule("C1123", "one-of-two-reordered", Severity.MAJOR, needs=(SourcesRead,))
def one_of_two_reordered(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Two arrays belong together, and one of them is put into another order.

    What it finds:
        `order = scores.argsort(); boxes = boxes[order]` and then `boxes[keep], scores[keep]`, or both given to `nms`,
        `zip` or a TensorDataset; `perm = randperm(n); x = x[perm]` and then `x[i:j], y[i:j]`; scores that are masked by
        the overlaps of boxes in another order.
    Why it stops learning:
        Each entry is taken with another one's partner: boxes get the scores of other boxes, images the labels of other
        images.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        From the syntax tree of one function. The order is made once, from one of the two arrays, or drawn while both
        are parameters side by side or results of one call; one is given its reordered self under its own name, the
        other one is given nothing in between; then one and the same index is taken of both. What is put under another
        name (`x[perm]` for mixing, for negatives), labels that are shuffled alone, and arrays that are brought back
        are left alone. `suspected`: nothing was run.
    Remedy:
        Reorder both.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Two arrays that share an index and do not belong together.
    References:
        ultralytics/ultralytics, issue 22536, "Fast nms implementation wrong: scores are not sorted".
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
