"""``time-as-in-training``: in sampling, the network is given time as it was given in training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from traindx.trials.treatment import RANK_SAMPLER_CALLS, Tally, Treatment

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case


def time_as_in_training(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Rewrite the time argument of the network while it samples; nothing else of the user's loop changes.

    Args:
        parameters: ``scale`` and ``offset``: new time = time as it is now x scale + offset. Without them both codings
            are measured and one is translated into the other.
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no diffusion part, or the coding of time in training cannot be read.
    """
    from traindx.trials.network_calls import needs_diffusion

    needs_diffusion(case, "time-as-in-training")
    tally = Tally()
    return Treatment(
        "time-as-in-training",
        "time given to the network in sampling as in training",
        frozenset({"sampling"}),
        lambda before: _apply(before, parameters, tally),
        rank=RANK_SAMPLER_CALLS,
        tally=tally,
    )


def _apply(before: Case, parameters: Mapping[str, Any], tally: Tally) -> Case:
    import torch

    from traindx.trials.network_calls import hooked, needs_diffusion, read_call, replaced, while_sampling
    from traindx.trials.time_coding import TimeReader, as_tensor

    diffusion = needs_diffusion(before, "time-as-in-training")
    reader = TimeReader(before)
    coding = reader.training
    scale = parameters.get("scale")

    def shape(batch: Any) -> tuple[int, ...] | None:
        return tuple(before.target(batch).shape) if before.target is not None else None

    def translated(time: Any, clock: Any, device: torch.device) -> Any:
        if scale is None:
            new: Tensor = coding.encode(clock.decode(time, device))
        else:
            value = as_tensor(time, device).double() * float(scale) + float(parameters.get("offset", 0.0))
            dtype = coding.dtype or torch.float32
            new = value.to(dtype) if dtype.is_floating_point else value.round().to(dtype)
        return new.reshape(time.shape) if isinstance(time, torch.Tensor) else new.item()

    def around(model: nn.Module, batch: Any) -> AbstractContextManager[Any]:
        clock = reader.clock()
        expected = shape(batch)

        def rewrite(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x, time = read_call(diffusion, args, kwargs, expected)
            tally.hits += 1
            return replaced(args, kwargs, time, translated(time, clock, x.device))

        return hooked(diffusion.network(model), before=rewrite)

    return while_sampling(before, around)
