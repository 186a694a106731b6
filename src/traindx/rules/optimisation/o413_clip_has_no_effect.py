"""O413 clip-has-no-effect."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ClippingSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O413",
    "clip-has-no-effect",
    Severity.MINOR,
    needs=(ClippingSeen,),
    looked_at=requires(
        ClippingSeen, lambda clip, limits: clip.calls >= limits.calls, otherwise="clipping was watched too rarely"
    ),
    calls=Threshold(3, "calls after the step, so that an odd one decides nothing"),
)
def clip_has_no_effect(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradients are clipped after the step that should have used them, or before they are there.

    What it finds:
        `clip_grad_norm_` or `clip_grad_value_` called between `optimizer.step()` and the next `backward()`, whether
        the gradients of the last step are still there or have been cleared already.
    Why it stops learning:
        The step is taken with the unclipped gradient: the protection is not there.
    Evidence it needs:
        ClippingSeen (a watched script).
    How it decides:
        All calls came after a step and before any new backward pass, while that step's gradients were still there.
        `demonstrated`. So are calls at which none of the parameters had a gradient, where the step that followed found
        one. So is a call that was given no parameters, the last one too: a generator (`model.parameters()`
        kept in a variable) is used up by its first use.
    Remedy:
        Clip between `backward()` and `step()`.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        A call that only measures the norm for a log.
    References:
        PyTorch documentation of `torch.nn.utils.clip_grad_norm_`.
    """
    for clip in evidence.of(ClippingSeen):
        if clip.empty >= limits.calls and clip.empty_at_last:
            yield _of_nothing(clip)
        if clip.after_step >= limits.calls and clip.after_step >= clip.calls - 1:
            yield Found(
                message=f"Gradients are clipped to {clip.limit:g} after the optimiser's step, {clip.after_step} of "
                f"{clip.calls} times: the clipping has no effect.",
                standing=Standing.DEMONSTRATED,
                location=clip.where,
                numbers={"calls": clip.calls, "after_step": clip.after_step},
                remedy="Move this line between backward() and step().",
            )
        if clip.before_backward >= limits.calls and clip.before_backward >= clip.calls - 1:
            yield Found(
                variant="before-backward",
                message=f"Gradients are clipped to {clip.limit:g} before backward(), when there are none "
                f"({clip.before_backward} of {clip.calls} times); the step then uses them unclipped.",
                standing=Standing.DEMONSTRATED,
                severity=Severity.MAJOR,
                location=clip.where,
                numbers={"calls": clip.calls, "before_backward": clip.before_backward},
                remedy="Move this line between backward() and step().",
            )


def _of_nothing(clip: ClippingSeen) -> Found:
    return Found(
        variant="no-parameters",
        message=f"Gradient clipping to {clip.limit:g} was given no parameters in {clip.empty} of {clip.calls} calls: "
        "nothing is clipped. An iterator such as model.parameters() is empty after its first use.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.MAJOR,
        location=clip.where,
        numbers={"calls": clip.calls, "empty": clip.empty},
        remedy="Pass model.parameters() anew at every call, or keep a list of it.",
    )
