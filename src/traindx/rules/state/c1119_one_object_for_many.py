"""C1119 one-object-for-many."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule
from traindx.rules.state._slips import told

_SAYS = {
    "closure": (
        "What `{source}` keeps for later reads `{detail}` when it is called: all of them see its last value.",
        "Bind it: `lambda ..., {detail}={detail}: ...`, or functools.partial.",
    ),
    "loop-name": (
        "`{source}` takes `{detail}` away from the loop around it, which reads it afterwards{at}.",
        "Give the inner loop a name of its own.",
    ),
    "loop-takes": (
        "`{source}` takes the name `{detail}`, whose value nothing has read yet{at}.",
        "Give the loop a name of its own.",
    ),
    "one-object": (
        "`{source}` is one and the same object several times, not several: `{detail}` is made once.",
        "Make each of its own: [... for _ in range(n)].",
    ),
    "default": (
        "`{source}` is made once for all calls of `{detail}`, which puts something into it.",
        "Write None there, and make a new one inside.",
    ),
}


@rule("C1119", "one-object-for-many", Severity.MAJOR, needs=(SourcesRead,))
def one_object_for_many(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """One object, or one name, stands where several were meant.

    What it finds:
        Functions that are made in a loop, kept, and read the loop's name when they are called; an inner loop with
        the name of the outer one, or with that of a value that nothing has read yet; `[Block()] * 4` and `[[]] *
        n`; a list or a dictionary as a default, which the function fills.
    Why it stops learning:
        All hooks write under the last name; a network of four layers has the weights of one; what one call collected is
        there in the next.
    Evidence it needs:
        SourcesRead and SourceSlip (a watched script): its loaded sources, read and not run.
    How it decides:
        From the syntax trees: only functions that are put away (appended, registered as a hook, stored under a key),
        only layers with weights, only defaults that are changed. `suspected`.
    Remedy:
        Per form.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Layers that share their weights on purpose, as ALBERT's do.
    References:
        Python documentation, "Why do lambdas defined in a loop with different values all return the same result?".
    """
    yield from told(evidence.of(SourceSlip), _SAYS)
