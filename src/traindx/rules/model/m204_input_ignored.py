"""M204 input-ignored."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import InputEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M204",
    "input-ignored",
    Severity.CRITICAL,
    needs=(InputEffect,),
    looked_at=requires(
        InputEffect,
        lambda effect, limits: effect.source in ("x_t", "all inputs") and effect.differs,
        otherwise="the input could not be changed",
    ),
    most_effect=Threshold(1e-6, "round-off of float32; the smallest effect of a main input on a healthy net was 0.5"),
)
def input_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The output is the same whatever the input.

    What it finds:
        A network whose output does not change at all when its main input is another sample's: x_t of a diffusion
        model, everything for any other.
    Why it stops learning:
        A constant function can only learn the mean of the targets.
    Evidence it needs:
        InputEffect of ``x_t`` or ``all inputs`` (checks *input-effects* and *trained-input-effects*).
    How it decides:
        The root mean square change of the output, over the output's own spread, is at most `most_effect`. Before
        training, zero-initialised heads and gates are drawn again first.
    Remedy:
        Follow the input through `forward`: a variable that is overwritten, a branch multiplied by zero, a detached
        buffer, or (after training only) activations that all died.
    Trial it proposes:
        None.
    Known false positives:
        Two samples that are identical.
    References:
        None.
    """
    for effect in evidence.of(InputEffect):
        if effect.source not in ("x_t", "all inputs") or effect.effect > limits.most_effect or not effect.differs:
            continue
        model = "trained model" if effect.trained else "network"
        what = "another sample's x_t" if effect.source == "x_t" else "another sample"
        yield Found(
            message=f"The output of the {model} does not depend on its input: {what} changes it by "
            f"{effect.effect:.1g} of its own spread.",
            standing=Standing.DEMONSTRATED,
            location=effect.where,
            numbers={"effect": effect.effect, "trained": effect.trained},
            remedy="Follow the input through forward(): look for a variable that is overwritten, a factor of zero, or "
            "activations that are all dead.",
        )
        return
