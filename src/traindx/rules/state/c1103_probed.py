"""C1103 train/eval-mode-wrong, from the same evaluation call made twice."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import RandomnessProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "C1103",
    "mode-wrong",
    Severity.MAJOR,
    needs=(RandomnessProbed,),
    repeat_difference=Threshold(1e-3, "of the output's spread; dropout of 0.1 in a small network gave 0.2"),
)
def draws_in_evaluation(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Dropout that `eval()` does not switch off.

    A call without gradients, with the network and all its parts in evaluation mode, is made again with other random
    numbers. If the output differs by more than `repeat_difference` of its spread and the first operation that drew is
    a functional dropout (or attention with a dropout rate) that was not told the mode, it is `demonstrated`. A
    dropout that is told ``training=True`` (Monte-Carlo dropout) and other draws (a sampled latent, noise) are meant.
    """
    seen = set()
    for record in evidence.of(RandomnessProbed):
        drops = "dropout" in record.function or record.function in ("scaled_dot_product_attention", "rrelu")
        if not drops or record.told or record.difference < limits.repeat_difference or record.drawn_at in seen:
            continue
        seen.add(record.drawn_at)
        yield Found(
            variant="dropout-in-evaluation",
            message=f"{record.function} stays active in evaluation: the same input gives {record.network} outputs that "
            f"differ by {record.difference:.2g} of their spread, although it is in evaluation mode.",
            standing=Standing.DEMONSTRATED,
            location=record.drawn_at or record.where,
            numbers={"difference": record.difference},
            remedy="Pass the mode on: training=self.training, or dropout_p=self.dropout if self.training else 0.0.",
        )
