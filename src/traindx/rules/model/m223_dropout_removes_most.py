"""M223 dropout-removes-most."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import DropoutSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M223",
    "dropout-removes-most",
    Severity.MAJOR,
    needs=(DropoutSeen,),
    thing="dropout layers in training",
    rate=Threshold(0.75, "of the activations removed; published networks drop 0.1 to 0.5, a few 0.65"),
    kept=Threshold(0.5, "of the activations removed by a rate that is named for keeping: 0.5 is the same either way"),
)
def dropout_removes_most(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A dropout layer removes most of the activations.

    What it finds:
        The probability of keeping, as other libraries ask for it (`keep_prob=0.85`), given to `nn.Dropout`, which asks
        for the probability of dropping.
    Why it stops learning:
        What is left is multiplied by 1 / (1 - p), seven times at 0.85, and another seventh of the network sees every
        batch: the loss is noise, and it stays far above what the network reaches in evaluation mode.
    Evidence it needs:
        DropoutSeen (a watched script): the rates of the layers that are in training mode when the network is called.
    How it decides:
        A rate of at least `rate` and below 1; or above `kept` where the line that makes the layer speaks of keeping.
        `suspected`: a rate is a choice.
    Remedy:
        `nn.Dropout(1 - keep_prob)`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Networks that are meant to see a small part, such as those for word vectors of rare words.
    References:
        Srivastava et al., Dropout, JMLR 2014 (p is there the probability of keeping); PyTorch, `torch.nn.Dropout`.
    """
    for one in evidence.of(DropoutSeen):
        if not (one.rate >= limits.rate or (one.keeps and one.rate > limits.kept)) or one.rate >= 1:
            continue
        named = ", and the line that makes it speaks of keeping" if one.keeps else ""
        yield Found(
            message=f"{one.layer}({one.rate:g}) removes {100 * one.rate:.0f} % of the activations in training{named}: "
            "p is the probability of dropping.",
            standing=Standing.SUSPECTED,
            location=one.where,
            numbers={"rate": one.rate, "layers": one.layers},
            remedy=f"If {one.rate:g} is the share to keep, give {1 - one.rate:.2g}.",
        )
