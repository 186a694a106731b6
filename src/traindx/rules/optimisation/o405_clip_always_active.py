"""O405 clip-always-active."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ClippingSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O405",
    "clip-always-active",
    Severity.MAJOR,
    needs=(ClippingSeen,),
    looked_at=requires(
        ClippingSeen,
        lambda clip, limits: len(clip.norms) >= limits.calls and not clip.adaptive,
        otherwise="clipping was watched too rarely, or its optimiser normalises its steps anyway",
    ),
    active=Threshold(0.95, "share of steps that are clipped; a limit that guards against outliers acts in under 10 %"),
    factor=Threshold(20.0, "median norm over limit; recurrent networks clipped at 1 run at 2 to 10"),
    calls=Threshold(5, "steps looked at, so that a rough start decides nothing"),
)
def clip_always_active(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradient clipping acts in every step and takes nearly all of the gradient.

    What it finds:
        A clipping limit so low that practically every step is scaled down, by `factor` or more.
    Why it stops learning:
        The step no longer depends on the gradient's size: the learning rate in force is smaller by that factor, and
        stays the same far from the optimum and near it.
    Evidence it needs:
        ClippingSeen (a watched script).
    How it decides:
        Share of clipped steps and median norm over the limit. Optimisers that divide by the gradient's size (Adam) do
        not feel it and are left alone. `suspected`.
    Remedy:
        Set the limit near the 90th percentile of the norms that were seen, or raise the learning rate knowingly.
    Trial it proposes:
        `no-clipping`.
    Known false positives:
        Normalised gradient descent on purpose.
    References:
        Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.
    """
    for clip in evidence.of(ClippingSeen):
        if clip.adaptive or clip.scaled or len(clip.norms) < limits.calls or clip.active < limits.active:
            continue
        factor = median(clip.norms) / clip.limit if clip.limit > 0 else float("inf")
        if factor < limits.factor:
            continue
        yield Found(
            message=f"Clipping to {clip.limit:g} acts in {100 * clip.active:.0f} % of the steps and divides the "
            f"gradient by {factor:.0f} (its norm is {median(clip.norms):.3g}).",
            standing=Standing.SUSPECTED,
            location=clip.where,
            numbers={"limit": clip.limit, "median_norm": median(clip.norms), "active": clip.active},
            remedy=f"Clip at about {sorted(clip.norms)[int(0.9 * (len(clip.norms) - 1))]:.2g}, the 90th percentile of "
            "the norms that were seen.",
            proposals=(Proposal(treatment="no-clipping"),),
        )
