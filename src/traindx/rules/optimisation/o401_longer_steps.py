"""O401 step-too-small, from steps of a watched script that are made longer on their own batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import LossSeries
from traindx.evidence.observed_optim import SchedulerSeen
from traindx.evidence.probed import StepProbed
from traindx.finding import Location, Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import ends


@rule(
    "O401",
    "step-too-small",
    Severity.MAJOR,
    needs=(StepProbed,),
    looked_at=requires(
        StepProbed,
        lambda one, limits: one.owns and one.lr > 0,
        otherwise="no step of a single network, backward pass and optimiser could be repeated with its own batch",
        least=2,
    ),
    slow=Threshold(
        1e-4,
        "of the loss of its own batch is what a step takes away; a thousand such steps do not take a tenth of it, "
        "while fine-tuning at 1e-5 with Adam took 2e-3 and more",
    ),
    ahead=Threshold(30.0, "times as much is what a step a hundred times as long takes away: the slope goes on"),
    gain=Threshold(0.005, "of the loss is what a step that is longer by up to a thousand times takes away"),
    tries=Threshold(2, "steps, since one may be odd"),
    fell=Threshold(0.1, "relative fall of the loss of the run from which on its rate is called large enough"),
)
def longer_steps_do_more(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A step hardly changes the loss of its own batch, and the same step made far longer lowers it.

    Where a step changed the loss of the batch that it was computed from by next to nothing, the batch is passed again
    through twins of the network whose weights have gone 10, 100 and 1000 times as far. It is ``suspected`` if a
    step takes less than ``slow`` of the loss, one that is a hundred times as long ``ahead`` times as much, and a
    longer one at least ``gain``, in most of the steps looked at, ``tries`` at least, while the loss of the run
    does not fall. Steps of a warm-up or of the end of a schedule are not judged.
    """
    steps: dict[Location | None, list[StepProbed]] = {}
    for one in evidence.of(StepProbed):
        if one.owns and one.lr > 0 and one.before > 0 and math.isfinite(one.before):
            steps.setdefault(one.made, []).append(one)
    for made, all_of in steps.items():
        planned = [one.highest for one in evidence.of(SchedulerSeen) if one.of == made]
        highest = max([*(one.lr for one in all_of), *planned])
        watched = [one for one in all_of if one.lr >= 0.5 * highest]
        slow = [one for one in watched if _taken(one, one.after) < limits.slow and _gains(one, limits)]
        if len(slow) < limits.tries or 2 * len(slow) <= len(watched):
            continue
        series = [one for one in evidence.of(LossSeries) if one.where == slow[0].where]
        if any(_fall(one.values) >= limits.fell for one in series):
            continue
        typical = sorted(slow, key=lambda one: _taken(one, one.after))[len(slow) // 2]
        fall = max(_taken(typical, typical.after), 0.0)
        hundred, thousand = _taken(typical, typical.farther[1]), _taken(typical, typical.farther[2])
        yield Found(
            variant="longer-steps",
            message=f"A step of {typical.optimizer} at a learning rate of {typical.lr:g} lowers the loss of its own "
            f"batch by {100 * fall:.2g} %. A hundred times as long it lowers it by {100 * hundred:.2g} %"
            + (f", a thousand times as long by {100 * thousand:.2g} %" if thousand > hundred else "")
            + ": at this rate the weights practically stay where they are.",
            location=made or typical.where,
            numbers={
                "learning_rate": typical.lr,
                "fall": fall,
                "fall x10": _taken(typical, typical.farther[0]),
                "fall x100": hundred,
                "fall x1000": thousand,
                "steps": len(slow),
            },
            remedy="Raise the learning rate by factors of 10 until a step lowers the loss of its own batch by about a "
            "percent.",
            proposals=tuple(Proposal(treatment="learning-rate", parameters={"factor": k}) for k in (10.0, 100.0)),
        )


def _taken(one: StepProbed, after: float) -> float:
    """Share of the loss of its batch that a step takes away; negative if it adds to it."""
    return (one.before - after) / one.before


def _gains(one: StepProbed, limits: Limits) -> bool:
    falls = [_taken(one, loss) for loss in one.farther if math.isfinite(loss)]
    return (
        len(falls) == len(one.farther) > 0
        and falls[1] > limits.ahead * max(_taken(one, one.after), 0.0)
        and max(falls) >= limits.gain
    )


def _fall(values: tuple[float, ...]) -> float:
    """Relative fall of a loss from the beginning of what was watched to its end."""
    first, last = ends(values)
    known = math.isfinite(first) and math.isfinite(last) and first > 0
    return (first - last) / first if known else 0.0
