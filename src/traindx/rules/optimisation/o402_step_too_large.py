"""O402 step-too-large."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed import LossSeries, NetworkCalls
from traindx.evidence.observed_loss import LossTermSeen
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import ends, lower_rates, one_optimizer, optimizer_at, series_of
from traindx.rules.optimisation.o402_probed import raised_by_steps

TOLERABLE_RATIO = 1e-2  # of an update over its weight; 1e-3 is usual


@rule(
    "O402",
    "step-too-large",
    Severity.MAJOR,
    needs=(ParameterGroupSeen, OptimizerSeen),
    looked_at=(
        one_optimizer,
        requires(
            ParameterGroupSeen,
            lambda group, limits: (
                len(group.update_ratios) >= limits.skip + 3 and max(group.gradient_norms, default=0.0) > 0
            ),
            otherwise="too few steps with a gradient were watched",
        ),
    ),
    ratio=Threshold(
        0.05, "update over weight a step; Adam at 1e-2 on a small network stays below 0.03 after its start"
    ),
    improvement=Threshold(0.9, "last loss over first: a run that improves by a tenth is learning after all"),
    looks=Threshold(8, "watched updates that are judged; weights that were blown up make later ratios small again"),
    skip=Threshold(2, "first watched updates, in which Adam's step is the learning rate whatever the gradient"),
    grown=Threshold(
        1.5, "most over fewest elements that a term of the loss adds up; a last batch is smaller than others"
    ),
    acting=Threshold(1.5, "network calls an iteration, without a data loader; a training step calls it once"),
)
def step_too_large(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The optimiser's steps are so large that they throw the weights about, and the loss does not fall.

    What it finds:
        An update of more than `ratio` of the weights in a typical step, in a run whose loss has not improved, or has
        stopped being finite.
    Why it stops learning:
        Every step jumps over the valley it aims at; what one step learns the next one destroys.
    Evidence it needs:
        ParameterGroupSeen, OptimizerSeen and LossSeries (a watched script).
    How it decides:
        Median update-to-weight ratio of the group with the largest one, over `looks` updates after the first `skip`,
        and the median of the last losses over the loss before any step. Both must be bad. A loss whose values cannot
        be compared is no measure: one that adds up a number of elements that changes (an episode that grows because
        the agent learns), and one of data that the network brings about itself, which shows in its being called again
        and again between steps while no data loader feeds them. It is `suspected`; a trial with a smaller rate proves
        it.
    Remedy:
        Lower the learning rate by factors of 10; warm it up.
    Trial it proposes:
        `learning-rate` with the two powers of ten that bring the ratio to about 1e-2 and 1e-3, or, where a step was
        seen to raise its own loss, to where it no longer would.
    Known false positives:
        Adversarial training, whose losses need not fall: more than one optimiser is not judged.
    References:
        Karpathy, CS231n notes, "Ratio of weights:updates", 2015.
    """
    if raised_by_steps(evidence, limits):  # shown by experiment already
        return
    if sum(1 for optimizer in evidence.of(OptimizerSeen) if optimizer.steps) != 1:
        return
    worst: tuple[float, ParameterGroupSeen] | None = None
    for group in evidence.of(ParameterGroupSeen):
        start = int(limits.skip)
        later = [ratio for ratio in group.update_ratios[start : start + int(limits.looks)] if not math.isnan(ratio)]
        if len(later) >= 3 and (worst is None or median(later) > worst[0]):
            worst = (median(later), group)
    if worst is None or worst[0] < limits.ratio:
        return
    ratio, group = worst
    optimizer = optimizer_at(evidence, group.where, group.optimizer)
    series = series_of(evidence, optimizer) if optimizer is not None else None
    if series is None:
        return
    first, last = series.values[0], ends(series.values)[1]
    broken = series.first_nonfinite >= 0
    if not broken and not _comparable(evidence, series, limits):
        return
    if not broken and not (last >= limits.improvement * first if first > 0 else last >= first):
        return
    outcome = (
        f"the loss is not finite from iteration {series.first_nonfinite} on"
        if broken
        else f"the loss went from {first:.3g} to {last:.3g}"
    )
    yield Found(
        message=f"With a learning rate of {group.largest_lr:g} a typical step of {group.optimizer} changes the weights "
        f"by {100 * ratio:.0f} % of their size (about 0.1 % is usual), and {outcome}.",
        location=group.where,
        severity=Severity.CRITICAL if broken else None,
        numbers={
            "update_over_weight": ratio,
            "learning_rate": group.largest_lr,
            "loss_first": first,
            "loss_last": last,
        },
        remedy="Lower the learning rate by factors of 10 until the ratio is near 1e-3.",
        proposals=lower_rates(TOLERABLE_RATIO / ratio),
    )


def _comparable(evidence: Evidence, series: LossSeries, limits: Limits) -> bool:
    """Do two values of the loss mean the same?"""
    terms = [term for term in evidence.of(LossTermSeen) if term.backward == series.where]
    if any(term.extents[1] > limits.grown * term.extents[0] for term in terms):
        return False
    if any(loader.trains for loader in evidence.of(LoaderSeen)):
        return True
    calls = [call for call in evidence.of(NetworkCalls) if call.iterations >= 3]
    most = max((call.iterations for call in calls), default=0)
    # a validation every so many iterations brings no data about; acting goes on between most of the steps
    return sum(call.calls / call.iterations for call in calls if 2 * call.iterations > most) < limits.acting
