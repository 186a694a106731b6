"""``clip-to-data``: the sampler clips x0 to the range of the data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_SAMPLER_CALLS, Tally, Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.trials.network_calls import Sampler


def clip_to_data(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Exchange the bounds of the clip that the case declares for those of the data, in sampling only.

    Where the case declares no clip, the prediction itself is clipped.

    Args:
        parameters: ``low`` and ``high``; by default the case's ``data_range``.
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no prediction path, or no range is known.
    """
    known = case.data_range or (None, None)
    low, high = parameters.get("low", known[0]), parameters.get("high", known[1])
    if low is None or high is None or not float(low) < float(high):
        raise TreatmentUnfitError(
            f"clip-to-data was proposed with the range {low} to {high}", expected="low < high, or Case(data_range=...)"
        )
    tally = Tally()
    return Treatment(
        "clip-to-data",
        f"x0 clipped to {float(low):g}..{float(high):g} in sampling",
        frozenset({"sampling"}),
        lambda before: _apply(before, float(low), float(high), tally),
        rank=RANK_SAMPLER_CALLS,
        tally=tally,
    )


def _apply(before: Case, low: float, high: float, tally: Tally) -> Case:
    from traindx.trials.clamping import ClampMode
    from traindx.trials.network_calls import on_prediction_paths, while_sampling

    declared = before.diffusion.clip if before.diffusion is not None else None
    if declared is None:

        def clipped(run: Sampler) -> Sampler:
            def sample(model: nn.Module, batch: Any) -> Tensor:
                tally.hits += 1
                return run(model, batch).clamp(low, high)

            return sample

        return on_prediction_paths(before, clipped)

    def decide(x: Tensor, at_low: Any, at_high: Any) -> Tensor | None:
        if not (_same(at_low, declared[0]) and _same(at_high, declared[1])):
            return None
        tally.hits += 1
        return x.clamp(low, high)

    def around(model: nn.Module, batch: Any) -> AbstractContextManager[Any]:
        return ClampMode(decide)

    return while_sampling(before.replace(diffusion__clip=(low, high)), around)


def _same(bound: Any, declared: float) -> bool:
    try:
        return bound is not None and abs(float(bound) - declared) <= 1e-6 * max(1.0, abs(declared))
    except (TypeError, ValueError, RuntimeError):  # a bound per element
        return False
