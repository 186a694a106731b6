"""L335 output-never-asked."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_outputs import OutputAsked
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L335",
    "output-never-asked",
    Severity.MAJOR,
    needs=(OutputAsked,),
    looked_at=requires(
        OutputAsked,
        lambda seen, limits: seen.looks >= limits.asked_looks,
        otherwise="gradients at outputs of networks were seen in too few iterations",
    ),
    asked_looks=Threshold(3, "iterations without any gradient there; gates that open from zero need one or two"),
    read_looks=Threshold(5, "the same, where the training reads the output by its name, as one step in two may"),
    own_numbers=Threshold(8, "in parameters that lead there alone; what has none is a by-product and no prediction"),
)
def output_never_asked(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss never looks at one output of the network, or at one of its channels, and something else does.

    What it finds:
        The loss of the second head that was copied from the first and still takes the first's output; ``output[:, 0]``
        for a network with two channels; a head whose term was lost in a rewrite, while the evaluation scores it.
    Why it stops learning:
        What nothing asks for stays what it was at random: the parameters behind it never get a gradient.
    Evidence it needs:
        OutputAsked (a watched script): what every backward pass brings to every output of a trained network, channel
        by channel, and which operations take outputs in evaluation.
    How it decides:
        *Outputs.* A gradient came to other outputs of the same calls and never to this one, in `asked_looks` watched
        iterations; parameters of an optimiser, with `own_numbers` numbers, lead to it and got none at all; and the
        evaluation computes with it. `demonstrated` if the function that trains never reads the output by its name, else
        `suspected`, from `read_looks` iterations on.
        *Channels.* They vary, their gradient was exactly zero in `asked_looks` iterations while others had one, and
        the loss was computed again with NaN in their place: fixed indices alone keep them out of it (an index, mask or
        weight that comes from the data does not count). `demonstrated` if the evaluation computes with them,
        `suspected` if a tensor of the batch has the output's shape and varies there; else nothing is said.
    Remedy:
        Compare that output, or that channel, with its own target; or do not make it.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Training in stages, where a head is evaluated before its own stage has begun.
    References:
        None.
    """
    for seen in evidence.of(OutputAsked):
        if seen.looks < limits.asked_looks:
            continue
        if not seen.reached:
            yield from _output(seen, limits)
        elif seen.silent and seen.dropped and (seen.read or seen.told):
            yield _channels(seen)


def _output(seen: OutputAsked, limits: Limits) -> Iterator[Found]:
    if not seen.read or seen.own < limits.own_numbers or (seen.named and seen.looks < limits.read_looks):
        return
    again = f" Line {seen.again.line} takes another output of its shape a second time." if seen.again else ""
    yield Found(
        message=f"The loss never looks at {seen.output or 'an output'} of {seen.network}: in {seen.looks} iterations "
        f"no gradient came to it, {seen.own:,} numbers in its parameters are not trained, and the evaluation "
        f"computes with it ({seen.read_at}).{again}",
        standing=Standing.SUSPECTED if seen.named else Standing.DEMONSTRATED,
        location=(None if seen.named else seen.again) or seen.where,
        numbers={"looks": seen.looks, "parameters": seen.own},
        remedy=f"Compare {seen.output or 'it'} with its own target in the loss.",
        variant="output",
    )


def _channels(seen: OutputAsked) -> Found:
    which = ", ".join(str(one) for one in seen.silent[:4]) + (" ..." if len(seen.silent) > 4 else "")
    why = f"the evaluation computes with them ({seen.read_at})" if seen.read else "the batch has targets for them"
    return Found(
        message=f"The loss never looks at {len(seen.silent)} of {seen.channels} channels of what {seen.network} gives "
        f"({which}): their gradient is exactly zero, a fixed index leaves them out, and {why}.",
        standing=Standing.DEMONSTRATED if seen.read else Standing.SUSPECTED,
        location=seen.dropped_at or seen.where,
        numbers={"looks": seen.looks, "channels": seen.channels, "silent": len(seen.silent)},
        remedy="Compare every channel with its target, or make no more channels than are used.",
        variant="channels",
    )
