"""``prediction-type``: in sampling, the network's output is translated into the type that the sampler takes it for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from traindx.core.parameterisation import TYPES
from traindx.trials.treatment import RANK_SAMPLER_CALLS, Tally, Treatment, TreatmentUnfitError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from traindx.case import Case
    from traindx.trials.network_calls import Sampler
    from traindx.trials.time_coding import TimeReader


def prediction_type(parameters: Mapping[str, Any], case: Case) -> Treatment:
    """Make the sampler read the output as what the network is trained to predict.

    The sampler's code stays as it is: its input is translated from the trained type into the one it assumes.

    Args:
        parameters: ``type``: what the network is trained to predict (default: what the case declares); ``assumed``:
            what the sampler takes its output for (default: measured with a stand-in that knows the answer).
        case: The case to be treated.

    Raises:
        TreatmentUnfitError: The case has no diffusion part, or a type is unknown.
    """
    from traindx.trials.network_calls import needs_diffusion

    diffusion = needs_diffusion(case, "prediction-type")
    trained, assumed = str(parameters.get("type", diffusion.prediction)), parameters.get("assumed")
    for kind in (trained, assumed or trained):
        if kind not in TYPES:
            raise TreatmentUnfitError(f"prediction type {kind!r} is unknown", expected="epsilon, v or sample")
    tally = Tally()
    return Treatment(
        "prediction-type",
        f"sampler reads the network's output as {trained}",
        frozenset({"sampling"}),
        lambda before: _apply(before, trained, assumed, tally),
        rank=RANK_SAMPLER_CALLS,
        tally=tally,
    )


def _apply(before: Case, trained: str, assumed: str | None, tally: Tally) -> Case:
    from traindx.core.parameterisation import coefficients, convert
    from traindx.trials.network_calls import (
        first_tensor,
        hooked,
        needs_diffusion,
        on_prediction_paths,
        read_call,
        with_first_tensor,
    )
    from traindx.trials.time_coding import TimeReader

    diffusion = needs_diffusion(before, "prediction-type")
    reader = TimeReader(before)

    def around(model: nn.Module, taken_for: str) -> AbstractContextManager[Any]:
        clock = reader.clock()

        def translate(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            out = first_tensor(output)
            x, time = read_call(diffusion, args, kwargs, tuple(out.shape))
            a, sigma = coefficients(diffusion.alphas_cumprod, clock.decode(time, out.device), out)
            tally.hits += 1
            return with_first_tensor(output, convert(out, x, a, sigma, trained, taken_for).to(out.dtype))

        return hooked(diffusion.network(model), after=translate)

    def translated(run: Sampler) -> Sampler:
        found: list[str] = [assumed] if assumed is not None else []

        def sample(model: nn.Module, batch: Any) -> Tensor:
            if not found:
                found.append(assumed_type(before, run, reader, model, batch))
            with around(model, found[0]):
                return run(model, batch)

        return sample

    return on_prediction_paths(before.replace(diffusion__prediction=trained), translated)


def assumed_type(case: Case, run: Sampler, reader: TimeReader, model: nn.Module, batch: Any) -> str:
    """What a sampling function takes the network's output for.

    A stand-in that knows the answer replies in each type in turn; only in the right one does the loop return it.
    """
    import torch

    from traindx.trials.post_processing import ask_stand_in

    agreement = {}
    for kind in TYPES:
        image, result = ask_stand_in(case, run, reader, model, batch, kind, width=0.8)  # inside any sensible clip
        pair = torch.stack([image.flatten().double(), result.flatten().double()])
        correlation = torch.corrcoef(pair)[0, 1] if bool(torch.isfinite(pair).all()) else torch.tensor(0.0)
        agreement[kind] = float(torch.nan_to_num(correlation))
    best = max(agreement, key=lambda kind: agreement[kind])
    if agreement[best] < 0.9:
        shown = ", ".join(f"{kind} {value:.2f}" for kind, value in agreement.items())
        raise TreatmentUnfitError(
            f"the sampler recovers a known image from no prediction type (correlation: {shown})",
            expected="one of them above 0.9",
            do="say what it assumes with the parameter `assumed`",
        )
    return best
