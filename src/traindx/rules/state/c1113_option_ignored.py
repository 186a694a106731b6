"""C1113 option-ignored."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import IgnoredOption
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1113", "option-ignored", Severity.MAJOR, needs=(IgnoredOption,))
def option_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A library warned that it takes no notice of an option it was given.

    What it finds:
        A softmax that a loss leaves out because it was given a single channel, a background class that is not left out,
        an argument without effect, as the library itself says.
    Why it stops learning:
        What was configured does not act, for example raw logits enter an overlap.
    Evidence it needs:
        IgnoredOption (a watched script).
    How it decides:
        A UserWarning from a library's code says that something is ignored, not used or without effect. `suspected`,
        since only the reader knows whether it was meant to act.
    Remedy:
        Give the library what the option needs, or take the option away.
    Trial it proposes:
        None.
    Known false positives:
        An option that is ignored because another one says the same.
    References:
        MONAI documentation of `DiceLoss`: options for several channels are ignored for one.
    """
    for seen in evidence.of(IgnoredOption):
        by = seen.library or "A library"
        yield Found(
            message=f"{by} takes no notice of something this line asks for, and says so: {seen.message!r}.",
            standing=Standing.SUSPECTED,
            location=seen.where,
            numbers={"times": seen.times},
            remedy="Find out which argument it means; what it was to do is not done.",
        )
