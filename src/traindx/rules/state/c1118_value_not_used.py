"""C1118 value-not-used."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "raw": (
        "Nothing reads what `{source}` gives; {detail} as it was{at}.",
        "Use {better}, or leave the line out.",
    ),
    "overwritten": (
        "`{source}` takes the place of `{detail}`{at} before anything reads it.",
        "Leave one of the two out, or let the second one use what the first one gives.",
    ),
    "parameter": (
        "`{source}` never reads `{detail}`, which every call gives it.",
        "Use {detail}, or leave it out.",
    ),
    "partner": (
        "`{detail}` is used, and `{source}`, which undoes it, never is.",
        "Bring back what it changed where units matter, or leave the method out.",
    ),
    "other-length": (
        "`{source}` divides a sum over `{better}` by the length of something else ({detail}{at}).",
        "Divide by the length of what was summed over.",
    ),
    "samples-by-batches": (
        "`{source}` divides a sum over samples (`{detail}`{at}) by the number of batches.",
        "Divide by the number of samples that were counted.",
    ),
    "first-round": (
        "`{source}` stands inside `{detail}`{at}, which sums up: the loop ends in its first round.",
        "Move it out of the loop.",
    ),
    "last-round": (
        "`{source}` begins with `{was}` in every round of `{detail}`{at}: only the last round counts.",
        "Begin each round with what the round before gave: {better}.",
    ),
    "made-anew": (
        "`{source}` stands inside `{detail}`{at}, which fills it: only what the last round put in is left.",
        "Move it in front of the loop.",
    ),
    "index-summed": (
        "`{source}` adds the number of the round ({detail}{at}), not one a round.",
        "Add 1.",
    ),
    "never-called": (
        "`{detail}` is set to evaluation{at} and never called: `{source}` judges something else.",
        "Call it, and judge what it gives.",
    ),
    "left-out": (
        "`{source}` leaves out what `{detail}` gives{at}, which is only shown.",
        "Add it, or leave it out altogether.",
    ),
    "dropped": (
        "`{source}` is a statement, and `{detail}`{at} does nothing but return something: it is lost.",
        "Take the result.",
    ),
    "not-reached": (
        "`{source}` is never reached: `{detail}` stands before it{at}.",
        "Move it up, or leave it out.",
    ),
}


@rule("C1118", "value-not-used", Severity.MINOR, needs=(SourcesRead,))
def value_not_used(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Something is computed or given, and what is used is something else.

    What it finds:
        `clean = normalise(x)` and then `net(x)`; a result that another one replaces before anything reads it; a
        parameter that a function never reads, although every call gives it something; a class whose
        `inverse_transform` is never called; a sum over one loader that is divided by the length of another, or a
        sum over samples by the number of batches; a `return` inside the loop that sums up; statements behind a
        `return`; what a loop fills and makes anew in every round; a loop whose rounds all begin with the same; a
        sum of indices for a count; a network that is set to evaluation and never called; a loss term that is
        computed and not added, and one that has a weight beside the others and is left out of their sum.
    Why it stops learning:
        A step that the author wrote is not part of the training: the raw image is used, the weight of a term does
        nothing, the figure is that of one batch.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        From the syntax tree of each function: a name that is written and never read, a parameter that is not mentioned.
        Parameters of methods that a base class may ask for, of functions that are given to others, and those that are
        there for the sake of a common form (`epoch`, `device`, `config`) are left alone. `suspected`.
    Remedy:
        Use it, or leave it out.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Values that are kept for a debugger; calls that are made for what they do, and whose result has a name.
    References:
        Engler, Chen, Hallem, Chou and Chelf, "Bugs as deviant behavior", 2001.
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
