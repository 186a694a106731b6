"""E815 worse-is-kept."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import KeptFigure
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "E815",
    "worse-is-kept",
    Severity.CRITICAL,
    needs=(KeptFigure,),
    looked_at=requires(
        KeptFigure, lambda one, limits: bool(one.better), thing="figures of a telling name by which a state is kept"
    ),
)
def worse_is_kept(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The state that is kept as the best is that with the worst figure.

    What it finds:
        `if val_loss > best: best = val_loss; save(...)`, and Lightning's `ModelCheckpoint` or `EarlyStopping` on an
        accuracy without `mode="max"` (the default is `"min"`); an object or configuration that names a figure and a
        direction (`metric_for_best_model` and `greater_is_better`, `monitor` and `mode`) which do not agree.
    Why it stops learning:
        The training may be sound, and its worst state is what is kept, restored and reported.
    Evidence it needs:
        KeptFigure (a watched script).
    How it decides:
        By the words of the figure's name: losses and errors are better when lower, accuracies and overlaps when higher.
        Names that say neither, or both, are left alone. `suspected`, as a name is no proof.
    Remedy:
        Turn the comparison round, or pass the mode.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A search for the worst case, or a figure with a misleading name.
    References:
        Lightning documentation, `ModelCheckpoint`: mode, default "min".
    """
    for one in evidence.of(KeptFigure):
        if one.better and one.better != one.keeps:
            yield Found(
                message=f"The best state is chosen by {one.figure}, which is better when {one.better}, and the "
                f"{one.keeps} value is kept (`{one.by}`).",
                location=one.where,
                numbers={"figure": one.figure, "keeps": one.keeps},
                remedy=f"Keep the {one.better} one.",
            )
