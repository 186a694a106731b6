"""M204 input-ignored, from experiments on a running script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import InputProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.model._probed import lost, never_moves


@rule(
    "M204",
    "input-ignored",
    Severity.CRITICAL,
    needs=(InputProbed,),
    looked_at=requires(
        InputProbed,
        lambda one, limits: one.argument == "all inputs" and one.differs,
        otherwise="no call could be made again with other arguments",
    ),
    probed_effect=Threshold(1e-6, "round-off of float32; a network that follows its input moves by about 1"),
)
def input_ignored_in_script(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: the output stays when all arguments of a captured call are replaced.

    All arguments are moved on by one place and get noise; gates that start at zero are drawn again. `demonstrated` if
    the output moved by at most `probed_effect` of its spread in every experiment on that network. The line is that of
    the last operation that took something different and gave the same.
    """
    for record in never_moves(evidence, limits.probed_effect):
        if record.argument != "all inputs":
            continue
        yield Found(
            variant="input-ignored",
            message=f"The output of {record.network} does not depend on its input: with every argument replaced it "
            f"changes by {record.effect:.1g} of its own spread{lost(record)}.",
            standing=Standing.DEMONSTRATED,
            location=record.lost_at or record.where,
            numbers={"effect": record.effect, "lost_in": record.lost_in},
            remedy="Look at that operation: a softmax over an axis of length one, a factor of zero, an integer cast, "
            "a variable that is overwritten.",
        )
