"""E805 best-checkpoint-criterion-broken."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import SelectionKey
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("E805", "best-checkpoint-criterion-broken", Severity.MAJOR, needs=(SelectionKey,))
def selection_key_missing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The best checkpoint is chosen by a figure that validation never produces.

    What it finds:
        A selection key that is not among the figures of a validation. With a default of 0 or infinity for what is
        missing, the first checkpoint or none stays the best for ever.
    Why it stops learning:
        It does not; but what is kept, evaluated and deployed is the first epoch.
    Evidence it needs:
        SelectionKey (check *bookkeeping*): ``Case.deployment.selects`` and ``produces``; or RepeatedSelection (check
        *repeat-selection*): ``validate``.
    How it decides:
        The key is not among the names that validation produces: `demonstrated`. So is a figure that the case's own
        validation gives two models that share no weight, to the last bit.
    Remedy:
        Select by a figure that exists, and fail where it is missing instead of assuming a default.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A figure that is produced in some epochs only.
    References:
        None.
    """
    for seen in evidence.of(SelectionKey):
        if seen.key in seen.produced:
            continue
        near = difflib.get_close_matches(seen.key, seen.produced, n=1, cutoff=0.4)
        yield Found(
            message=f"The best checkpoint is chosen by {seen.key!r}, which validation never produces; it produces "
            f"{', '.join(seen.produced) or 'nothing'}.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"key": seen.key, "produced": len(seen.produced)},
            remedy=f"Select by {near[0]!r}." if near else "Select by a figure that validation produces.",
        )
