"""C1102 partial-load."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import WeightsLoaded
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1102",
    "partial-load",
    Severity.CRITICAL,
    needs=(WeightsLoaded,),
    looked_at=requires(
        WeightsLoaded,
        lambda load, limits: not load.strict and load.tensors > 0 and load.offered >= limits.offered,
        thing="weights loaded with strict=False",
    ),
    matched=Threshold(0.5, "share of the network's tensors that were found; exchanging a head keeps over 0.8"),
    offered=Threshold(3, "tensors offered; fewer are a head or a table, not a network"),
)
def partial_load(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Weights are loaded with `strict=False` and most of them do not arrive.

    What it finds:
        A call of `load_state_dict` that accepted missing and unexpected names, after which most tensors of the network
        are still random.
    Why it stops learning:
        The run believes that it starts from trained weights and starts from noise; with a low learning rate, or
        frozen layers, it never recovers.
    Evidence it needs:
        WeightsLoaded (a watched script).
    How it decides:
        Names and shapes that agree, against the tensors of the network. Below `matched`, with unexpected names on the
        other side: `demonstrated`; critical if nothing at all arrived. A new head on a loaded body stays silent.
    Remedy:
        Rename the keys (often a prefix: `module.`, `model.`, `backbone.`), and check the returned missing keys.
    Trial it proposes:
        `remap-keys`: the weights are loaded under the names that agree but for a prefix, or in shape and order.
    Known false positives:
        A small pretrained part of a large new network.
    References:
        PyTorch documentation of `Module.load_state_dict`.
    """
    for load in evidence.of(WeightsLoaded):
        if load.strict or load.offered < limits.offered or not load.tensors:
            continue
        share = load.matched / load.tensors
        used = load.matched / load.offered
        if share >= limits.matched or (used >= limits.matched and not load.unexpected):
            continue
        examples = ""
        if load.examples_unexpected and load.examples_missing:
            examples = f" The file says {load.examples_unexpected[0]!r}, the network {load.examples_missing[0]!r}."
        yield Found(
            message=f"load_state_dict(strict=False) filled {load.matched} of {load.tensors} tensors of {load.network}: "
            f"{load.missing} are missing and {load.unexpected} were not expected.{examples}",
            standing=Standing.DEMONSTRATED,
            location=load.where,
            severity=Severity.CRITICAL if not load.matched else Severity.MAJOR,
            numbers={
                "matched": load.matched,
                "tensors": load.tensors,
                "missing": load.missing,
                "unexpected": load.unexpected,
            },
            remedy="Rename the keys so that they agree (mind prefixes such as module.), and load strictly.",
            proposals=(Proposal(treatment="remap-keys"),),
        )
