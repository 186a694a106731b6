"""D144 axes-not-as-the-numbers-lie."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import ReshapeTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D144",
    "axes-not-as-the-numbers-lie",
    Severity.MAJOR,
    needs=(ReshapeTried,),
    thing="arrays that are given two axes",
    rougher=Threshold(3.0, "times: steps along the smoother axis as made, over those with the axes read the other way"),
    smooth=Threshold(0.5, "of the spread: steps between neighbours where the axes are read rightly"),
)
def axes_not_as_the_numbers_lie(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An array is reshaped where its axes had to be exchanged: neighbours are no neighbours any more.

    What it finds:
        `raw.reshape(leads, samples)` of a file in which all leads of one instant lie side by side; `x.view(n, t, c)`
        of what is `(n, c, t)`.
    Why it stops learning:
        Every row is a mixture of all of them.
    Evidence it needs:
        ReshapeTried (a watched script): the array before and after, in a child process.
    How it decides:
        Steps between neighbours along the smoother of the two axes are at least `rougher` times those that remain if
        the two axes are read the other way round, and the latter are below `smooth`: `suspected`; `demonstrated` where
        the array had the very same two axes in the other order.
    Remedy:
        `raw.reshape(samples, leads).T`; `x.transpose(1, 2)`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Numbers that are alike in steps of the row's length by nature.
    References:
        NumPy documentation, `reshape`: the last axis index changes fastest.
    """
    for one in evidence.of(ReshapeTried):
        if one.rough < limits.rougher * one.other or one.other > limits.smooth:
            continue
        shape = " x ".join(str(size) for size in one.shape)
        how = "had these axes in the other order" if one.swapped else "holds them in the other order"
        yield Found(
            message=f"{one.expression} makes {shape} of an array that {how}: neighbours differ by "
            f"{one.rough:.2f} of the spread along either axis, and by {one.other:.2f} with the axes exchanged.",
            standing=Standing.DEMONSTRATED if one.swapped else Standing.SUSPECTED,
            location=one.where,
            numbers={"rough": one.rough, "other": one.other},
            remedy="Reshape to the order in which the numbers lie, then exchange the axes.",
        )
