"""O421 accumulated-sum."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import AccumulationSeen
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import one_optimizer


@rule(
    "O421",
    "accumulated-sum",
    Severity.MAJOR,
    needs=(AccumulationSeen,),
    looked_at=(
        one_optimizer,
        requires(
            AccumulationSeen,
            lambda one, limits: one.steps >= limits.sum_steps,
            otherwise="too few steps with several backward passes of one line were watched",
        ),
    ),
    thing="steps with several backward passes of one line before them",
    sum_steps=Threshold(3, "steps looked at: the first could be a warm-up"),
    share=Threshold(0.9, "of these steps; a pass over the data may end with fewer batches"),
    passes=Threshold(3, "batches a step; a rate twice as large is within what is tried anyway"),
    travel=Threshold(
        1.0,
        "batches x rate / (1 - momentum): at its largest 1 for the mean of a batch, in ResNet's training (rate 0.1, "
        "momentum 0.9) as in nnU-Net's (0.01, 0.99); below it the rate may well have been chosen for the sum",
    ),
    whole=Threshold(0.99, "least factor of a mean in the loss that counts as not divided"),
)
def accumulated_sum(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The gradients of several small batches are added up for a step, and nothing divides them by their number.

    What it finds:
        ``loss.backward()`` on each of `accumulate` batches before one ``optimizer.step()``, without
        ``loss / accumulate``.
    Why it stops learning:
        A large batch has the mean of the gradients of its parts, and this is their sum: with SGD the rate acts as if
        it were as many times as large as there are parts.
    Evidence it needs:
        AccumulationSeen (a watched script with one optimiser).
    How it decides:
        In at least `share` of at least `sum_steps` steps that were looked at: one line made the same number of
        backward passes, `passes` or more, each of an input of its own; each loss is a mean, at a factor that is not
        below `whole` (or terms whose factors add up to 1), and nothing in it is one over that number; the step used
        the gradients as the last pass left them, neither clipped nor divided. The optimiser is one whose step is as
        long as the gradient (SGD, ASGD). The script must say that this is an accumulation: something that it
        calls so, or that its step waits for while a loader gives a batch for every pass, is that very number. No line
        of it may divide anything but a figure by that number, which may be how it compensates. And the rate that acts
        must be beyond what is usual for a mean (`travel`). `suspected`: that the sum was used is measured; that a mean
        was meant, and that it would train better, is not.
    Remedy:
        ``(loss / accumulate).backward()``, or a rate divided by that number.
    Trial it proposes:
        `learning-rate` divided by the number of batches, which does to plain steps what dividing the loss does.
    Known false positives:
        A rate above the usual that was tuned for the sum.
    References:
        He et al., Deep residual learning for image recognition, CVPR 2016, section 3.4, and Isensee et al., nnU-Net,
        Nature Methods 2021, Methods, for the usual rates and momenta.
    """
    for one in evidence.of(AccumulationSeen):
        most = limits.share * one.steps
        often = min(one.usual, one.apart, one.kept, one.means) >= max(most, limits.sum_steps)
        says_so = bool(one.named) or (bool(one.tested) and one.read >= most)
        undivided = one.largest >= limits.whole or abs(one.total - 1) <= 1 - limits.whole
        as_it_is = abs(one.common - 1) <= 1 - limits.whole and undivided and not one.divided
        if one.passes < limits.passes or not (often and says_so and as_it_is):
            continue
        if one.hooked or one.compensated or not one.scales:
            continue
        acts = one.passes * one.rate
        if acts <= limits.travel * (1 - one.momentum):
            continue
        yield Found(
            message=f"Every step of {one.optimizer} uses the sum of the gradients of {one.passes} batches "
            f"({one.named or one.tested}), each of a loss that is a mean, and nothing divides it by {one.passes}: the "
            f"rate of {one.rate:g} acts as {acts:g} would on their mean.",
            location=one.where,
            numbers={"batches": one.passes, "rate": one.rate, "acts_as": acts, "momentum": one.momentum},
            remedy=f"Divide the loss by {one.passes} before backward(), or choose the rate for a sum.",
            proposals=(Proposal(treatment="learning-rate", parameters={"factor": 1 / one.passes}),),
        )
