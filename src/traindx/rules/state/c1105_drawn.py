"""C1105 rng-not-seeded: the division of the data, drawn twice."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import SplitDrawn
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1105", "rng-not-seeded", Severity.CRITICAL, needs=(SplitDrawn,))
def split_differs_between_processes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The division of the data follows the global random state, so each process or rank draws another one.

    The case's own function is asked three times under different random states. ``demonstrated`` where two answers
    differ.
    """
    for record in evidence.of(SplitDrawn):
        if not record.differing:
            continue
        yield Found(
            message=f"The split was drawn {record.draws} times as in {record.draws} processes, and {record.differing} "
            f"differ from the first: up to {100 * record.moved:.0f} % of the names that one process holds out are "
            "trained on by another.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"moved": round(record.moved, 3), "names": record.patients},
            remedy="Draw the division from a generator with its own seed, or store it in a file.",
        )
