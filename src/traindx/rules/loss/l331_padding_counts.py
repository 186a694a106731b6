"""L331 padding-counts."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import PaddingTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L331",
    "padding-counts",
    Severity.MAJOR,
    needs=(PaddingTried,),
    thing="padded sequences with a mask",
    alike=Threshold(0.2, "influence of a padded step over that of a real one; what leaks through a layer is far below"),
    reached=Threshold(0.9, "share of the sequences of one kind whose result follows their last step"),
    missed=Threshold(0.05, "share of those of the other kind"),
    sequences=Threshold(4, "sequences with padding, and as many without"),
)
def padding_counts(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What the mask says is padding counts as much as what is not, or what is not padding does not count.

    What it finds:
        A sum over all steps that is multiplied by the mask afterwards; a mean whose mask was forgotten; an index of the
        last step that is wrong where a sequence has no padding (`mask.argmin(1) - 1`).
    Why it stops learning:
        The loss is about padding, the more of it the shorter a sequence is; or full sequences are read at a wrong step.
    Evidence it needs:
        PaddingTried (a watched script): the function called in a child process with other content in the padded steps,
        and with another last step.
    How it decides:
        The first value in the function that follows the padding follows a padded step at least `alike` times as much as
        a real one: `suspected`. Or the results of at least `reached` of the sequences with padding follow their last
        real step, and of those without at most `missed` do (or the other way round), at least `sequences` of both.
        Padding lies after the content and holds one value in the captured call. The second kind is `demonstrated`.
    Remedy:
        Multiply by the mask before summing, divide by its sum; the last real step is `mask.sum(1) - 1`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A function that is meant to count padded steps and takes their mask for another purpose.
    References:
        None.
    """
    records = evidence.of(PaddingTried)
    innermost = {_reach(one): one for one in records}  # a network is called before its parts are
    for one in records:
        if one.content > 0 and one.padding / one.content >= limits.alike:
            what = "What it returns" if one.value == "return" else one.value
            yield Found(
                message=f"In {one.function}, padding counts: {what} follows a step that {one.mask} says is padding "
                f"{one.padding / one.content:.2g} times as much as one that is not.",
                standing=Standing.SUSPECTED,
                location=one.where,
                numbers={"padding": one.padding, "content": one.content},
                remedy=f"Multiply by {one.mask} before anything is summed (a sum without dim is over all steps).",
                variant="counts",
            )
        elif one.rows >= limits.sequences and one.rows_padded >= limits.sequences and one is innermost[_reach(one)]:
            low, high = sorted((one.reach, one.reach_padded))
            if one.reach < 0 or one.reach_padded < 0 or low > limits.missed or high < limits.reached:
                continue
            kind = "without" if one.reach < one.reach_padded else "with"
            yield Found(
                message=f"The result of {one.function} does not depend on the last step of sequences {kind} padding "
                f"({100 * low:.0f} % of them); for the others it does ({100 * high:.0f} %): a wrong step is read.",
                standing=Standing.DEMONSTRATED,
                location=one.where,
                numbers={"without_padding": one.reach, "with_padding": one.reach_padded},
                remedy=f"The last real step is {one.mask}.sum(1) - 1: argmin is 0 where nothing is padded.",
                variant="last",
            )


def _reach(record: PaddingTried) -> tuple[float, ...]:
    """What tells the function that reads a wrong step from those that call it: nothing."""
    return (record.rows, record.rows_padded, record.reach, record.reach_padded)
