"""What was seen of a script in the terms of the checks, so that one rule serves both."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from traindx.evidence import Evidence, Record
from traindx.evidence.model import Comparison, HeadBounds
from traindx.evidence.observed_loss import ClampSeen, LossCall, TargetSeen
from traindx.watch.collectors.provenance_ranges import RANGES

_ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")


def translated(evidence: Evidence) -> list[Record]:
    """Records of the checks' kinds that follow from what was observed."""
    return [*_comparisons(evidence), *_bounds(evidence)]


def _comparisons(evidence: Evidence) -> Iterator[Comparison]:
    """Every comparison of a prediction with a target, those of equal shape included (they are healthy)."""
    for call in evidence.of(LossCall):
        if call.function in _ELEMENTWISE and min(prod(call.prediction_shape), prod(call.target_shape)) > 1:
            yield Comparison(
                operation=call.function,
                prediction_shape=call.prediction_shape,
                target_shape=call.target_shape,
                result_shape=_broadcast(call.prediction_shape, call.target_shape),
                is_loss=True,
                where=call.where,
                step=call.step,
            )
    for seen in evidence.of(TargetSeen):
        stretched = prod(seen.result_shape) > max(prod(seen.shape), prod(seen.prediction_shape))
        if seen.function in ("sub", "rsub", "subtract") and not seen.explicit and stretched:
            yield Comparison(
                operation=seen.function,
                prediction_shape=seen.prediction_shape,
                target_shape=seen.shape,
                result_shape=seen.result_shape,
                is_loss=False,
                where=seen.where,
                step=seen.step,
            )


def _bounds(evidence: Evidence) -> Iterator[HeadBounds]:
    """Bounded activations and clamps right before a comparison."""
    for clamp in evidence.of(ClampSeen):
        if clamp.target_outside > 0 and clamp.with_gradient:
            yield HeadBounds(
                operation=clamp.function,
                module="",
                low=clamp.low,
                high=clamp.high,
                target_low=clamp.target_low,
                target_high=clamp.target_high,
                share_outside=clamp.target_outside,
                lost=clamp.target_lost,
                where=clamp.where,
                step=clamp.step,
            )
    for call in evidence.of(LossCall):
        bounds = RANGES.get(call.prediction_from)
        if bounds is not None and call.phase == "training" and call.outside > 0:
            yield HeadBounds(
                operation=call.prediction_from,
                module="",
                low=bounds[0],
                high=bounds[1],
                target_low=call.target_low,
                target_high=call.target_high,
                share_outside=call.outside,
                lost=call.lost,
                compared_at=call.where,
                where=call.activation or call.where,
                step=call.step,
            )


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """Shape after broadcasting (the longer one where the two cannot be)."""
    width = max(len(first), len(second))
    one, two = (1,) * (width - len(first)) + first, (1,) * (width - len(second)) + second
    return tuple(max(a, b) for a, b in zip(one, two, strict=True))
