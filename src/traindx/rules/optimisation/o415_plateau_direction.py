"""O415 plateau-waits-the-wrong-way."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import PlateauSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

_LOWER = ("loss", "err", "mse", "mae", "nll", "perplexity", "rmse", "hd95", "divergence")
_HIGHER = ("acc", "dice", "auc", "iou", "f1", "psnr", "ssim", "recall", "sensitivity", "precision", "kappa")


def _is_counted(seen: PlateauSeen, limits: Limits) -> bool:
    return seen.counts and seen.steps >= limits.counted


@rule(
    "O415",
    "plateau-waits-the-wrong-way",
    Severity.CRITICAL,
    needs=(PlateauSeen,),
    looked_at=requires(
        PlateauSeen,
        lambda seen, limits: seen.reductions > 0 or _is_counted(seen, limits),
        otherwise="no schedule that waits for a plateau acted",
    ),
    thing="schedules that wait for a plateau",
    counted=Threshold(4, "calls, each with one more than the one before: no figure does that"),
    at_best=Threshold(0.5, "of the reductions that came when the figure was better than ever"),
)
def plateau_waits_the_wrong_way(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A schedule that waits for a figure to stop improving takes its improvement for a standstill.

    What it finds:
        ``ReduceLROnPlateau(mode="max")`` that is given a loss, or ``mode="min"`` that is given an accuracy; one that is
        given the number of the epoch, as other schedules take it.
    Why it stops learning:
        Each improvement counts as none, so the rate is cut again and again while the training is going well.
    Evidence it needs:
        PlateauSeen (a watched script).
    How it decides:
        At least `at_best` of the reductions came at a value that was the best so far in the other direction, and the
        name of what ``step`` is given says that the other direction is the good one: `demonstrated`. Without a name
        that tells, at least two such reductions and no other: `suspected`. What is one more at each of `counted` calls
        is a count: `demonstrated`, at the call.
    Remedy:
        ``mode="min"`` for a loss, ``mode="max"`` for a score.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        A score whose name has the word loss in it.
    References:
        PyTorch documentation of ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """
    for seen in evidence.of(PlateauSeen):
        if _is_counted(seen, limits):
            yield Found(
                variant="counts",
                message=f"{seen.scheduler} is given `{seen.given}`, which is one more at each of its {seen.steps} "
                f"calls: a count and no figure. In mode {seen.mode!r} it "
                + ("never stops improving." if seen.mode == "max" else "never improves, whatever the training does."),
                standing=Standing.DEMONSTRATED,
                location=seen.stepped or seen.where,
                numbers={"steps": seen.steps, "reductions": seen.reductions},
                remedy="Give it the figure of the validation that it is to wait for.",
            )
            continue
        if not seen.reductions or seen.at_best < max(1.0, limits.at_best * seen.reductions):
            continue
        name = seen.given.lower()
        against = _LOWER if seen.mode == "max" else _HIGHER
        towards = _HIGHER if seen.mode == "max" else _LOWER
        told = any(word in name for word in against) and not any(word in name for word in towards)
        if not told and (seen.at_best < max(2, seen.reductions) or any(word in name for word in towards)):
            continue
        way = "rise" if seen.mode == "max" else "fall"
        yield Found(
            message=f"{seen.scheduler} waits for `{seen.given}` to {way}: {seen.at_best} of its {seen.reductions} "
            f"reductions came when it stood at its {'lowest' if seen.mode == 'max' else 'highest'}. The rate fell from "
            f"{seen.first_rate:.1e} to {seen.last_rate:.1e}.",
            standing=Standing.DEMONSTRATED if told else Standing.SUSPECTED,
            location=seen.where,
            numbers={"reductions": seen.reductions, "at_best": seen.at_best, "last_rate": seen.last_rate},
            remedy=f'Construct it with mode="{"min" if seen.mode == "max" else "max"}".',
        )
