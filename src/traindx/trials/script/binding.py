"""Which treatments can be applied to a script while it runs, and what its process must be told for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traindx.evidence import Evidence
from traindx.finding import Finding, Proposal
from traindx.trials.shortlist import Bind
from traindx.trials.treatment import Treatment, TreatmentUnfitError
from traindx.trials.treatments.registry import EVERY

PATCH = "apply-patch"


def binding(evidence: Evidence, patch: Callable[[Proposal], dict[str, Any]] | None = None) -> Bind:
    """Makes the treatments that findings of a script propose.

    Args:
        evidence: What was seen of the script.
        patch: What a script's process is told of a patch that is proposed.
    """

    def bind(proposal: Proposal, finding: Finding) -> Treatment:
        if proposal.treatment == PATCH and patch is not None:
            fields = patch(proposal)
        else:
            fields = runtime_fields(proposal, finding, evidence)
        declared = EVERY[proposal.treatment]
        return Treatment(
            name=proposal.treatment,
            title=declared.title(fields) if declared.title is not None else "",
            touches=frozenset({"training", "sampling"}),
            runtime=fields,
            parameters=dict(proposal.parameters),
            family=declared.family_of(fields),
        )

    return bind


def runtime_fields(proposal: Proposal, finding: Finding, evidence: Evidence) -> dict[str, Any]:
    """What the script's process must know to apply a proposal.

    Raises:
        TreatmentUnfitError: It cannot be applied.
    """
    name, given = proposal.treatment, dict(proposal.parameters)
    declared = EVERY.get(name)
    if declared is None or not declared.script or declared.internal:
        why = declared.not_in_scripts if declared is not None else ""
        raise TreatmentUnfitError(why or f"a script cannot be given {name!r} while it runs")
    if declared.fields:
        return {"treatment": name, **declared.load("fields")(given, finding, evidence)}
    place: dict[str, Any] = {}
    if finding.location is not None and finding.location.line:
        place = {"file": finding.location.file, "line": finding.location.line}
    if declared.placed and not place and not given.get("line"):
        raise TreatmentUnfitError("the place it is for is not known")
    return {"treatment": name, **place, **given}
