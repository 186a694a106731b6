"""M219 future-is-seen."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import FutureProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M219",
    "future-is-seen",
    Severity.CRITICAL,
    needs=(FutureProbed,),
    looked_at=requires(
        FutureProbed,
        lambda one, limits: one.at_all > limits.seen,
        otherwise="no output followed the token that was changed",
    ),
    thing="sequences whose next token is asked for",
    seen=Threshold(1e-3, "of the output's spread; other orders of the same sums stay below 1e-5"),
)
def future_is_seen(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network that is asked for the next token of a sequence sees that token.

    What it finds:
        A transformer decoder without a causal mask, a convolution over a sequence that is padded on both sides, a
        recurrent layer that runs in both directions, in a network that writes reports word by word.
    Why it stops learning:
        It copies the answer: the loss falls to zero, and in generation, where there is no next token yet, it has
        learned nothing.
    Evidence it needs:
        FutureProbed (a watched script): the target of a cross-entropy is, position by position, the next token of the
        integer sequence that the network was given; one token in the middle is changed and the call made again.
    How it decides:
        What the network gives for earlier positions changes by more than `seen` of the output's spread:
        `demonstrated`.
    Remedy:
        Give the attention a causal mask (`nn.Transformer.generate_square_subsequent_mask`, `is_causal=True`).
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known: what is asked for is in what is given.
    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.2.3.
    """
    for one in evidence.of(FutureProbed):
        if one.before <= limits.seen:
            continue
        yield Found(
            message=f"{one.network} is asked for the next token at each position and sees it: another token in the "
            f"middle of {one.tokens} changes what it gives for earlier positions by {one.before:.2g} of its spread.",
            standing=Standing.DEMONSTRATED,
            location=one.where or one.called,
            numbers={"before": one.before, "at_all": one.at_all},
            remedy="Hide later positions with a causal mask, in training as in generation.",
        )
        return
