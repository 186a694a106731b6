"""A treatment: a named change of a case whose worth a trial measures.

A treatment never edits source code. It returns a copy of the case with a part wrapped, or with a runtime patch among
its contexts, so that control and treated runs come from the same user code. Generic treatments are one file each in
:mod:`traindx.trials.treatments`; authors offer their own in ``Case.treatments``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from traindx.errors import TraindxError
from traindx.finding import Finding, Proposal

if TYPE_CHECKING:
    from traindx.case import Case

Touch = Literal["training", "sampling", "data", "evaluation"]

# Canonical order of application. An author's treatment may rebuild parts of the case from scratch, so it comes first;
# whatever stands around the sampler comes last, so that it sees the sampler as all the others leave it.
RANK_AUTHOR, RANK_SCHEDULE, RANK_TRAINING, RANK_NETWORK, RANK_SAMPLER_CALLS, RANK_SAMPLER = 0, 10, 20, 30, 40, 50


class TreatmentUnfitError(TraindxError):
    """A treatment does not fit this case; its trial is listed as not run, and nothing is concluded from it."""


@dataclass
class Tally:
    """How often a treatment really acted. One that never acted has not been tried, whatever the figures say."""

    hits: int = 0


@dataclass(frozen=True)
class Treatment:
    """A change of a case that a trial can switch on and off.

    Attributes:
        name: Stable name, as rules propose it.
        title: What it does, in a few words.
        touches: What it can change. An arm is trained again only for ``training`` and ``data``.
        apply: The change: case in, changed copy out.
        parameters: The parameters of the proposal it was made from.
        rank: Place in the canonical order of application.
        family: Treatments of one family are alternatives: at most one of them is in place at a time.
        tally: Counts how often it acted, where it can tell.
        cost: Time of a training with it, over that of one without.
        runtime: What the process of a script is told, where it is a script that is treated.
    """

    name: str
    title: str
    touches: frozenset[Touch]
    apply: Callable[[Case], Case] = lambda case: case
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rank: int = RANK_TRAINING
    family: str = ""
    tally: Tally | None = None
    cost: float = 1.0
    runtime: Mapping[str, Any] = field(default_factory=dict)

    @property
    def retrains(self) -> bool:
        """True if an arm with this treatment needs a training of its own."""
        return bool(self.touches & {"training", "data"})


def touched(before: Case, after: Case) -> frozenset[Touch]:
    """What differs between two cases, read off their parts.

    Training uses only the model, the loss, the optimiser, the steps, the training batches and the runtime patches, so
    a case that shares all of these with another is trained no differently.
    """
    found: set[Touch] = set()
    if any(getattr(before, part) is not getattr(after, part) for part in ("model", "loss", "optimizer")):
        found.add("training")
    if before.steps != after.steps or before.device != after.device:
        found.add("training")
    if before.contexts != after.contexts:
        found |= {"training", "sampling"}
    if before.train is not after.train:
        found.add("data")
    if before.predict is not after.predict or before.diffusion is not after.diffusion:
        found.add("sampling")
    if before.metrics is not after.metrics or before.data_range != after.data_range:
        found.add("evaluation")
    if any(getattr(before, part) is not getattr(after, part) for part in ("val", "target", "normaliser")):
        found.add("evaluation")
    return frozenset(found)


def compose(case: Case, treatments: Iterable[Treatment]) -> Case:
    """The case with all the treatments in place; the order in which they are given does not matter."""
    for treatment in sorted(treatments, key=lambda item: (item.rank, item.name, str(sorted(item.parameters.items())))):
        case = treatment.apply(case)
    return case


def label(proposal: Proposal, proposals: Iterable[Proposal]) -> str:
    """The name of a treatment in tables: its own, with parameters where the trial holds several of that name."""
    alike = [other for other in proposals if other.treatment == proposal.treatment]
    if all(other.parameters == proposal.parameters for other in alike):
        return proposal.treatment
    shown = ", ".join(f"{key}={value}" for key, value in sorted(proposal.parameters.items()))
    return f"{proposal.treatment}({shown})"


def labelled(findings: Sequence[Finding]) -> dict[str, Proposal]:
    """Every distinct proposal of some findings by its label, in the order in which they are proposed."""
    proposals = [proposal for finding in findings for proposal in finding.proposals]
    return {label(proposal, proposals): proposal for proposal in proposals}
