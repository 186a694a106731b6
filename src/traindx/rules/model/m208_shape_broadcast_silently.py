"""M208 shape-broadcast-silently."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import Comparison
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("M208", "shape-broadcast-silently", Severity.CRITICAL, needs=(Comparison,))
def shape_broadcast_silently(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss compares tensors of different shapes, and PyTorch stretches one of them without a word.

    What it finds:
        A prediction of 17 channels against a target of one, or (B, 1) against (B,), in a loss function or in plain
        arithmetic on prediction minus target.
    Why it stops learning:
        Each value is compared with values it has nothing to do with: every surplus channel learns the same image, or
        every sample learns the mean of the batch.
    Evidence it needs:
        Comparison (check *training-step*).
    How it decides:
        Prediction and target, followed from the network's output and the batch to the place of comparison, differ in
        shape. In a function that exists to compare (`mse_loss` and its kin, which warn of it themselves) and wherever
        both tensors were stretched, it is `demonstrated`. In plain arithmetic it is `demonstrated` if one side is the
        network's own output and the other the case's target, else `suspected`. Leading axes that only the prediction
        has, over trailing axes that agree, are several predictions of one target and are left alone.
    Remedy:
        Make the shapes equal where the two meet, and let the code check it.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        Several hypotheses on the channel axis that are compared with one target on purpose: `suspected` there.
    References:
        PyTorch documentation of `torch.nn.functional.mse_loss` (warning on sizes that differ).
    """
    for seen in evidence.of(Comparison):
        said, wanted = seen.prediction_shape, seen.target_shape
        if said == wanted or _several_predictions(said, wanted):
            continue
        both = seen.result_shape not in (said, wanted)
        direct = said == seen.output_shape and wanted == seen.wanted_shape
        certain = seen.is_loss or both or direct
        channels = ""
        if len(said) == len(wanted) > 1 and said[1] != wanted[1]:
            channels = f" ({said[1]} channels against {wanted[1]})"
        yield Found(
            message=f"{seen.operation} compares a prediction of shape {said} with a target of shape {wanted}"
            f"{channels}; PyTorch stretches them to {seen.result_shape} without a word.",
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            location=seen.where,
            numbers={
                "prediction_shape": str(said),
                "target_shape": str(wanted),
                "result_shape": str(seen.result_shape),
            },
            remedy="Make the shapes equal before they meet (output channels, or a squeeze), and assert it.",
        )


def _several_predictions(said: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(said) > len(wanted) >= 2 and said[len(said) - len(wanted) :] == wanted
