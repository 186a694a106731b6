"""E825 figure-never-reset."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import Accumulated
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E825",
    "figure-never-reset",
    Severity.MAJOR,
    needs=(Accumulated,),
    looked_at=requires(
        Accumulated,
        lambda seen, limits: seen.passes > limits.kept_passes,
        otherwise="too few passes were seen in which a sum was added to",
    ),
    thing="sums over batches that begin outside of all passes",
    kept_passes=Threshold(1, "passes that began with what the one before had left"),
)
def figure_never_reset(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A sum over the batches of a pass is never set back, so that the figure holds all passes before it.

    What it finds:
        ``running_loss = 0`` before the loop over epochs, ``running_loss += loss.item()`` in the loop over batches, and
        ``running_loss / len(loader)`` after every epoch; a list of predictions that is joined after every epoch and
        never emptied.
    Why it stops learning:
        It does not; but the loss seems to grow and the accuracy to pass 1, or every figure lags behind, and a schedule
        or a best checkpoint that goes by it goes wrong.
    Evidence it needs:
        Accumulated (a watched script): such names are looked up in the live frames whenever a network is called.
    How it decides:
        The source adds to the name in a loop inside a loop, gives it 0 or an empty list before both only, and within
        the outer one divides it by something that does not grow, or joins it; and more than `kept_passes` passes were
        seen to begin with at least what the one before had left: `suspected`.
    Remedy:
        Give it 0 (or an empty list) at the beginning of every pass.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A total over the whole training that is meant to be one.
    References:
        None.
    """
    for seen in evidence.of(Accumulated):
        if seen.kept <= limits.kept_passes:
            continue
        what = f"{seen.last:.0f} entries" if seen.several else f"{seen.last:.4g}"
        yield Found(
            message=f"{seen.name} is never set back: {seen.kept} passes began with all that the ones before had left "
            f"(the last with {what}), and every pass makes a figure of it ({seen.used}).",
            location=seen.where,
            numbers={"kept": seen.kept, "passes": seen.passes, "last": seen.last},
            remedy=f"Begin {seen.name} anew inside the loop over the epochs.",
        )
