"""O410 ema-stale-or-evaluated-too-early, for copies whose weights are compared with those they follow."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import CopySeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import finished


@rule(
    "O410",
    "ema-stale-or-evaluated-too-early",
    Severity.CRITICAL,
    needs=(CopySeen,),
    looked_at=requires(
        CopySeen,
        lambda one, limits: one.looks >= limits.pair_looks and one.source_moved >= limits.source_moved,
        thing="copies of a network that is trained",
    ),
    pair_looks=Threshold(5, "steps after which network and copy were compared"),
    source_moved=Threshold(1e-2, "relative way of the network's weights; below it both are the same for all purposes"),
    settled=Threshold(60, "steps after which a usual warm-up, (1 + k) / (10 + k), gives 0.13 and less"),
    averages=Threshold(0.3, "share taken over a step: an average over 3 steps; published decays are .99 and above"),
    at_once=Threshold(0.8, "share taken over a step that leaves nothing of an average"),
    behind=Threshold(0.3, "share of the network's way that the copy has gone at the end of the run"),
    misfit=Threshold(0.3, "share of the copy's movement that goes elsewhere; an average of all weights has none"),
)
def copy_out_of_step(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A copy of the network that is judged is not updated, follows too slowly, or takes over nearly everything.

    A copy has the network's class, shapes and, when it is found, similar weights; no optimiser holds it. Two steps in
    a row tell what share of the distance to the network it goes at a step. A copy that is evaluated or sampled from
    while the network itself never is, and that no step reaches, is `demonstrated`. `suspected`: one that takes over
    `averages` or more at every step long after a warm-up (decay and its complement exchanged, or a decay that is
    overwritten), and one that is judged at the end of a whole run and has gone less than `behind` of the network's
    way. Copies that follow by fits and starts (a target that is synchronised every hundred steps) are left alone, and
    so are, by the last, those that only help a loss.
    """
    for one in evidence.of(CopySeen):
        if one.looks < limits.pair_looks or one.source_moved < limits.source_moved:
            continue
        found = _never(one) or _at_once(one, limits) or (_behind(one, limits) if finished(evidence) else None)
        if found is not None:
            yield found


def _never(one: CopySeen) -> Found | None:
    if one.stills < one.looks or not one.judged or one.source_judged or one.helps or one.share > 0:
        return None
    return Found(
        variant="copy-never-updated",
        message=f"What is evaluated is a copy of {one.network} that training does not reach: in {one.looks} steps "
        f"looked at, the network moved (by {100 * one.source_moved:.2g} % in all) and its copy stayed.",
        standing=Standing.DEMONSTRATED,
        location=one.made or one.used or one.where,
        numbers={"looks": one.looks, "source_moved": one.source_moved},
        remedy="Evaluate the network that is trained, or update the copy after every step.",
    )


def _at_once(one: CopySeen, limits: Limits) -> Found | None:
    steady = one.stills <= 0.2 * one.looks
    settled = limits.settled / (3 if one.late >= limits.at_once else 1)
    late = one.rates[len(one.rates) // 2 :]
    if not steady or one.steps < settled or one.misfit > limits.misfit or len(late) < 3:
        return None
    if min(late) < limits.averages:
        return None
    how = (
        "it is the network, and no average"
        if one.late >= limits.at_once
        else f"it averages over {1 / one.late:.1f} steps"
    )
    return Found(
        variant="copy-follows-at-once",
        message=f"The copy of {one.network} that follows it takes over {100 * one.late:.0f} % of the distance to the "
        f"network at every step, even after {one.steps} steps (a decay of {1 - one.late:.2f}): {how}.",
        location=one.where,
        numbers={"share_a_step": one.late, "decay": 1 - one.late, "steps": one.steps},
        remedy="Check that decay and 1 - decay are not exchanged and that nothing overwrites the decay that was set.",
    )


def _behind(one: CopySeen, limits: Limits) -> Found | None:
    moves = [rate for rate in one.rates if rate > 0]
    if not one.judged or one.share >= limits.behind or len(moves) < 3 or one.misfit > limits.misfit:
        return None
    if one.stills > 0.2 * one.looks:
        return None
    return Found(
        variant="copy-lags",
        message=f"The average of {one.network} that is evaluated has gone {100 * max(0.0, one.share):.0f} % of the way "
        f"that the network went: it takes over {100 * one.late:.2g} % a step, and the run has {one.steps}.",
        location=one.where,
        numbers={"share": one.share, "share_a_step": one.late, "steps": one.steps},
        remedy="Let the decay warm up, for example min(decay, (1 + step) / (10 + step)), or choose a smaller one.",
    )
