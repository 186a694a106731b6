"""L338 token-after-the-next."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import TokenOffset
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L338",
    "token-after-the-next",
    Severity.CRITICAL,
    needs=(TokenOffset,),
    looked_at=requires(
        TokenOffset,
        lambda one, limits: one.batches >= limits.batches,
        otherwise="too few batches of tokens were compared with their targets",
    ),
    thing="sequences of tokens with a target at every position",
    equal=Threshold(0.999, "of the targets are the token two positions ahead, in every batch"),
    next=Threshold(0.9, "of them are the next token as well: a sequence of few tokens"),
    batches=Threshold(2, "batches, all of which agree"),
)
def token_after_the_next(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network for tokens is asked for the token after the next one.

    What it finds:
        Labels that are moved by one position to make the decoder's input, and once more in the loss.
    Why it stops learning:
        It does learn, to leave out every second word: the loss falls, and what it writes is wrong from the first token.
    Evidence it needs:
        TokenOffset (a watched script): the targets of a cross-entropy beside the tokens that the network was given, at
        the position of the output that each target is held against.
    How it decides:
        In `batches` batches or more at least `equal` of the counted targets are the token two positions ahead and fewer
        than `next` the next one, and no other loss of the network asks for the next token (as where several heads
        predict several tokens): `demonstrated`.
    Remedy:
        Move once: give the decoder `labels` moved right and hold its output against `labels` as they are.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A network that is meant to predict the token after the next alone.
    References:
        Hugging Face, `shift_tokens_right` of encoder-decoder models; Radford et al., 2018, equation 1.
    """
    records = evidence.of(TokenOffset)
    asked_for_next = {(one.network, one.argument) for one in records if one.following >= limits.equal}
    for one in records:
        if one.batches < limits.batches or one.second < limits.equal or one.following >= limits.next:
            continue
        if (one.network, one.argument) in asked_for_next:
            continue
        yield Found(
            message=f"{one.network} sees {one.argument} up to a position and is asked for the token two positions "
            f"ahead ({100 * one.second:.1f} % of the targets in each of {one.batches} batches; "
            f"{100 * one.following:.0f} % are the next one): something is moved twice.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"second": one.second, "following": one.following, "batches": one.batches},
            remedy="Move by one position once: either in the decoder's input or between output and targets.",
        )
