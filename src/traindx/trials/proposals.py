"""From what a rule proposes to a treatment: the author's own where there is one, else a generic one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from traindx.trials.treatment import RANK_AUTHOR, Treatment, touched
from traindx.trials.treatments.registry import EVERY

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.finding import Proposal


def resolve(proposal: Proposal, case: Case) -> Treatment | None:
    """The treatment that a rule's proposal names, or None where neither traindx nor the case offers one.

    Raises:
        TreatmentUnfitError: There is such a treatment, but its parameters or the case do not allow it.
    """
    if proposal.treatment in case.treatments:  # the author knows better than a generic treatment
        return offered(proposal, case)
    declared = EVERY.get(proposal.treatment)
    if declared is None or not declared.case:
        return None
    made: Treatment = declared.load("case")(proposal.parameters, case)
    return replace(
        made,
        title=declared.title(proposal.parameters) if declared.title is not None else made.title,
        parameters=dict(proposal.parameters),
        family=declared.family_of(proposal.parameters),
    )


def offered(proposal: Proposal, case: Case) -> Treatment:
    """A treatment that the author of the case offers; what it touches is read off the case it returns."""
    change = case.treatments[proposal.treatment]
    described = (getattr(change, "__doc__", None) or proposal.treatment).strip().splitlines()[0].rstrip(".")
    return Treatment(
        name=proposal.treatment,
        title=described,
        touches=touched(case, change(case, **proposal.parameters)),
        apply=lambda before: change(before, **proposal.parameters),
        parameters=dict(proposal.parameters),
        rank=RANK_AUTHOR,
        family=proposal.treatment,
    )
