"""C1111 result-thrown-away."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import DiscardedResult
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("C1111", "result-thrown-away", Severity.MAJOR, needs=(DiscardedResult,))
def result_thrown_away(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A call that changes nothing in place is a statement of its own: its result is lost.

    What it finds:
        `x.clamp(0, 1)`, `mask.to(device)`, `x + code`, `sorted(files)` as a whole line, where the author thought that
        it works in place, or forgot to assign it.
    Why it stops learning:
        What the line was to do is not done: values stay unclamped, files unsorted, labels in another order than images.
    Evidence it needs:
        DiscardedResult (a watched script).
    How it decides:
        The statement consists of that call, or of one sum, difference, product or quotient, alone, inside a function
        or a loop. `demonstrated` where it was seen to run and to give another tensor than it was called on;
        `suspected` where the source alone tells.
    Remedy:
        Assign the result, or use the variant that works in place.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        A call made for its cost, as in a benchmark.
    References:
        PyTorch documentation, in-place operations have a trailing underscore; Python documentation of `sorted`.
    """
    for call in evidence.of(DiscardedResult):
        ran = f", and ran {call.calls} times" if call.calls > 1 else ""
        yield Found(
            message=f"The result of `{call.function}` is thrown away{ran}: it gives a new {call.result} and "
            "leaves the old one as it was.",
            standing=Standing.DEMONSTRATED if call.calls else Standing.SUSPECTED,
            location=call.where,
            numbers={"calls": call.calls},
            remedy="Assign the result to a name.",
        )
