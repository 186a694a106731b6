"""L333 prediction-never-read."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import LossArguments
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule


@rule(
    "L333",
    "prediction-never-read",
    Severity.MAJOR,
    needs=(LossArguments,),
    thing="losses that are own functions of several predictions",
)
def prediction_never_read(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loss is given something that a network predicts, and never reads it.

    What it finds:
        A smoothness term that is computed on the warped image instead of on the displacement field; a second head whose
        term was lost in a rewrite; two arguments of which one is used twice.
    Why it stops learning:
        What the network predicts there is not asked to be anything.
    Evidence it needs:
        LossArguments (a watched script): calls of own functions that are named for a loss and return a number.
    How it decides:
        An argument that has a gradient is nowhere read in the source of the function: `suspected`. Functions that share
        their arguments with another one of the same file, by name and order, are left alone, and so are arguments whose
        name begins with an underscore.
    Remedy:
        Use the argument in the term that is about it, or take it away.
    Trial it proposes:
        None; fix it.
    Known false positives:
        An argument that is kept for a later version.
    References:
        None.
    """
    for one in evidence.of(LossArguments):
        if not one.unread:
            continue
        yield Found(
            message=f"{one.function} is given {one.unread}, which the network predicts and which has a gradient, and "
            "never reads it: no term of that loss depends on it by this way.",
            location=one.where,
            numbers={"predictions": one.predictions},
            remedy=f"Use {one.unread} in the term that is about it, or do not pass it.",
        )
