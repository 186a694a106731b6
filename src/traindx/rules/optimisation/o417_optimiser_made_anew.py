"""O417 optimiser-made-anew."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.finding import Location, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O417",
    "optimiser-made-anew",
    Severity.MINOR,
    needs=(OptimizerSeen,),
    looked_at=requires(OptimizerSeen, lambda one, limits: one.steps > 0, otherwise="no optimiser took a step"),
    lives=Threshold(4, "optimisers made at one line for the same parameters; two or three are stages of a training"),
)
def optimiser_made_anew(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """One line makes an optimiser for the same parameters over and over.

    What it finds:
        `Adam(model.parameters())` inside the loop over epochs or batches.
    Why it stops learning:
        Its averages begin at zero each time, and a schedule that was made for the first one acts on nothing.
    Evidence it needs:
        OptimizerSeen (a watched script).
    How it decides:
        `lives` optimisers or more were made at one line for the same parameters, and each before the last took steps;
        only those that keep averages (Adam and its kin). `suspected`: rounds of pruning or of federated learning do
        so on purpose.
    Remedy:
        Make the optimiser once, before the loop.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Trainings in rounds.
    References:
        None.
    """
    lines: dict[Location | None, list[OptimizerSeen]] = {}
    for one in evidence.of(OptimizerSeen):
        if one.renews and one.adaptive:
            lines.setdefault(one.where, []).append(one)
    for where, members in lines.items():
        if len(members) + 1 < limits.lives:
            continue
        steps = sum(one.steps for one in members) / len(members)
        yield Found(
            message=f"{members[0].optimizer} is made anew for the same parameters {len(members) + 1} times, after "
            f"about {steps:.0f} steps each: its averages are forgotten every time.",
            location=where,
            numbers={"optimisers": len(members) + 1, "steps_each": steps},
            remedy="Make it once, before the loop.",
        )
