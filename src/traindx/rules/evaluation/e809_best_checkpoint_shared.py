"""E809 best-checkpoint-shared-or-stale."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import SelectorAnswers
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("E809", "best-checkpoint-shared-or-stale", Severity.CRITICAL, needs=(SelectorAnswers,))
def best_checkpoint_shared(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        One "best score so far" that several stages of a training share, although each is judged by its own figure.

    Why it stops learning:
        The first stage's score is never reached on the scale of the second one, so the second stage stores nothing and
        the model that is used comes from its first step, or from the stage before.

    Evidence it needs:
        ``Case.training_state.best``: a fresh selector is offered rising scores of a second stage that all lie below
        the best of the first one.

    How it decides:
        Every score that is better than those of its own stage before must be kept. Demonstrated if one is not.

    Remedy:
        Keep a best score for each stage, or begin it anew with the stage.

    Trial it proposes:
        None; the selector is fixed.

    Known false positives:
        Stages that are judged by one figure on one scale, where the earlier model may stay the best on purpose.

    References:
        None.
    """
    for record in evidence.of(SelectorAnswers):
        refused = sum(not kept for kept in record.kept)
        if not refused:
            continue
        yield Found(
            message=f"After a best score of {record.first:g} in stage {record.stages[0]!r}, {refused} of "
            f"{len(record.second)} improving scores of stage {record.stages[1]!r} "
            f"({', '.join(f'{score:g}' for score in record.second)}) are not kept: the stages share one best score.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"refused": refused, "offered": len(record.second)},
            remedy="Keep a best score for each stage.",
        )
