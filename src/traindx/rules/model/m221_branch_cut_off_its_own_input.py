"""M221 branch-cut-off-its-own-input."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_branches import DetachedBranch
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M221",
    "branch-cut-off-its-own-input",
    Severity.MAJOR,
    needs=(DetachedBranch,),
    looked_at=requires(
        DetachedBranch,
        lambda seen, limits: seen.looks >= limits.cut_looks,
        otherwise="detached copies were followed in too few iterations",
    ),
    thing="detached copies inside networks",
    cut_looks=Threshold(2, "iterations; what a first batch does to start something says nothing"),
)
def branch_cut_off_its_own_input(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A trained branch sees a detached copy of something, and what it gives is then combined with that very thing.

    What it finds:
        A gate, an attention or a weight of a message that is computed from ``x.detach()`` by layers that are trained,
        and then multiplied with ``x``; a correction that is computed from a detached copy and added to it.
    Why it stops learning:
        Everything gets a gradient, so nothing looks dead. But the layers before never learn what the branch needs: half
        of what ``x`` does to the loss is missing from its gradient.
    Evidence it needs:
        DetachedBranch (a watched script).
    How it decides:
        In at least `cut_looks` iterations a detached copy passes parameters that are trained and is then combined, by
        arithmetic, with the tensor that it is a copy of, up to indexing, reshaping and joining: `suspected`. Left alone
        are copies that pass no parameter (straight-through estimators, scales, running statistics), that meet their
        origin in the sum of two losses only (probes, auxiliary heads), or that are all that goes on (steps of a
        refinement).
    Remedy:
        Leave out the detach, unless the branch is meant to be trained alone.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A refinement that is meant to leave the coarse estimate alone, and is added to it.
    References:
        None.
    """
    for seen in evidence.of(DetachedBranch):
        if seen.looks < limits.cut_looks or seen.met is None:
            continue
        yield Found(
            message=f"{seen.network} gives a trained branch a detached copy (.{seen.how}) of something and combines "
            f"the result with that very thing ({seen.function}, {seen.met}): what comes before never learns what "
            "this branch needs.",
            location=seen.where,
            numbers={"looks": seen.looks, "copies": seen.copies},
            remedy="Leave out the detach, unless the branch is meant to be trained alone.",
        )
