"""L336 asked-for-what-is-given."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import TokensAsked
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L336",
    "asked-for-what-is-given",
    Severity.CRITICAL,
    needs=(TokensAsked,),
    looked_at=requires(
        TokensAsked,
        lambda one, limits: one.equal < limits.equal or one.own is not None,
        otherwise="no call whose tokens are its targets could be made again",
    ),
    thing="sequences of tokens with as many targets",
    equal=Threshold(0.999, "of the targets are the tokens at the same positions: nothing but a copy has that"),
    seen=Threshold(1e-3, "of the output's spread; other orders of the same sums stay below 1e-5"),
    hidden=Threshold(0.3, "of the targets that a loss on masked positions ignores; BERT ignores 85 %"),
    stretches=Threshold(2, "of counted targets in a sequence: positions that were drawn, not an ending"),
)
def asked_for_what_is_given(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network for tokens is asked, at each position, for the very token that it is given there.

    What it finds:
        A causal network that is to write the next token, whose targets were not moved by one position; a masked
        language model whose masked copy of the tokens is not what it is given.
    Why it stops learning:
        It copies: the loss falls to zero, and it has learned nothing about what comes next or what is hidden.
    Evidence it needs:
        TokensAsked (a watched script): the targets of a cross-entropy are compared with the integer sequences that the
        network was given, and the loss is given what came out of the network, position by position. Where they are
        equal, one token is changed and the call made again.
    How it decides:
        At least `equal` of the counted targets are the tokens at their positions, and what comes out at the position of
        a changed token changes by more than `seen`, in evaluation mode and in the mode and with the random numbers of
        the script's own call (so that nothing inside hides the token). And the network is one that must not see it:
        either nothing changes at earlier positions and something at later ones, as in a network for the next token; or
        the loss ignores more than `hidden` of the targets, and counts others in `stretches` a sequence or more, as with
        tokens that are masked. `demonstrated`. A network that sees all positions and is asked for all of them may be an
        autoencoder: silent.
    Remedy:
        Give the network `tokens[:, :-1]` and ask for `tokens[:, 1:]`; give a masked language model the masked copy.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A causal autoencoder of tokens that compresses each prefix.
    References:
        Devlin et al., BERT, NAACL 2019, section 3.1; Radford et al., 2018, equation 1.
    """
    for one in evidence.of(TokensAsked):
        own, then, before, after = one.own, one.own_then, one.before, one.after
        if one.equal < limits.equal or own is None or then is None or before is None or after is None:
            continue
        if min(own, then) <= limits.seen:
            continue
        causal = before <= limits.seen < after
        masked = one.hidden > limits.hidden and one.runs >= limits.stretches
        if not causal and not masked:
            continue
        what = (
            "it cannot see later positions, as a network for the next token, but the targets are not moved by one"
            if causal
            else f"the loss counts {1 - one.hidden:.0%} of the positions, as for masked tokens, and the network is "
            "given these very tokens"
        )
        yield Found(
            variant="causal" if causal else "masked",
            message=f"{one.network} is asked at each position for the token that it is given there ({one.counted} "
            f"targets, all equal): {what}. Another token changes what comes out at its own position by {own:.2g} of "
            "the spread, so it need only copy.",
            standing=Standing.DEMONSTRATED,
            location=one.where or one.called,
            numbers={"equal": one.equal, "own": own, "before": before, "after": after, "hidden": one.hidden},
            remedy="Ask for the next token: give `tokens[:, :-1]`, and take `tokens[:, 1:]` as targets."
            if causal
            else "Give the network the copy in which these tokens are masked.",
        )
